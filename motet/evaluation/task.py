"""A task: rows, how they are put to a program, and how its answers are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from motet.digest import digest_bytes, encode
from motet.errors import ConfigError, UnboundInputError
from motet.grading.rows import Row
from motet.model import Model
from motet.operations import FunctionOperation
from motet.refs import Ref
from motet.search.settings import number, one_of, some_text

ROW_FIELDS = ("prompt", "id", "gold", "golds", "options", "part")
"""What an input may take of any row; `prompt` has the instruction behind it."""
UNSCORED = ("empty", "cut off", "unreadable", "not judged")
"""Why an answer has no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What an answer to a row was worth.

    Raises:
        ConfigError: A value is not from 0 to 1, or it is not clear why there is none.
    """

    value: float | None
    """0 to 1; None where it could not be told, which `missing` explains."""
    answer: str | None
    """What was read from the text and compared."""
    missing: str | None = None
    """`empty`, `cut off`, `unreadable`: counts as wrong; `not judged`: counts as nothing."""
    others: Mapping[str, float] = field(default_factory=dict)
    """Further metrics by name, each 0 to 1, such as `f1` or `loose`."""
    why: str | None = None
    """Of an answer that was not judged: what the judge replied, or the error."""

    def __post_init__(self) -> None:
        for name, value in {"value": self.value, **self.others}.items():
            if value is not None:
                number(f"{name} of a score", value, 0, 1)
        if self.missing is not None:
            one_of("missing", self.missing, UNSCORED)
        if (self.value is None) != (self.missing is not None):
            raise ConfigError(
                f"missing is {self.missing!r} where the value of a score is {self.value!r}; "
                "it says why there is no value"
            )


class Metric(Protocol):
    """Scores a text; calls that it makes are the evaluation's, not the contender's."""

    @property
    def name(self) -> str: ...

    def score(self, row: Row, text: str, /) -> Ref[Score]: ...

    def vote_of(self, row: Row, text: str, /) -> str | None:
        """The form of an answer by which votes are counted; None where it states none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is asked, and how it is scored.

    Raises:
        ConfigError: There are no rows, two have one id, or a field is of another type.
    """

    name: str
    rows: tuple[Row, ...]
    metric: Metric
    instruction: str = ""
    """Stands behind every prompt, such as how the answer is to be stated."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Input of a program to field of a row; by default its first text input takes the prompt."""
    extras: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By row, what else inputs may take of it."""
    digest: str = ""
    """Of rows and metric: equal for tasks whose figures may be compared. Worked out where empty."""

    def __post_init__(self) -> None:
        some_text("name of a task", self.name)
        if not isinstance(self.rows, tuple) or not self.rows:
            raise ConfigError(f"rows is {self.rows!r:.80}; it must be a tuple of one row at least")
        ids: set[str] = set()
        for row in self.rows:
            if row.id in ids:
                raise ConfigError(f"rows has the id {row.id!r:.80} twice")
            ids.add(row.id)
        if not isinstance(self.instruction, str):
            raise ConfigError(f"instruction is {self.instruction!r:.80}; it must be a text")
        if not self.digest:
            object.__setattr__(self, "digest", digest_of(self.rows, self.metric))

    def prompt_of(self, row: Row) -> str:
        """Return what is asked: the row's prompt with the instruction behind it."""
        return f"{row.prompt}\n\n{self.instruction}" if self.instruction else row.prompt


def digest_of(rows: Sequence[Row], metric: Metric) -> str:
    """Return a text that is equal for the same rows, in any order, and the same metric.

    Raises:
        ConfigError: The metric is of a kind that has no stable identity.
    """
    out: list[bytes] = []
    try:
        encode([*sorted(rows, key=lambda row: row.id), metric], out, lambda ref: ref.place)
    except UnboundInputError as exc:
        raise ConfigError(f"metric {metric.name!r} cannot be told from others: {exc}") from None
    return digest_bytes(b"".join(out))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A program with its settings and its model.

    Raises:
        ConfigError: The name is empty, or the program is none.
    """

    name: str
    program: FunctionOperation
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Inputs that are the same for every row, as Python values."""
    model: Model | None = None
    """For its prompts that nothing else binds, for model inputs that are not given, and for the
    self-consistency beside it."""

    def __post_init__(self) -> None:
        some_text("name of a contender", self.name)
        if not isinstance(self.program, FunctionOperation):
            raise ConfigError(
                f"program of {self.name!r} is {self.program!r:.80}; it must be a motet program, "
                "prompt or step"
            )
        if self.model is not None and not isinstance(self.model, Model):
            raise ConfigError(f"model of {self.name!r} is {self.model!r:.80}; it must be a Model")


Contenders = Sequence[Contender]

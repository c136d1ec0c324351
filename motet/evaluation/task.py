"""A task: rows, how they are put to a program, and how its answers are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from motet.grading.rows import Row
from motet.model import Model
from motet.operations import FunctionOperation
from motet.refs import Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What an answer to a row was worth."""

    value: float | None
    """0 to 1; None where it could not be told, which `missing` explains."""
    answer: str | None
    """What was read from the text and compared."""
    missing: str | None = None
    """`empty`, `cut off`, `unreadable`: counts as wrong; `not judged`: counts as nothing."""
    others: Mapping[str, float] = field(default_factory=dict)
    """Further metrics by name, each 0 to 1, such as `f1` or `loose`."""


class Metric(Protocol):
    """Scores a text; calls that it makes are the evaluation's, not the contender's."""

    @property
    def name(self) -> str: ...

    def score(self, row: Row, text: str, /) -> Ref[Score]: ...

    def vote_of(self, row: Row, text: str, /) -> str | None:
        """The form of an answer by which votes are counted; None where it states none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is asked, and how it is scored."""

    name: str
    rows: tuple[Row, ...]
    metric: Metric
    instruction: str = ""
    """Stands behind every prompt, such as how the answer is to be stated."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Input of a program to field of a row; by default its first text input takes the prompt."""
    digest: str = ""
    """Of rows and metric: equal for tasks whose figures may be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A program with its settings and its model."""

    name: str
    program: FunctionOperation
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Inputs that are the same for every row, as Python values."""
    model: Model | None = None
    """For its prompts that nothing else binds, for model inputs that are not given, and for the
    self-consistency beside it."""


Contenders = Sequence[Contender]

"""What came of one attempt: a contender, or the self-consistency beside it, on a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from motet.errors import ConfigError
from motet.search.settings import number, one_of

WRONG: Final = ("empty", "cut off", "unreadable", "failed")
"""Why there is no value that then counts as 0."""
NOT_JUDGED: Final = "not judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One attempt and what it was worth.

    Raises:
        ConfigError: The value is not from 0 to 1, or it is not clear why there is none.
    """

    contender: str
    is_matched: bool
    """Whether this is the self-consistency of the same compute instead of the program."""
    row: str
    part: str
    """Part of the data set; empty where there is one."""
    seed: int
    text: str | None
    answer: str | None
    value: float | None
    """0 to 1; None where `missing` says why."""
    missing: str | None
    """`empty`, `cut off`, `unreadable`, `failed`: counts as 0; `not judged`: counts as nothing."""
    error: str | None
    tokens: int
    """Of prompts and completions."""
    calls: int
    cost: float
    """In the currency of the models' prices."""
    wall_s: float | None
    """While others ran beside it; None where the process ended in between."""
    metric_tokens: int = 0
    """What scoring took; no part of `tokens`."""
    metric_cost: float = 0.0
    samples: int | None = None
    """Of self-consistency."""
    others: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.value is not None:
            number("value", self.value, 0, 1)
        if self.missing is not None:
            one_of("missing", self.missing, (*WRONG, NOT_JUDGED))
        if (self.value is None) != (self.missing is not None):
            raise ConfigError(f"missing is {self.missing!r} where the value is {self.value!r}")

    @property
    def counted(self) -> float | None:
        """The value that counts: 0 where there is no answer, None where it was not judged."""
        if self.value is not None:
            return self.value
        return None if self.missing == NOT_JUDGED else 0.0

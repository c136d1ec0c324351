"""What came of one attempt: a contender, or the self-consistency beside it, on a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One attempt and what it was worth."""

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

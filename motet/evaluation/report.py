"""The report of an evaluation, and the report of what differs between two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from motet.programs.frontier.points import Interval

VERSION = 1
"""Of the JSON form; goes up when a reader of the old one would be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One side of a contender's line: the program, or the self-consistency beside it."""

    accuracy: Interval
    """Mean value of all attempts but those that were not judged; no answer counts as 0."""
    tokens: float
    """Mean of an attempt, as are `calls`, `cost` and `wall_s`."""
    calls: float
    cost: float
    wall_s: float | None
    num_attempts: int
    missing: Mapping[str, int] = field(default_factory=dict)
    """Attempts without a value, by reason."""
    samples: float | None = None
    """Mean samples of self-consistency."""
    others: Mapping[str, Interval] = field(default_factory=dict)
    parts: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """Accuracy and rows of each part of the data set, where there are several."""
    metric_tokens: float = 0.0
    metric_cost: float = 0.0

    @property
    def judged(self) -> Interval | None:
        """The accuracy; None where no attempt was judged, so that nothing is known of it."""
        return None if self.missing.get("not judged", 0) >= self.num_attempts else self.accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A contender."""

    name: str
    model: str | None
    own: Standing
    matched: Standing | None
    """Self-consistency of the same compute; None where there is no model for it."""
    gain: Interval | None
    """Accuracy less that of `matched`, paired by row."""
    lead: Interval | None
    """Accuracy less that of the first contender, paired by row; None for the first."""
    values: Mapping[str, float]
    """By row: the mean over seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an evaluation found."""

    version: int
    motet: str
    """The version of motet."""
    task: str
    digest: str
    """Of rows and metric."""
    metric: str
    match: str
    """By what self-consistency is matched: `tokens` or `cost`."""
    num_rows: int
    num_left_out: int
    num_seeds: int
    lines: tuple[Line, ...]
    usage: Mapping[str, Any]
    """Of the whole run, scoring included."""
    cost: float
    run_id: str
    made_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A contender in two reports, on the rows that both have."""

    name: str
    before: Interval
    after: Interval
    change: Interval
    """`after` less `before`, paired by row."""
    num_rows: int
    num_better: int
    num_worse: int
    tokens: tuple[float, float]
    cost: tuple[float, float]
    worse: tuple[str, ...]
    """Ids of rows that got worse, at most 50."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two reports of one task."""

    task: str
    is_same_task: bool
    """Whether rows and metric are the same, by digest."""
    differences: tuple[Difference, ...]
    only_before: tuple[str, ...]
    """Contenders that the later report has not."""
    only_after: tuple[str, ...]
    not_paired: tuple[str, ...] = ()
    """Contenders in both reports of which no row has a value in both."""

"""What a benchmark prints: figures beside their bounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """A figure and its bound."""

    name: str
    value: float
    bound: float
    sign: Literal["at most", "at least"] = "at most"
    unit: str = ""

    @property
    def is_met(self) -> bool:
        return self.value <= self.bound if self.sign == "at most" else self.value >= self.bound

    def __str__(self) -> str:
        verdict = "ok" if self.is_met else "MISSED"
        figure = f"{self.value:>10.3f} {self.unit:<8}"
        return f"{self.name:<64} {figure} {self.sign} {self.bound:g}  {verdict}"


def report(rows: Iterable[Row]) -> int:
    """Print the rows; return the exit status, 1 where a bound is missed."""
    printed = list(rows)
    for row in printed:
        print(row)
    return 0 if all(row.is_met for row in printed) else 1

"""Statistics of arms: counts, sums and squares of their rewards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from motet.errors import DataError
from motet.search.settings import number, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Outcomes

GRAIN: Final = 2.0**-32
"""Rewards are rounded to multiples of it, so that sums up to 2**21 are exact, whatever their order;
an arm whose discounted count falls under it is as never tried."""


@dataclass(frozen=True, slots=True)
class Arms:
    """Statistics of K arms. Counts are fractions where rewards are discounted or supposed."""

    counts: tuple[float, ...]
    sums: tuple[float, ...]
    squares: tuple[float, ...]
    """Sums of squared rewards."""
    step: int = 0
    """One above the newest step that has its reward."""
    recent: tuple[tuple[int, int, float], ...] = ()
    """(step, arm, reward) of the window, by step; empty where there is none."""

    @classmethod
    def empty(cls, num_arms: int) -> Arms:
        """Return the statistics of arms that were never tried.

        Raises:
            ConfigError: `num_arms` is no whole number from 1 to a million.
        """
        whole("num_arms", num_arms, 1, 1_000_000)
        nothing = (0.0,) * num_arms
        return cls(nothing, nothing, nothing)

    @classmethod
    def of_outcomes(cls, outcomes: Outcomes, *, strength: float, price: float = 0.0) -> Arms:
        """Return supposed observations of the models of a table, in its order.

        A model that was tried on n prompts counts as min(n, `strength`) rewards of its mean. They
        fade under a discount, and stay under a window.

        Args:
            strength: Most rewards that the table stands for, of each model.
            price: Reward lost for one unit of cost: reward = score - price * cost.

        Raises:
            ConfigError: `strength` or `price` is negative or not finite.
            DataError: With a price, the cost of a known score is unknown.
        """
        import numpy as np

        number("strength", strength, 0.0)
        number("price", price, 0.0)
        known = ~np.isnan(outcomes.scores)
        unpriced = known & np.isnan(outcomes.costs) if price else np.zeros_like(known)
        if unpriced.any():
            row, model = np.argwhere(unpriced)[0]
            raise DataError(
                f"the cost of {outcomes.models[model]!r} on row {row} is unknown; price is {price}"
            )
        rewards = outcomes.scores - (price * outcomes.costs if price else 0.0)
        counts, sums, squares = [], [], []
        for model in range(len(outcomes.models)):
            column = rewards[known[:, model], model]
            counts.append(grained(min(len(column), strength)))
            share = counts[-1] / len(column) if len(column) else 0.0
            sums.append(grained(float(column.sum()) * share))
            squares.append(grained(float((column**2).sum()) * share))
        return cls(tuple(counts), tuple(sums), tuple(squares))

    @property
    def means(self) -> tuple[float | None, ...]:
        """Mean reward of each arm; None where it was never tried."""
        pairs = zip(self.sums, self.counts, strict=True)
        return tuple(total / count if count else None for total, count in pairs)

    @property
    def variances(self) -> tuple[float | None, ...]:
        """Variance of each arm's rewards about their mean; None where it was never tried."""
        found = zip(self.means, self.squares, self.counts, strict=True)
        return tuple(
            None if mean is None else max(square / count - mean * mean, 0.0)
            for mean, square, count in found
        )

    @property
    def untried(self) -> int | None:
        """The first arm that was never tried."""
        return self.counts.index(0.0) if 0.0 in self.counts else None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Arms:
        """Read what `to_json` wrote.

        Raises:
            DataError: A field is missing or does not fit.
        """
        try:
            counts, sums, squares = (
                tuple(float(each) for each in value[name]) for name in ("counts", "sums", "squares")
            )
            recent = tuple(sorted((int(s), int(a), float(r)) for s, a, r in value["recent"]))
            step = int(value["step"])
        except (KeyError, TypeError, ValueError) as exc:
            raise DataError(f"this is no state of arms: {type(exc).__name__}: {exc}") from exc
        lengths = len(counts), len(sums), len(squares)
        if len(set(lengths)) > 1 or not counts:
            raise DataError(f"counts, sums and squares have {lengths} arms; they must agree")
        numbers = (*counts, *sums, *squares, *(reward for _, _, reward in recent))
        if not all(map(math.isfinite, numbers)) or min(*counts, float(step)) < 0:
            raise DataError("a state of arms has finite numbers, and counts of 0 or more")
        if any(not 0 <= arm < len(counts) or at >= step for at, arm, _ in recent):
            raise DataError("a reward of the window is of no arm, or newer than the state")
        return cls(counts, sums, squares, step, recent)


def grained(value: float) -> float:
    """Round to a multiple of `GRAIN`."""
    return round(value / GRAIN) * GRAIN

"""Statistics of paths on resampled prompts, by how often each prompt stands in a resample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from motet.errors import DataError
from motet.routing.curves import aiq
from motet.routing.hull import Hull, convex_hull

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats, Outcomes
    from motet.routing.paths import CostPath

GAPS: Final = (0.5, 0.8)
"""Parts of the gap between a weak and a strong model, of which CPT tells the price."""
_ROUNDING: Final = 1e-12


class Resamples:
    """Statistics of each path in each resample that was added."""

    def __init__(
        self,
        paths: Sequence[CostPath],
        test: Outcomes,
        ends: tuple[int, int],
        pair: tuple[int, int] | None,
        zero: int,
        curves: list[Floats] | None = None,
    ) -> None:
        """Begin without a resample.

        Args:
            ends: Columns of the cheapest and the dearest model.
            pair: Columns of a weak and a strong model.
            zero: Place of the zero router among the paths.
            curves: Costs of each path at which `bands` are wanted; where None, `hulls` are kept.
        """
        self._paths, self._test, self._ends, self._zero = paths, test, ends, zero
        self._curves = curves
        self._sweeps = [
            None
            if pair is None or path.win_rates is None
            else _Sweep(path.win_rates, test.scores[:, pair[0]], test.scores[:, pair[1]])
            for path in paths
        ]
        self.hulls: list[Hull] = []
        """Of each path, where there are no curves yet."""
        self.aiqs: list[list[float]] = [[] for _ in paths]
        self.heights: list[list[float]] = [[] for _ in paths]
        """Mean height of the settings as they are; of the zero router, of its hull."""
        self.middles: list[list[float]] = [[] for _ in paths]
        self.bands: list[list[Floats]] = [[] for _ in paths]
        self.recovered: list[list[tuple[float, ...]]] = [[] for _ in paths]
        """APGR and CPTs."""

    def add(self, counts: Floats) -> None:
        """Add resamples, given by how often each prompt stands in them, [B, P]."""
        import numpy as np

        sizes = counts.sum(axis=1, keepdims=True)
        model_costs = counts @ self._test.costs / sizes
        lows, highs = (model_costs[:, end] for end in self._ends)
        middles = np.clip(np.median(model_costs, axis=1), lows, highs)
        for place, path in enumerate(self._paths):
            costs, qualities = counts @ path.costs.T / sizes, counts @ path.scores.T / sizes
            for i in range(len(counts)):
                hull = convex_hull(costs[i], qualities[i])
                low, high = float(lows[i]), float(highs[i])
                # The cheapest setting may cost as much but for the order of a sum.
                low = max(low, float(hull.costs[0])) if hull.costs[0] <= low * (1 + 1e-9) else low
                area = _aiq(path.name, hull, low, high)
                self.aiqs[place].append(area)
                if place != self._zero:
                    area = _mean_height(costs[i], qualities[i], low, high)
                self.heights[place].append(area)
                self.middles[place].append(hull.quality_at(max(float(middles[i]), low)))
                if self._curves is not None:
                    self.bands[place].append(
                        np.interp(self._curves[place], hull.costs, hull.qualities)
                    )
                else:
                    self.hulls.append(hull)
            swept = self._sweeps[place]
            if swept is not None:
                self.recovered[place] += swept.recovered(counts)


def _aiq(name: str, hull: Hull, low: float, high: float) -> float:
    try:
        return aiq(hull, low, high)
    except DataError as exc:
        raise DataError(f"{name}: {exc}") from exc


def _mean_height(costs: Floats, qualities: Floats, low: float, high: float) -> float:
    """Return the mean of the line through the points, by cost, between two costs."""
    import numpy as np

    order = np.lexsort((qualities, costs))
    xs, ys = costs[order], qualities[order]
    places = np.concatenate([[low], xs[(xs > low) & (xs < high)], [high]])
    heights = np.interp(places, xs, ys)
    return float(np.sum(np.diff(places) * (heights[1:] + heights[:-1]) / 2) / (high - low))


class _Sweep:
    """A sweep of the threshold on win rates over many resamples; see `strong_weak.sweep`."""

    def __init__(self, rates: Floats, weak: Floats, strong: Floats) -> None:
        import numpy as np

        self._order = np.argsort(-rates, kind="stable")
        ranked = rates[self._order]
        self._ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
        self._weak, self._gains = weak, (strong - weak)[self._order]

    def recovered(self, counts: Floats) -> list[tuple[float, ...]]:
        """Return APGR and the CPTs of each resample; NaN where it has no gap."""
        import numpy as np

        sizes = counts.sum(axis=1, keepdims=True)
        ranked = counts[:, self._order]
        nothing = np.zeros((len(counts), 1))
        shares = np.hstack([nothing, ranked.cumsum(axis=1)[:, self._ends] / sizes])
        gained = (ranked * self._gains).cumsum(axis=1)[:, self._ends] / sizes
        gains = np.hstack([nothing, gained])
        areas = np.sum(np.diff(shares) * (gains[:, 1:] + gains[:, :-1]) / 2, axis=1)
        found = []
        for share, gain, area in zip(shares, gains, areas, strict=True):
            gap = gain[-1]
            if gap <= _ROUNDING:
                found.append((np.nan,) * (1 + len(GAPS)))
                continue
            found.append((float(area / gap), *(_reached(share, gain, part * gap) for part in GAPS)))
        return found


def _reached(shares: Floats, gains: Floats, goal: float) -> float:
    """Return the smallest share whose gain reaches `goal`, along straight lines."""
    at = int((gains >= goal - _ROUNDING).argmax())
    if at == 0:
        return 0.0
    (x0, x1), (y0, y1) = shares[at - 1 : at + 1], gains[at - 1 : at + 1]
    return float(x0 + (x1 - x0) * min((goal - y0) / (y1 - y0), 1.0))

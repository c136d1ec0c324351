"""Convex hulls of costs and qualities: the best that mixing routers at random can give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Two points of a hull, between which a router draws for each prompt."""

    cheap: int
    """Index of the point among those that the hull was made of."""
    dear: int
    """The same as `cheap` where one point is enough."""
    dear_share: float
    """Probability of `dear`, from 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hull:
    """The H points of a non-decreasing convex hull; costs and qualities strictly increase."""

    costs: Floats
    """[H]."""
    qualities: Floats
    """[H]."""
    members: NDArray[np.int64]
    """[H], the place of each vertex among the points that the hull was made of."""

    def quality_at(self, cost: float) -> float:
        """Return the best quality of at most this mean cost.

        Beyond the last vertex it stays at the last quality.

        Raises:
            DataError: The cheapest point costs more, or `cost` is no number.
        """
        import numpy as np

        self._check(cost)
        return float(np.interp(cost, self.costs, self.qualities))

    def mix(self, cost: float) -> Mixture:
        """Return the two vertices, and their shares, that give `quality_at(cost)`.

        Beyond the last vertex the last one alone is as good and costs less.

        Raises:
            DataError: The cheapest point costs more, or `cost` is no number.
        """
        import numpy as np

        self._check(cost)
        above = int(np.searchsorted(self.costs, cost, side="right"))
        cheap = int(self.members[above - 1])
        if above == len(self.costs):
            return Mixture(cheap=cheap, dear=cheap, dear_share=0.0)
        low, high = float(self.costs[above - 1]), float(self.costs[above])
        share = (cost - low) / (high - low)
        return Mixture(cheap=cheap, dear=int(self.members[above]), dear_share=share)

    def _check(self, cost: float) -> None:
        if not cost >= self.costs[0]:
            raise DataError(
                f"nothing costs {cost!r} or less; the hull begins at {float(self.costs[0])!r}"
            )


def convex_hull(costs: Any, qualities: Any) -> Hull:
    """Return the non-decreasing convex hull of N points, in O(N log N).

    Of points of one cost the best counts, of equal points the first. Points on a straight line
    between two vertices are no vertices.

    Args:
        costs: [N], finite.
        qualities: [N], finite; higher is better.

    Raises:
        DataError: There is no point, the lengths differ, or a number is not finite.

    Source: Hu et al. 2024 (RouterBench), arXiv:2403.12031, section 3. Its code interpolates
    between all pairs of points; here one scan over the sorted points does (Andrew 1979), and
    points that a cheaper one equals are dropped before it rather than after.
    """
    import numpy as np

    xs, ys = _points("costs", costs), _points("qualities", qualities)
    if xs.shape != ys.shape:
        raise DataError(f"there are {len(xs)} costs, but {len(ys)} qualities")
    order = np.lexsort((-ys, xs))
    best = np.maximum.accumulate(ys[order])
    rises = np.append(True, best[1:] > best[:-1])
    vertices: list[tuple[float, float, int]] = []
    for place in order[rises]:
        point = float(xs[place]), float(ys[place]), int(place)
        while len(vertices) > 1 and _is_under(vertices[-1], vertices[-2], point):
            vertices.pop()
        vertices.append(point)
    return Hull(
        costs=np.array([x for x, _, _ in vertices]),
        qualities=np.array([y for _, y, _ in vertices]),
        members=np.array([place for _, _, place in vertices], dtype=np.int64),
    )


def _is_under(
    middle: tuple[float, float, int], low: tuple[float, float, int], high: tuple[float, float, int]
) -> bool:
    """Say whether `middle` is not above the line from `low` to `high`."""
    rise, run = middle[1] - low[1], middle[0] - low[0]
    return rise * (high[0] - low[0]) <= (high[1] - low[1]) * run


def _points(name: str, values: Any) -> Floats:
    import numpy as np

    try:
        floats = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise DataError(f"{name} are no numbers: {exc}") from exc
    if floats.ndim != 1 or not len(floats):
        raise DataError(f"{name} have the shape {floats.shape}; they must be a row of numbers")
    wrong = np.flatnonzero(~np.isfinite(floats))
    if len(wrong):
        raise DataError(f"{name} hold {float(floats[wrong[0]])!r} at place {int(wrong[0])}")
    return floats

"""Curves of cost and quality: what a router's estimates are worth at each willingness to pay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.errors import ConfigError, DataError
from motet.routing.hull import Hull, convex_hull
from motet.search.settings import number, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Floats, Outcomes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoutedPrompts:
    """What P prompts got and cost when each went to the chosen model."""

    choices: NDArray[np.int64]
    """[P], a column of the outcomes, or -1 for no model."""
    scores: Floats
    """[P], 0 without a model."""
    costs: Floats
    """[P], 0 without a model."""

    @property
    def quality(self) -> float:
        """Mean score."""
        return float(self.scores.mean())

    @property
    def cost(self) -> float:
        """Mean cost."""
        return float(self.costs.mean())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Mean cost and quality of a router at each of G settings of the willingness to pay."""

    willingness: Floats
    """[G], cost per unit of score."""
    costs: Floats
    """[G], mean over the prompts."""
    qualities: Floats
    """[G], mean over the prompts."""
    shares: Floats
    """[G, M], share of the prompts that each model answers."""

    @property
    def hull(self) -> Hull:
        """The non-decreasing convex hull; its members are places in `willingness`."""
        return convex_hull(self.costs, self.qualities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aiq:
    """Average improvement in quality of routers, over one interval of cost that all share."""

    low: float
    high: float
    values: Mapping[str, float]
    """Mean height of each router's hull between `low` and `high`."""


def willingness_grid(low: float = 1e-10, high: float = 1e9, num_points: int = 32) -> Floats:
    """Return settings of the willingness to pay, evenly spaced in their logarithm.

    The defaults are RouterBench's; what they mean depends on the unit of the costs.

    Raises:
        ConfigError: `low` is not positive, `high` is not above it, or fewer than two points.
    """
    import numpy as np

    number("low", low)
    number("high", high)
    whole("num_points", num_points, 2, 100_000)
    if not 0 < low < high:
        raise ConfigError(f"low is {low!r} and high is {high!r}; they must be 0 < low < high")
    return np.geomspace(low, high, num_points)


def choose(estimates: Any, prices: Any, willingness: float) -> NDArray[np.int64]:
    """Return for each of P prompts the column with the most `willingness * estimate - price`.

    Ties go to the cheapest model, then to the first.

    Args:
        estimates: [P, M], estimated scores.
        prices: [M] or [P, M], expected costs.
        willingness: Cost that one unit of score is worth. Near 0 cost decides, at large values
            quality.

    Raises:
        DataError: Shapes do not agree, or a number is not finite.
        ConfigError: `willingness` is negative or not finite.

    Source: Hu et al. 2024 (RouterBench), arXiv:2403.12031, section 4.
    """
    import numpy as np

    number("willingness", float(willingness), 0)
    scores = np.asarray(estimates, dtype=np.float64)
    if scores.ndim != 2 or not scores.size:
        raise DataError(f"estimates have the shape {scores.shape}; they must be a matrix")
    costs = np.asarray(prices, dtype=np.float64)
    if costs.shape not in {scores.shape, scores.shape[1:]}:
        raise DataError(f"prices have the shape {costs.shape}, but estimates {scores.shape}")
    for name, values in (("estimates", scores), ("prices", costs)):
        if not np.isfinite(values).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise DataError(f"{name} hold {float(values[place])!r} at {place}")
    costs = np.broadcast_to(costs, scores.shape)
    worth = willingness * scores - costs
    tied = worth == worth.max(axis=1, keepdims=True)
    chosen: NDArray[np.int64] = np.where(tied, costs, np.inf).argmin(axis=1)
    return chosen


def routed(outcomes: Outcomes, choices: Any) -> RoutedPrompts:
    """Look up what each prompt gets from the chosen model.

    Args:
        choices: [P], a column each, or -1 for no model.

    Raises:
        DataError: Another length, no such column, or a chosen model has no score or an unknown
            cost; names the prompt and the model.
    """
    import numpy as np

    columns = np.asarray(choices)
    num_prompts, num_models = outcomes.scores.shape
    if columns.shape != (num_prompts,) or columns.dtype.kind not in "iu":
        raise DataError(f"choices have the shape {columns.shape}; {num_prompts} columns are needed")
    wrong = columns[(columns < -1) | (columns >= num_models)]
    if len(wrong):
        raise DataError(f"choice {int(wrong[0])} is no column of a table of {num_models} models")
    rows = np.arange(num_prompts)
    scores = np.where(columns < 0, 0.0, outcomes.scores[rows, columns])
    costs = np.where(columns < 0, 0.0, outcomes.costs[rows, columns])
    for name, values in (("score", scores), ("known cost", costs)):
        missing = np.flatnonzero(np.isnan(values))
        if len(missing):
            row = int(missing[0])
            raise DataError(
                f"model {outcomes.models[columns[row]]!r} has no {name} on prompt "
                f"{outcomes.prompts[row][:80]!r} (row {row}); `complete` keeps the whole rows"
            )
    return RoutedPrompts(choices=columns.astype(np.int64), scores=scores, costs=costs)


def cost_quality_curve(
    outcomes: Outcomes, estimates: Any, prices: Any, willingness: Any = None
) -> Curve:
    """Return what routing by `estimates` costs and gives at each willingness to pay.

    Args:
        estimates: [P, M], a router's estimates of the scores in `outcomes`.
        prices: [M] or [P, M], what the router expects answers to cost; not the costs that are
            then paid, which are those in `outcomes`.
        willingness: [G]; `willingness_grid()` where None.

    Raises:
        DataError: Shapes do not agree, or a chosen cell of the table is empty.
        ConfigError: A willingness is negative or not finite.
    """
    import numpy as np

    grid = willingness_grid() if willingness is None else np.asarray(willingness, dtype=np.float64)
    if grid.ndim != 1 or not len(grid):
        raise DataError(f"willingness has the shape {grid.shape}; it must be a row of numbers")
    paths = [routed(outcomes, choose(estimates, prices, float(each))) for each in grid]
    counts = [np.bincount(path.choices, minlength=len(outcomes.models)) for path in paths]
    return Curve(
        willingness=grid,
        costs=np.array([path.cost for path in paths]),
        qualities=np.array([path.quality for path in paths]),
        shares=np.array(counts) / len(outcomes.prompts),
    )


def mean_costs(outcomes: Outcomes) -> Floats:
    """Return the mean known cost [M] of each model, to be taken from the training table.

    Raises:
        DataError: No cost of a model is known; names it.
    """
    import numpy as np

    known = ~np.isnan(outcomes.costs)
    counts = known.sum(axis=0)
    if not counts.all():
        raise DataError(f"no cost of model {outcomes.models[int(counts.argmin())]!r} is known")
    means: Floats = np.where(known, outcomes.costs, 0.0).sum(axis=0) / counts
    return means


def aiq(hull: Hull, low: float, high: float) -> float:
    """Return the mean quality of `hull` over the costs from `low` to `high`.

    Beyond its last vertex the hull keeps its last quality. Routers can be compared over the same
    interval only: see `compare`.

    Raises:
        DataError: The interval is empty or not finite, or the hull begins after `low`.

    Source: Hu et al. 2024 (RouterBench), arXiv:2403.12031, section 3. Its code divides the area
    by `high` alone, and does not count what lies left of the first point.
    """
    import numpy as np

    if not np.isfinite([low, high]).all() or not low < high:
        raise DataError(f"from {low!r} to {high!r} is no interval of costs")
    inside = hull.costs[(hull.costs > low) & (hull.costs < high)]
    xs = np.concatenate([[low], inside, [high]])
    ys = np.array([hull.quality_at(float(x)) for x in xs])
    # Shares of the interval sum to 1, so that a constant hull has exactly its own height.
    return float(np.sum(np.diff(xs) / (high - low) * (ys[1:] + ys[:-1]) / 2))


def compare(hulls: Mapping[str, Hull]) -> Aiq:
    """Return the AIQ of each hull between the dearest first vertex and the dearest last one.

    Raises:
        DataError: There is no hull, or no cost lies between those two.
    """
    if not hulls:
        raise DataError("there is no hull to compare")
    low = max(float(hull.costs[0]) for hull in hulls.values())
    high = max(float(hull.costs[-1]) for hull in hulls.values())
    return Aiq(low=low, high=high, values={n: aiq(h, low, high) for n, h in hulls.items()})

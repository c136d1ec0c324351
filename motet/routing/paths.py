"""Paths: what a router gives on each prompt at each of its settings, from cheap to dear."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.errors import DataError
from motet.routing.curves import RoutedPrompts, choose, mean_costs, routed, willingness_grid
from motet.routing.deciding import win_rate

if TYPE_CHECKING:
    from motet.routing.cascade import Played
    from motet.routing.outcomes import Floats, Outcomes
    from motet.routing.router import Router

ZERO = "zero router"
ORACLE = "oracle"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CostPath:
    """What a router gave and cost on each of P prompts at each of G settings."""

    name: str
    scores: Floats
    """[G, P], 0 to 1."""
    costs: Floats
    """[G, P]. At one setting at least nothing dearer than the cheapest model is asked."""
    win_rates: Floats | None = None
    """[P], 0 to 1: how much rather the strong one of a pair is to answer; None where it says
    nothing of the kind."""
    train_s: float = 0.0
    """Seconds to fit it."""

    def __post_init__(self) -> None:
        if self.scores.ndim != 2 or not self.scores.size or self.scores.shape != self.costs.shape:
            raise DataError(
                f"{self.name}: scores {self.scores.shape} and costs {self.costs.shape} must be "
                "matrices of one shape, settings by prompts"
            )
        if self.win_rates is not None and self.win_rates.shape != self.scores.shape[1:]:
            raise DataError(f"{self.name}: win rates {self.win_rates.shape} are not one a prompt")


def estimates_path(
    name: str,
    estimates: Any,
    prices: Any,
    test: Outcomes,
    pair: tuple[int, int] | None = None,
    train_s: float = 0.0,
) -> CostPath:
    """Return the path of estimated scores: from where price alone decides to where score does.

    Args:
        estimates: [P, M], of the prompts of `test`.
        prices: [M] or [P, M], what answers are expected to cost.
        pair: Columns of a weak and a strong model, for the win rates.

    Raises:
        DataError: Shapes do not agree, or a number is not finite.
    """
    import numpy as np

    high = max(float(np.max(prices)), 1e-12)
    grid = [0.0, *map(float, willingness_grid(high * 1e-4, high * 1e6, 64))]
    rates = None
    if pair is not None:
        weak, strong = pair
        rates = np.clip(win_rate(estimates[:, strong], estimates[:, weak]), 0.0, 1.0)
    return played_path(
        name, [routed(test, choose(estimates, prices, each)) for each in grid], rates, train_s
    )


def played_path(
    name: str,
    runs: Sequence[RoutedPrompts | Played],
    win_rates: Any = None,
    train_s: float = 0.0,
) -> CostPath:
    """Return the path of runs over the same prompts, each at another setting.

    Raises:
        DataError: There is no run, or they are not of the same prompts.
    """
    import numpy as np

    if not runs or len({len(run.scores) for run in runs}) > 1:
        raise DataError(f"{name}: {len(runs)} runs, which must be some, over the same prompts")
    return CostPath(
        name=name,
        scores=np.array([run.scores for run in runs]),
        costs=np.array([run.costs for run in runs]),
        win_rates=win_rates,
        train_s=train_s,
    )


def router_path(
    name: str,
    router: Router,
    train: Outcomes,
    test: Outcomes,
    train_embeddings: Any,
    test_embeddings: Any,
    pair: tuple[int, int] | None = None,
) -> CostPath:
    """Fit a router on one table, and return its path on another; its prices are mean costs of the
    first.

    Raises:
        DataError: The router cannot be fitted, or the tables do not go together; names the router.
    """
    if name in (ZERO, ORACLE):
        raise DataError(f"a router is named {name!r}, which is a reference's name")
    began = time.perf_counter()
    try:
        trained = router.fit(train, train_embeddings)
    except DataError as exc:
        raise DataError(f"{name}: {exc}") from exc
    took = time.perf_counter() - began
    estimates = trained.estimate(test_embeddings)
    return estimates_path(name, estimates, mean_costs(train), test, pair, took)


def oracle_path(test: Outcomes, pair: tuple[int, int] | None = None) -> CostPath:
    """Return the path that goes by the scores themselves, and by what each answer cost."""
    return estimates_path(ORACLE, test.scores, test.costs, test, pair)


def zero_path(test: Outcomes) -> CostPath:
    """Return the path of the single models, between which mixing at random moves."""
    return CostPath(name=ZERO, scores=test.scores.T, costs=test.costs.T)

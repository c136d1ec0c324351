"""Comparison of routers on prompts that they were not trained on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.errors import DataError
from motet.routing.curves import choose, compare, mean_costs, routed, willingness_grid
from motet.routing.deciding import win_rate
from motet.routing.hull import Hull, convex_hull
from motet.routing.intervals import Interval, statistic_interval
from motet.routing.outcomes import check_embeddings
from motet.routing.strong_weak import sweep

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Floats, Outcomes
    from motet.routing.router import Router

ZERO = "zero router"
ORACLE = "oracle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a router is worth on the test prompts."""

    name: str
    aiq: Interval
    """Mean quality over the costs between the cheapest and the dearest model."""
    gain: Interval
    """AIQ beyond that of the zero router, which mixes the models at random, on the same prompts."""
    apgr: Interval | None
    """Of two models: the share of the gap between them that is recovered; None for more."""
    costs: tuple[float, ...]
    """Of its curve's hull."""
    qualities: tuple[float, ...]
    train_s: float
    """Seconds to fit it; 0 for the references."""


def compare_routers(
    train: Outcomes,
    test: Outcomes,
    train_embeddings: Any,
    test_embeddings: Any,
    routers: Mapping[str, Router],
    *,
    strong: str | None = None,
    num_resamples: int = 500,
    seed: int = 0,
    on_fitted: Callable[[str], None] | None = None,
) -> list[Compared]:
    """Fit each router on one table and measure it on another, beside the zero router and the oracle.

    Intervals are 95 %, of prompts drawn again; rows of one prompt are drawn together.

    Args:
        train: Its mean costs are the prices that the routers go by.
        test: Every score and cost is known; the same models.
        strong: Of two models, the one whose share APGR counts; the dearer where None.
        on_fitted: Is told the name of each router when it is fitted.

    Raises:
        DataError: Tables do not go together, or a router cannot be fitted; names the router.
    """
    if train.models != test.models:
        raise DataError(f"the test table has {test.models}, but the training table {train.models}")
    if len(test.complete().prompts) != len(test.prompts):
        raise DataError(
            "the test table has cells without a score or cost; `complete` leaves them out"
        )
    queries = check_embeddings(test_embeddings, len(test.prompts))
    prices = mean_costs(train)
    grid = _grid(prices)
    found: dict[str, tuple[Floats, Floats, Floats | None, float]] = {}
    for name, router in routers.items():
        if name in (ZERO, ORACLE):
            raise DataError(f"a router is named {name!r}, which is a reference's name")
        began = time.perf_counter()
        try:
            trained = router.fit(train, train_embeddings)
        except DataError as exc:
            raise DataError(f"{name}: {exc}") from exc
        took = time.perf_counter() - began
        estimates = trained.estimate(queries)
        paths = [routed(test, choose(estimates, prices, each)) for each in grid]
        found[name] = (*_rows(paths), estimates, took)
        if on_fitted is not None:
            on_fitted(name)
    best = [routed(test, choose(test.scores, test.costs, each)) for each in grid]
    found[ORACLE] = (*_rows(best), test.scores, 0.0)
    found[ZERO] = (test.scores.T, test.costs.T, None, 0.0)
    weak_strong = _pair(test, prices, strong)
    return [
        _compared(name, found[name], found[ZERO], test, weak_strong, num_resamples, seed)
        for name in found
    ]


def _grid(prices: Floats) -> Floats:
    """Return settings from where price alone decides to where score alone does."""
    high = max(float(prices.max()), 1e-12)
    return willingness_grid(high * 1e-4, high * 1e6, 64)


def _rows(paths: Any) -> tuple[Floats, Floats]:
    import numpy as np

    return np.array([path.scores for path in paths]), np.array([path.costs for path in paths])


def _pair(test: Outcomes, prices: Floats, strong: str | None) -> tuple[int, int] | None:
    """Return the columns of the weak and the strong of two models."""
    if strong is not None and strong not in test.models:
        raise DataError(f"strong is {strong!r}; the models are {', '.join(test.models)}")
    if len(test.models) != 2:
        return None
    place = int(prices.argmax()) if strong is None else test.models.index(strong)
    return 1 - place, place


def _compared(
    name: str,
    own: tuple[Floats, Floats, Floats | None, float],
    zero: tuple[Floats, Floats, Floats | None, float],
    test: Outcomes,
    pair: tuple[int, int] | None,
    num_resamples: int,
    seed: int,
) -> Compared:
    import numpy as np

    scores, costs, estimates, took = own

    def hulls(rows: NDArray[np.int64]) -> dict[str, Hull]:
        return {
            "own": _hull(scores, costs, rows),
            "zero": _hull(zero[0], zero[1], rows),
        }

    def of(value: Callable[[Mapping[str, float]], float]) -> Interval:
        return statistic_interval(
            lambda rows: value(compare(hulls(rows)).values),
            len(test.prompts), test.prompts, num_resamples=num_resamples, seed=seed,
        )  # fmt: skip

    apgr = None
    if pair is not None and estimates is not None:
        weak, strong = pair
        rates = np.clip(win_rate(estimates[:, strong], estimates[:, weak]), 0.0, 1.0)
        apgr = statistic_interval(
            lambda rows: sweep(
                rates[rows], test.scores[rows, weak], test.scores[rows, strong]
            ).apgr,
            len(test.prompts), test.prompts, num_resamples=num_resamples, seed=seed,
        )  # fmt: skip
    whole = hulls(np.arange(len(test.prompts)))["own"]
    return Compared(
        name=name,
        aiq=of(lambda values: values["own"]),
        gain=of(lambda values: values["own"] - values["zero"]),
        apgr=apgr,
        costs=tuple(map(float, whole.costs)),
        qualities=tuple(map(float, whole.qualities)),
        train_s=took,
    )


def _hull(scores: Floats, costs: Floats, rows: NDArray[np.int64]) -> Hull:
    return convex_hull(costs[:, rows].mean(axis=1), scores[:, rows].mean(axis=1))

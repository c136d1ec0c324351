"""Comparison of routers on prompts that they were not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from motet.errors import DataError
from motet.routing.curves import mean_costs
from motet.routing.measuring import Compared, measure
from motet.routing.outcomes import check_embeddings
from motet.routing.paths import ORACLE, ZERO, oracle_path, router_path, zero_path

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats, Outcomes
    from motet.routing.router import Router

__all__ = ["BASELINE", "ORACLE", "ZERO", "Compared", "check_tables", "compare_routers"]

BASELINE = "knn"
"""The router that others are compared with, where there is one of this name."""


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
    on_unfit: Callable[[str, str], None] | None = None,
) -> list[Compared]:
    """Fit each router on one table and measure it on another, beside the zero router and the oracle.

    Intervals are 95 %, of prompts drawn again; rows of one prompt are drawn together.

    Args:
        train: Its mean costs are the prices that the routers go by.
        test: Every score and cost is known; the same models.
        strong: Of two models, the one whose share APGR counts; the dearer where None.
        on_fitted: Is told the name of each router when it is fitted.
        on_unfit: Is told the name of each router that cannot be fitted, and why; the others are
            compared. None has the first such router end the comparison.

    Raises:
        DataError: Tables do not go together, or a router cannot be fitted and nobody is told, or
            no other is left; names the router.
    """
    check_tables(train, test)
    queries = check_embeddings(test_embeddings, len(test.prompts))
    prices = mean_costs(train)
    pair = _pair(test, prices, strong)
    paths = []
    unfit: list[DataError] = []
    for name, router in routers.items():
        try:
            path = router_path(name, router, train, test, train_embeddings, queries, pair)
        except DataError as exc:
            if on_unfit is None:
                raise
            on_unfit(name, str(exc).removeprefix(f"{name}: "))
            unfit.append(exc)
            continue
        paths.append(path)
        if on_fitted is not None:
            on_fitted(name)
    if unfit and not paths:
        raise DataError(f"no router can be trained: {unfit[0]}") from unfit[0]
    return measure(
        [*paths, oracle_path(test, pair), zero_path(test)],
        test,
        zero=ZERO,
        prices=prices,
        baseline=BASELINE if BASELINE in {path.name for path in paths} else None,
        pair=pair,
        num_resamples=num_resamples,
        seed=seed,
    )


def check_tables(train: Outcomes, test: Outcomes) -> None:
    """Refuse tables that cannot be trained on and tested with together.

    Raises:
        DataError: Other models, or a cell of the test table is not known.
    """
    if train.models != test.models:
        raise DataError(f"the test table has {test.models}, but the training table {train.models}")
    if len(test.complete().prompts) != len(test.prompts):
        raise DataError(
            "the test table has cells without a score or cost; `complete` leaves them out"
        )


def _pair(test: Outcomes, prices: Floats, strong: str | None) -> tuple[int, int] | None:
    """Return the columns of the weak and the strong of two models."""
    if strong is not None and strong not in test.models:
        raise DataError(f"strong is {strong!r}; the models are {', '.join(test.models)}")
    if len(test.models) != 2:
        return None
    place = int(prices.argmax()) if strong is None else test.models.index(strong)
    return 1 - place, place

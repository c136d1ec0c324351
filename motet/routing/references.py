"""Reference routers: what a router must beat, and what none can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet.errors import DataError
from motet.routing.curves import RoutedPrompts, routed
from motet.routing.hull import Hull, convex_hull
from motet.search.settings import whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Outcomes


def oracle(outcomes: Outcomes) -> RoutedPrompts:
    """Send each prompt to its best model; ties go to the cheapest, then to the first.

    Where no model has a score above 0, none is called, which costs nothing.

    Raises:
        DataError: A score or a cost is missing.

    Source: Hu et al. 2024 (RouterBench), arXiv:2403.12031, section 3.
    """
    import numpy as np

    _check_complete(outcomes)
    best = outcomes.scores.max(axis=1, keepdims=True)
    costs = np.where(outcomes.scores == best, outcomes.costs, np.inf)
    return routed(outcomes, np.where(best[:, 0] > 0, costs.argmin(axis=1), -1))


def best_single(outcomes: Outcomes) -> RoutedPrompts:
    """Send every prompt to the model of the highest mean score; ties go to the cheapest.

    Raises:
        DataError: A score or a cost is missing.
    """
    import numpy as np

    _check_complete(outcomes)
    means = outcomes.scores.mean(axis=0)
    costs = np.where(means == means.max(), outcomes.costs.mean(axis=0), np.inf)
    return routed(outcomes, np.full(len(outcomes.prompts), int(costs.argmin())))


def random_router(outcomes: Outcomes, seed: int = 0) -> RoutedPrompts:
    """Send each prompt to a model drawn at random, all alike.

    Raises:
        DataError: A score or a cost of a drawn model is missing.
    """
    import numpy as np

    whole("seed", seed, 0)
    rng = np.random.default_rng(seed)
    return routed(outcomes, rng.integers(len(outcomes.models), size=len(outcomes.prompts)))


def zero_router(outcomes: Outcomes) -> Hull:
    """Return the hull of the single models; its members are their columns.

    It is what mixing models blindly gives. A router whose curve is not above it is useless.

    Raises:
        DataError: A score or a cost is missing.

    Source: Hu et al. 2024 (RouterBench), arXiv:2403.12031, section 3.
    """
    _check_complete(outcomes)
    return convex_hull(outcomes.costs.mean(axis=0), outcomes.scores.mean(axis=0))


def _check_complete(outcomes: Outcomes) -> None:
    import numpy as np

    for name, values in (("score", outcomes.scores), ("known cost", outcomes.costs)):
        missing = np.argwhere(np.isnan(values))
        if len(missing):
            row, column = (int(i) for i in missing[0])
            raise DataError(
                f"model {outcomes.models[column]!r} has no {name} on prompt "
                f"{outcomes.prompts[row][:80]!r} (row {row}); `complete` keeps the whole rows"
            )

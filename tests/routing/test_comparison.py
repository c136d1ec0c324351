"""Comparison of routers: planted truths, references, and tables that do not go together."""

from typing import Any

import numpy as np
import pytest

from motet.errors import DataError
from motet.routing.comparison import ORACLE, ZERO, Compared, compare_routers
from motet.routing.elo import EloRouter
from motet.routing.knn import KnnRouter
from motet.routing.logistic import LinearRouter
from motet.routing.outcomes import Outcomes


def table(kinds: Any, models: tuple[str, ...] = ("small", "large"), **changes: Any) -> Outcomes:
    """`small` is right on kind 0 only, `large` on both and dear."""
    kinds = np.asarray(kinds)
    settings: dict[str, Any] = {
        "prompts": tuple(f"prompt {i}" for i in range(len(kinds))),
        "models": models,
        "scores": np.stack([1.0 - kinds, np.ones(len(kinds))], axis=1),
        "costs": np.tile([1.0, 10.0], (len(kinds), 1)),
    }
    return Outcomes(**settings | changes)


def telling(kinds: Any) -> Any:
    return np.eye(2)[np.asarray(kinds)] + 0.01


def by_name(found: list[Compared]) -> dict[str, Compared]:
    return {each.name: each for each in found}


KINDS = [i % 2 for i in range(60)]


def compared(embeddings: Any = None, **settings: Any) -> dict[str, Compared]:
    vectors = telling(KINDS) if embeddings is None else embeddings
    return by_name(
        compare_routers(
            table(KINDS), table(KINDS), vectors, vectors, {"knn": KnnRouter(k=1)},
            num_resamples=100, **settings,
        )
    )  # fmt: skip


def test_a_router_that_can_tell_is_as_good_as_the_oracle_and_beyond_mixing_at_random() -> None:
    found = compared()

    assert found["knn"].aiq.estimate == pytest.approx(found[ORACLE].aiq.estimate)
    assert found["knn"].gain.low > 0.1
    # Half the prompts need the dear model: the curve goes from (1, .5) to (5.5, 1), then is level.
    assert found["knn"].aiq.estimate == pytest.approx((0.75 * 4.5 + 1.0 * 4.5) / 9)
    assert found[ZERO].aiq.estimate == pytest.approx(0.75)
    assert found["knn"].costs == pytest.approx((1.0, 5.5))
    assert found["knn"].qualities == pytest.approx((0.5, 1.0))


def test_a_router_without_a_signal_is_not_told_from_mixing_at_random() -> None:
    found = compared(np.random.default_rng(0).normal(size=(60, 4)) * 0 + 1.0)

    assert found["knn"].gain.estimate == pytest.approx(0, abs=1e-9)
    assert found["knn"].gain.low <= 0 <= found["knn"].gain.high + 1e-9


def test_apgr_is_of_two_models_and_counts_the_strong_one() -> None:
    found = compared()
    assert found["knn"].apgr is not None
    assert found["knn"].apgr.estimate == pytest.approx(0.75)  # level from half of the calls on
    assert found[ZERO].apgr is None
    with pytest.raises(DataError, match="gap"):
        compared(strong="small")

    three = table(
        KINDS, ("a", "b", "c"), scores=np.ones((60, 3)) * [0.1, 0.5, 0.9],
        costs=np.ones((60, 3)) * [1.0, 2.0, 3.0],
    )  # fmt: skip
    vectors = telling(KINDS)
    found = by_name(
        compare_routers(three, three, vectors, vectors, {"knn": KnnRouter()}, num_resamples=20)
    )
    assert found["knn"].apgr is None


def test_the_same_seed_gives_the_same_intervals_and_each_fit_is_told() -> None:
    told: list[str] = []
    first, second = compared(seed=3, on_fitted=told.append), compared(seed=3)
    assert first["knn"].aiq == second["knn"].aiq
    assert told == ["knn"]


def test_routers_that_cannot_be_fitted_are_told_and_only_without_any_other_an_error() -> None:
    told: list[str] = []
    vectors, unfit = telling(KINDS), EloRouter(min_characters=1000)

    def compare(routers: Any, **settings: Any) -> Any:
        return compare_routers(
            table(KINDS), table(KINDS), vectors, vectors, routers, num_resamples=5, **settings
        )

    def tell(name: str, why: str) -> None:
        told.append(f"{name}: {why}")

    found = by_name(compare({"elo": unfit, "linear": LinearRouter()}, on_unfit=tell))
    assert set(found) == {"linear", ORACLE, ZERO}
    assert len(told) == 1
    assert told[0].startswith("elo: no prompt of min_characters=1000")
    assert by_name(compare({"knn": unfit, "a": KnnRouter()}, on_unfit=tell))["a"].gain is not None
    with pytest.raises(DataError, match="no router can be trained: elo: no prompt"):
        compare({"elo": unfit}, on_unfit=tell)
    with pytest.raises(DataError, match="elo: no prompt"):
        compare({"elo": unfit, "linear": LinearRouter()})


def test_tables_that_do_not_go_together_are_refused() -> None:
    vectors, router = telling(KINDS), {"knn": KnnRouter()}
    good = table(KINDS)
    costs = good.costs.copy()
    costs[3, 1] = np.nan
    with pytest.raises(DataError, match="complete"):
        compare_routers(good, table(KINDS, costs=costs), vectors, vectors, router)
    with pytest.raises(DataError, match="test table has"):
        compare_routers(good, table(KINDS, ("small", "other")), vectors, vectors, router)
    with pytest.raises(DataError, match="strong is 'medium'"):
        compare_routers(good, good, vectors, vectors, router, strong="medium")
    with pytest.raises(DataError, match="reference"):
        compare_routers(good, good, vectors, vectors, {ORACLE: KnnRouter()})
    with pytest.raises(DataError, match="knn"):
        compare_routers(good, good, vectors[:3], vectors, router)

"""Reference routers: the oracle, the best single model, the random and the zero router."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.curves import routed
from motet.routing.outcomes import Outcomes
from motet.routing.references import best_single, oracle, random_router, zero_router


def table(scores: Any, costs: Any) -> Outcomes:
    scores = np.array(scores, dtype=float)
    return Outcomes(
        prompts=tuple(f"p{i}" for i in range(len(scores))),
        models=tuple(f"m{i}" for i in range(scores.shape[1])),
        scores=scores,
        costs=np.array(costs, dtype=float),
    )


def random_table(seed: int) -> Outcomes:
    rng = np.random.default_rng(seed)
    return table(rng.integers(0, 3, (20, 3)) / 2, rng.random((20, 3)))


def test_the_oracle_takes_the_best_the_cheapest_of_equals_and_none_where_all_fail() -> None:
    made = oracle(
        table([[1, 1, 0.5], [0.2, 0.9, 0.1], [0, 0, 0]], [[2, 1, 0], [1, 9, 1], [1, 1, 1]])
    )

    assert made.choices.tolist() == [1, 1, -1]
    assert made.costs.tolist() == [1, 9, 0]
    assert made.scores.tolist() == [1, 0.9, 0]


@given(st.integers(0, 10_000), st.integers(0, 100))
def test_no_choice_gives_more_than_the_oracle_nor_as_much_for_less(seed: int, other: int) -> None:
    outcomes = random_table(seed)
    best = oracle(outcomes)

    tried = routed(outcomes, np.random.default_rng(other).integers(-1, 3, 20))

    assert (tried.scores <= best.scores).all()
    equal = tried.scores == best.scores
    assert (tried.costs >= best.costs)[equal].all()


def test_the_best_single_model_has_the_highest_mean_and_is_the_cheapest_of_those() -> None:
    made = best_single(table([[1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 0, 0]], [[3, 2, 2, 0]] * 3))

    assert made.choices.tolist() == [1, 1, 1]
    assert made.quality == pytest.approx(2 / 3)
    assert made.cost == 2


def test_the_random_router_takes_every_model_about_as_often() -> None:
    made = random_router(table(np.ones((9000, 3)), np.ones((9000, 3))))

    assert np.bincount(made.choices) == pytest.approx([3000] * 3, rel=0.05)


def test_the_random_router_is_the_same_for_the_same_seed_only() -> None:
    outcomes = random_table(0)

    assert (
        random_router(outcomes, 1).choices.tolist() == random_router(outcomes, 1).choices.tolist()
    )
    assert (
        random_router(outcomes, 1).choices.tolist() != random_router(outcomes, 2).choices.tolist()
    )
    with pytest.raises(ConfigError, match="seed"):
        random_router(outcomes, -1)


def test_the_zero_router_mixes_the_models_on_the_hull_of_their_means() -> None:
    hull = zero_router(table([[0, 1, 0, 1], [0, 0, 1, 1]], [[1, 2, 4, 3]] * 2))

    assert hull.members.tolist() == [0, 3]
    assert hull.quality_at(2) == 0.5


@pytest.mark.parametrize("router", [oracle, best_single, zero_router])
@pytest.mark.parametrize("column", ["scores", "costs"])
def test_a_missing_cell_is_named(router: Callable[[Outcomes], Any], column: str) -> None:
    arrays = {"scores": np.ones((2, 2)), "costs": np.ones((2, 2))}
    arrays[column][1, 0] = np.nan

    with pytest.raises(DataError, match=f"'m0' has no .*{column[:-1]} on prompt 'p1'"):
        router(table(**arrays))

"""Paths: from the cheapest model to what estimates say, and what is refused."""

from typing import Any

import numpy as np
import pytest

from motet.errors import DataError
from motet.routing.knn import KnnRouter
from motet.routing.noisy_evaluator import NoisyEvaluator
from motet.routing.outcomes import Outcomes
from motet.routing.paths import (
    ORACLE,
    CostPath,
    estimates_path,
    oracle_path,
    played_path,
    router_path,
    zero_path,
)


def table(**changes: Any) -> Outcomes:
    given: dict[str, Any] = {
        "prompts": ("a", "b", "c"),
        "models": ("small", "large"),
        "scores": np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.5]]),
        "costs": np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]),
    }
    return Outcomes(**given | changes)


def test_a_path_goes_from_the_cheapest_model_to_the_one_of_the_greatest_estimate() -> None:
    estimates = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])

    path = estimates_path("x", estimates, [2.0, 20.0], table(), pair=(0, 1))

    assert path.costs[0].tolist() == [1.0, 2.0, 3.0]
    assert path.costs[-1].tolist() == [1.0, 20.0, 3.0]
    assert path.scores[-1].tolist() == [1.0, 1.0, 0.0]
    assert path.win_rates is not None
    assert path.win_rates == pytest.approx([0.1, 0.8, 0.5])


def test_the_oracle_pays_only_where_that_gains() -> None:
    path = oracle_path(table(), (0, 1))

    assert path.name == ORACLE
    assert path.scores[-1].tolist() == [1.0, 1.0, 0.5]
    assert path.costs[-1].tolist() == [1.0, 20.0, 30.0]


def test_the_path_of_the_zero_router_is_the_single_models() -> None:
    path = zero_path(table())

    assert path.costs.tolist() == [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]
    assert path.win_rates is None


def test_runs_of_a_cascade_are_a_path() -> None:
    runs = [NoisyEvaluator(max_cost=cost).play(table()) for cost in (1.0, 100.0)]

    path = played_path("cascade", runs)

    assert path.costs[:, 1].tolist() == [2.0, 22.0]
    assert path.scores[:, 1].tolist() == [0.0, 1.0]


def test_what_is_no_path_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="x: 0 runs"):
        played_path("x", [])
    with pytest.raises(DataError, match="x: scores"):
        CostPath(name="x", scores=np.ones((2, 3)), costs=np.ones((2, 2)))
    with pytest.raises(DataError, match="x: win rates"):
        CostPath(name="x", scores=np.ones((2, 3)), costs=np.ones((2, 3)), win_rates=np.ones(2))
    with pytest.raises(DataError, match="reference"):
        router_path(ORACLE, KnnRouter(), table(), table(), np.eye(3), np.eye(3))
    with pytest.raises(DataError, match="mine: .*2 rows|mine: .*3 rows"):
        router_path("mine", KnnRouter(), table(), table(), np.eye(2), np.eye(3))


def test_a_path_begins_with_the_cheapest_model_however_close_the_prices_are() -> None:
    """Prices that differ by a millionth part: price alone decides at the first setting."""
    costs = np.tile([1.0, 1.000001], (3, 1))
    estimates = np.tile([0.0, 1.0], (3, 1))

    path = estimates_path("x", estimates, [1.0, 1.000001], table(costs=costs))

    assert path.costs[0].tolist() == [1.0] * 3
    assert path.costs[1].tolist() == [1.000001] * 3

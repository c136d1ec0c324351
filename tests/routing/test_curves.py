"""Curves of cost and quality: choices by willingness to pay, and the AIQ over one interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.curves import (
    aiq,
    choose,
    compare,
    cost_quality_curve,
    mean_costs,
    routed,
    willingness_grid,
)
from motet.routing.hull import convex_hull
from motet.routing.outcomes import Outcomes
from motet.routing.references import oracle, zero_router


def planted(num_prompts: int = 200, seed: int = 0) -> Outcomes:
    rng = np.random.default_rng(seed)
    return Outcomes(
        prompts=tuple(f"p{i}" for i in range(num_prompts)),
        models=("small", "middle", "large"),
        scores=(rng.random((num_prompts, 3)) < [0.4, 0.6, 0.8]).astype(float),
        costs=rng.uniform(0.5, 1.5, (num_prompts, 3)) * [1, 3, 10],
    )


def test_the_aiq_of_the_card() -> None:
    hull = convex_hull([1, 2, 2.5, 3, 4], [0.4, 0.7, 0.5, 0.65, 0.8])

    assert aiq(hull, 1, 5) == pytest.approx(0.7125, abs=1e-12)


@given(st.floats(0, 1), st.floats(0.001, 1e6), st.floats(0, 1e3))
def test_the_aiq_of_a_constant_is_its_height(quality: float, width: float, low: float) -> None:
    hull = convex_hull([low], [quality])

    assert aiq(hull, low, low + width) == pytest.approx(quality, abs=1e-12)


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=8),
    st.floats(0, 5),
    st.floats(0.1, 20),
)
def test_the_aiq_is_the_mean_height_between_the_ends(
    points: list[tuple[float, float]], skip: float, width: float
) -> None:
    hull = convex_hull(*zip(*points, strict=True))
    low = float(hull.costs[0]) + skip
    xs = np.linspace(low, low + width, 4001)
    heights = np.array([hull.quality_at(x) for x in xs])

    mean = float(((heights[1:] + heights[:-1]) / 2).mean())

    assert aiq(hull, low, low + width) == pytest.approx(mean, abs=1e-3)


def test_an_aiq_whose_interval_begins_before_the_hull_is_refused() -> None:
    with pytest.raises(DataError, match="begins at 1.0"):
        aiq(convex_hull([1, 2], [0.4, 0.7]), 0, 5)


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (1, np.inf), (np.nan, 2)])
def test_an_empty_interval_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="no interval"):
        aiq(convex_hull([1, 2], [0.4, 0.7]), *ends)


def test_routers_are_compared_where_all_of_them_are() -> None:
    hulls = {"a": convex_hull([1, 2], [0.2, 0.6]), "b": convex_hull([1.5, 4], [0.4, 0.9])}

    made = compare(hulls)

    assert (made.low, made.high) == (1.5, 4)
    assert made.values == {name: aiq(hull, 1.5, 4) for name, hull in hulls.items()}


def test_no_hulls_and_hulls_without_a_common_interval_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="no hull"):
        compare({})
    with pytest.raises(DataError, match="no interval"):
        compare({"a": convex_hull([1], [0.2])})


def test_small_willingness_lets_cost_decide_and_large_quality() -> None:
    estimates, prices = [[0.2, 0.5, 0.9]], [1, 2, 10]

    chosen = [int(choose(estimates, prices, w)[0]) for w in (0, 1e-10, 4, 100, 1e300)]

    assert chosen == [0, 0, 1, 2, 2]


def test_equal_worth_goes_to_the_cheapest_then_to_the_first() -> None:
    assert choose([[0.5, 0.5, 0.5]], [3, 1, 2], 1e9).tolist() == [1]
    assert choose([[0.75, 0.5, 0.5]], [2.25, 2, 2], 1).tolist() == [1]


def test_a_small_price_still_breaks_ties_at_the_largest_willingness() -> None:
    assert choose([[0.5, 0.5]], [2e-9, 1e-9], 1e9).tolist() == [1]


def test_prices_may_differ_by_prompt() -> None:
    assert choose([[0.5, 0.6], [0.5, 0.6]], [[1, 5], [1, 1]], 2).tolist() == [0, 1]


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 5))
def test_a_larger_willingness_never_chooses_a_lower_estimate(
    seed: int, prompts: int, models: int
) -> None:
    rng = np.random.default_rng(seed)
    estimates, prices = rng.random((prompts, models)), rng.random(models)
    rows = np.arange(prompts)

    chosen = [estimates[rows, choose(estimates, prices, w)] for w in (0, 0.1, 1, 3, 1e3)]

    assert all((low <= high + 1e-12).all() for low, high in zip(chosen, chosen[1:], strict=False))


@pytest.mark.parametrize(
    ("estimates", "prices", "said"),
    [
        ([0.5], [1], "estimates have the shape"),
        (np.zeros((0, 2)), [1, 2], "estimates have the shape"),
        ([[0.5, 0.5]], [1], "prices have the shape"),
        ([[0.5, np.nan]], [1, 2], r"estimates hold nan at \(0, 1\)"),
        ([[0.5, 0.5]], [1, np.nan], r"prices hold nan at \(1,\)"),
    ],
)
def test_estimates_and_prices_that_do_not_fit_are_refused(
    estimates: Any, prices: Any, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        choose(estimates, prices, 1)


@pytest.mark.parametrize("willingness", [-1, float("nan"), float("inf")])
def test_a_willingness_that_is_no_price_is_refused(willingness: float) -> None:
    with pytest.raises(ConfigError, match="willingness"):
        choose([[0.5, 0.5]], [1, 2], willingness)


def test_no_model_costs_and_gives_nothing() -> None:
    made = routed(planted(3), np.array([-1, 0, 2]))

    assert (made.scores[0], made.costs[0]) == (0, 0)
    assert made.costs[1:].tolist() == [planted(3).costs[1, 0], planted(3).costs[2, 2]]


@pytest.mark.parametrize("choices", [[0, 1], [0, 1, 3], [0, 1, -2], [0.0, 1.0, 2.0], [[0, 1, 2]]])
def test_choices_that_are_no_columns_are_refused(choices: Any) -> None:
    with pytest.raises(DataError, match="choice"):
        routed(planted(3), choices)


@pytest.mark.parametrize("missing", ["scores", "costs"])
def test_an_empty_cell_is_refused_only_where_it_is_chosen(missing: str) -> None:
    arrays = {"scores": np.ones((2, 2)), "costs": np.ones((2, 2))}
    arrays[missing][1, 0] = np.nan
    outcomes = Outcomes(prompts=("p", "q"), models=("a", "b"), **arrays)

    assert routed(outcomes, [0, 1]).cost == 1
    with pytest.raises(DataError, match=f"'a' has no .*{missing[:-1]} on prompt 'q'"):
        routed(outcomes, [0, 0])


def test_the_default_grid_is_that_of_routerbench() -> None:
    grid = willingness_grid()

    assert len(grid) == 32
    assert (grid[0], grid[-1]) == (pytest.approx(1e-10), pytest.approx(1e9))
    assert np.diff(np.log(grid)) == pytest.approx(np.log(1e19) / 31)


@pytest.mark.parametrize("settings", [{"low": 0}, {"low": 5, "high": 5}, {"num_points": 1}])
def test_a_grid_that_is_none_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        willingness_grid(**settings)


def test_a_curve_of_constant_estimates_goes_from_the_cheapest_to_the_best_model() -> None:
    outcomes = planted()
    estimates = np.tile(outcomes.scores.mean(axis=0), (200, 1))

    curve = cost_quality_curve(outcomes, estimates, mean_costs(outcomes))

    assert curve.shares.sum(axis=1) == pytest.approx(np.ones(32))
    assert curve.shares[0].tolist() == [1, 0, 0]
    assert curve.shares[-1].tolist() == [0, 0, 1]
    assert curve.costs[0] == outcomes.costs[:, 0].mean()
    assert curve.qualities[-1] == outcomes.scores[:, 2].mean()


def test_a_router_that_knows_the_scores_is_above_the_zero_router_and_not_above_the_oracle() -> None:
    outcomes = planted()
    best = oracle(outcomes)
    hulls = {
        "known": cost_quality_curve(outcomes, outcomes.scores, outcomes.costs).hull,
        "blind": cost_quality_curve(outcomes, outcomes.scores[::-1], outcomes.costs).hull,
        "zero": zero_router(outcomes),
        "oracle": convex_hull([best.cost], [best.quality]),
    }

    values = compare(hulls).values

    assert values["oracle"] >= max(values.values())
    assert values["known"] > values["zero"] > values["blind"]


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(DataError, match="willingness has the shape"):
        cost_quality_curve(planted(), planted().scores, [1, 2, 3], [])


def test_mean_costs_pass_over_the_unknown_ones() -> None:
    outcomes = Outcomes(
        prompts=("p", "q"), models=("a", "b"), scores=np.ones((2, 2)), costs=[[1, np.nan], [3, 5]]
    )

    assert mean_costs(outcomes).tolist() == [2, 5]


def test_a_model_without_any_known_cost_is_named() -> None:
    outcomes = Outcomes(
        prompts=("p",), models=("a", "b"), scores=np.ones((1, 2)), costs=[[1, np.nan]]
    )

    with pytest.raises(DataError, match="no cost of model 'b'"):
        mean_costs(outcomes)

"""Decisions from estimates and prices."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.curves import choose
from motet.routing.deciding import (
    BestWithin,
    CheapestReaching,
    StrongFrom,
    WorthItsPrice,
    willingness_for_cost,
    win_rate,
)

SCORES = {"small": 0.5, "middle": 0.7, "large": 0.8}
PRICES = {"small": 1.0, "middle": 3.0, "large": 10.0}


@pytest.mark.parametrize(
    ("willingness", "expected"),
    [(0, "small"), (9.9, "small"), (10.1, "middle"), (69, "middle"), (71, "large"), (1e9, "large")],
)
def test_willingness_to_pay_weighs_scores_against_prices(willingness: float, expected: str) -> None:
    """The model changes where the gain in score is worth the difference in price."""
    decision = WorthItsPrice(willingness=willingness).decide(SCORES, PRICES)

    assert decision.model == expected
    assert decision.price == PRICES[expected]
    assert decision.estimates == SCORES
    assert decision.reason.startswith(expected)


@pytest.mark.parametrize(
    "rule",
    [
        WorthItsPrice(willingness=1e12),
        BestWithin(max_price=5),
        CheapestReaching(min_score=0.5),
        CheapestReaching(min_score=0.9),
    ],
)
@pytest.mark.parametrize("models", list(itertools.permutations("abc")))
def test_a_tie_goes_to_the_cheaper(rule: Any, models: tuple[str, ...]) -> None:
    """Of equal scores the cheapest is chosen, in whatever order they stand."""
    prices = {"a": 3.0, "b": 1.0, "c": 2.0}

    decision = rule.decide(dict.fromkeys(models, 0.5), prices)

    assert decision.model == "b"


def test_a_gain_that_is_just_worth_its_price_is_not_bought() -> None:
    """Where score and price weigh out exactly, the cheaper model answers, first or last."""
    scores, prices = {"dear": 0.75, "cheap": 0.5}, {"dear": 3.0, "cheap": 1.0}

    decision = WorthItsPrice(willingness=8).decide(scores, prices)

    assert decision.model == "cheap"
    assert choose(np.array([[0.75, 0.5]]), np.array([3.0, 1.0]), 8) == [1]
    assert choose(np.array([[0.5, 0.75]]), np.array([1.0, 3.0]), 8) == [0]


@pytest.mark.parametrize(
    ("max_price", "expected"), [(1, "small"), (2.9, "small"), (3, "middle"), (50, "large")]
)
def test_the_best_within_a_price_is_chosen(max_price: float, expected: str) -> None:
    """A price that is just reached is allowed."""
    assert BestWithin(max_price=max_price).decide(SCORES, PRICES).model == expected


def test_a_price_that_buys_nothing_is_refused() -> None:
    """No model is chosen that costs more than was allowed."""
    with pytest.raises(DataError, match=r"at most 0\.5; 'small', the cheapest, costs 1"):
        BestWithin(max_price=0.5).decide(SCORES, PRICES)


@pytest.mark.parametrize(
    ("min_score", "expected"), [(0, "small"), (0.5, "small"), (0.6, "middle"), (0.71, "large")]
)
def test_the_cheapest_that_is_good_enough_is_chosen(min_score: float, expected: str) -> None:
    """A score that is just reached is enough."""
    assert CheapestReaching(min_score=min_score).decide(SCORES, PRICES).model == expected


def test_where_none_is_good_enough_the_best_answers_and_the_reason_says_so() -> None:
    """The floor is a wish, unlike a price."""
    decision = CheapestReaching(min_score=0.95).decide(SCORES, PRICES)

    assert decision.model == "large"
    assert "no model reaches 0.95" in decision.reason


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_thresholds_at_the_ends_send_everything_one_way(rate: float) -> None:
    """0 is always strong, more than 1 always weak, and a rate that is reached is strong."""
    estimates = {"weak": 1 - rate, "strong": rate}

    def to(threshold: float) -> str:
        rule = StrongFrom(strong="strong", weak="weak", threshold=threshold)
        return rule.decide(estimates, {}).model

    assert (to(0), to(rate), to(1.01)) == ("strong", "strong", "weak")
    assert win_rate(rate, 1 - rate) == pytest.approx(rate)


def test_prices_do_not_count_for_a_threshold() -> None:
    """An unknown price is told as None, a known one as it is."""
    rule = StrongFrom(strong="large", weak="small", threshold=0.6)

    decision = rule.decide(SCORES, {"small": 1.0, "large": None})

    assert (decision.model, decision.price) == ("large", None)
    assert rule.decide({"large": 0.5, "small": 0.5}, PRICES).price == 1.0


@pytest.mark.parametrize("unknown", [None, math.nan])
@pytest.mark.parametrize(
    "rule",
    [WorthItsPrice(willingness=1), BestWithin(max_price=5), CheapestReaching(min_score=0.9)],
)
def test_an_unknown_price_is_refused_where_prices_count(rule: Any, unknown: Any) -> None:
    """It is not taken for 0; neither is one that is missing."""
    for prices in (PRICES | {"large": unknown}, {"small": 1.0, "middle": 3.0}):
        with pytest.raises(DataError, match="price of model 'large' is unknown"):
            rule.decide(SCORES, prices)


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 12),
    models=st.integers(1, 4),
    willingness=st.floats(0, 50),
)
@settings(deadline=None)
def test_many_prompts_are_decided_like_one(
    seed: int, rows: int, models: int, willingness: float
) -> None:
    """`choose` names the column of the model that the rule names."""
    rng = np.random.default_rng(seed)
    scores, prices = rng.integers(0, 4, (rows, models)) / 3, rng.integers(0, 4, models) * 1.0
    names = "abcd"[:models]
    rule = WorthItsPrice(willingness=willingness)

    columns = choose(scores, prices, willingness)

    for column, row in zip(columns, scores, strict=True):
        decision = rule.decide(
            dict(zip(names, row, strict=True)), dict(zip(names, prices, strict=True))
        )
        assert decision.model == names[column]


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 30), share=st.floats(0, 1.2))
@settings(deadline=None)
def test_a_mean_cost_is_kept_and_used_up(seed: int, rows: int, share: float) -> None:
    """At the willingness that was found the mean is within the cost; at the next turn it is not."""
    rng = np.random.default_rng(seed)
    scores, prices = rng.random((rows, 3)), np.sort(rng.random(3))
    mean_cost = float(prices[0] + share * (prices[2] - prices[0]))

    found = willingness_for_cost(scores, prices, mean_cost)

    def spent(willingness: float) -> float:
        return float(prices[choose(scores, prices, willingness)].mean())

    assert spent(found) <= mean_cost + 1e-8
    turns = [
        (prices[dear] - prices[cheap]) / (row[dear] - row[cheap])
        for row in scores
        for dear in range(3)
        for cheap in range(dear)
        if row[dear] > row[cheap]
    ]
    costs = [spent(turn * (1 + 1e-9)) for turn in turns if turn > found]
    assert all(cost > mean_cost for cost in costs if cost > spent(found) + 1e-8)


def test_bad_input_is_refused() -> None:
    """Settings name themselves; estimates and prices that are no numbers name their model."""
    with pytest.raises(ConfigError, match="willingness is -1"):
        WorthItsPrice(willingness=-1)
    with pytest.raises(ConfigError, match="min_score is 2"):
        CheapestReaching(min_score=2)
    with pytest.raises(ConfigError, match="two models"):
        StrongFrom(strong="a", weak="a", threshold=0.5)
    with pytest.raises(DataError, match="no estimates"):
        WorthItsPrice(willingness=1).decide({}, {})
    with pytest.raises(DataError, match="estimate of model 'a' is nan"):
        WorthItsPrice(willingness=1).decide({"a": math.nan}, {"a": 1.0})
    with pytest.raises(DataError, match=r"price of model 'a' is -1\.0"):
        WorthItsPrice(willingness=1).decide({"a": 0.5}, {"a": -1.0})
    with pytest.raises(DataError, match="'b' has no estimate"):
        StrongFrom(strong="a", weak="b", threshold=0.5).decide({"a": 0.5}, {})
    with pytest.raises(DataError, match="cheapest model costs 1"):
        willingness_for_cost(np.ones((2, 2)), np.array([1.0, 2.0]), 0.5)
    with pytest.raises(DataError, match="do not fit"):
        willingness_for_cost(np.ones((2, 3)), np.array([1.0, 2.0]), 5)
    with pytest.raises(DataError, match="finite"):
        willingness_for_cost(np.ones((2, 2)), np.array([1.0, math.nan]), 5)

"""Bradley-Terry ratings."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from motet.errors import ConfigError, DataError
from motet.judging.ranking import Game, bradley_terry


def games(*results: tuple[str, str, Any, int]) -> list[Game]:
    return [
        Game(first=first, second=second, winner=winner)
        for first, second, winner, times in results
        for _ in range(times)
    ]


def played(strengths: dict[str, float], count: int, seed: int) -> list[Game]:
    chances, names, made = random.Random(seed), list(strengths), []
    for _ in range(count):
        first, second = chances.sample(names, 2)
        won = 1 / (1 + 10 ** ((strengths[second] - strengths[first]) / 400))
        winner: Any = "A" if chances.random() < won else "B"
        made.append(Game(first=first, second=second, winner=winner))
    return made


def test_odds_of_ten_to_one_are_four_hundred_points() -> None:
    """Two models' ratings differ by 400 log10 of the odds, and the anchor stands at 1000."""
    ranking = bradley_terry(games(("x", "y", "A", 30), ("y", "x", "A", 3)), anchor="y")

    assert ranking.ratings["y"].value == 1000
    assert ranking.ratings["x"].value == pytest.approx(1400, abs=1e-3)
    assert list(ranking.ratings) == ["x", "y"]
    assert ranking.win_probability("x", "y") == pytest.approx(10 / 11)


def test_a_tie_is_half_a_win_of_each() -> None:
    """Two ties weigh as a win and a loss, and ties alone make equals."""
    tied = bradley_terry(games(("x", "y", "tie", 4), ("x", "y", "A", 4)), anchor="y")
    won = bradley_terry(games(("x", "y", "B", 2), ("x", "y", "A", 6)), anchor="y")
    equal = bradley_terry(games(("x", "y", "tie", 3)), anchor="y")

    assert tied.ratings["x"].value == pytest.approx(won.ratings["x"].value, abs=1e-6)
    assert tied.ratings["x"].value == pytest.approx(1000 + 400 * math.log10(3), abs=1e-3)
    assert equal.ratings["x"].value == pytest.approx(1000)


def test_the_side_that_a_model_plays_on_does_not_matter() -> None:
    """Exchanging the models of each game, and its winner, changes no rating."""
    made = played({"a": 1100, "b": 1000, "c": 900}, 300, seed=1)
    flip: dict[str, Any] = {"A": "B", "B": "A"}
    turned = [Game(first=g.second, second=g.first, winner=flip[g.winner]) for g in made]

    one, two = bradley_terry(made, anchor="b"), bradley_terry(turned, anchor="b")

    for name, rating in one.ratings.items():
        assert two.ratings[name].value == pytest.approx(rating.value, abs=1e-6)


def test_known_strengths_come_back() -> None:
    """Ratings of many games are near the strengths that made them, inside their intervals."""
    strengths = {"a": 1200.0, "b": 1100.0, "c": 1000.0, "d": 850.0}

    ranking = bradley_terry(played(strengths, 4000, seed=2), anchor="c", num_resamples=100, seed=3)

    assert list(ranking.ratings) == ["a", "b", "c", "d"]
    for name, strength in strengths.items():
        rating = ranking.ratings[name]
        assert rating.value == pytest.approx(strength, abs=30)
        assert rating.low <= rating.value <= rating.high
        assert rating.high - rating.low < 80
    assert ranking.ratings["a"].low > ranking.ratings["b"].high
    assert ranking.num_unbounded == 0


def test_intervals_are_the_same_each_time_and_narrow_with_games() -> None:
    """The seed fixes the resamples; more games make narrower intervals, the anchor's none."""
    few, many = (played({"a": 1100, "b": 1000}, count, seed=4) for count in (60, 1500))

    one, again, other = (
        bradley_terry(few, anchor="b", num_resamples=50, seed=seed) for seed in (5, 5, 6)
    )
    wide = one.ratings["a"].high - one.ratings["a"].low
    rating = bradley_terry(many, anchor="b", num_resamples=50).ratings["a"]

    assert one == again
    assert one != other
    assert rating.high - rating.low < wide / 2
    assert one.ratings["b"].low == one.ratings["b"].high == 1000


def test_models_that_never_met_cannot_be_compared() -> None:
    """Groups without a game between them are named, unless a prior relates them."""
    apart = games(("a", "b", "A", 2), ("b", "a", "A", 1), ("c", "d", "A", 2), ("c", "d", "B", 1))

    with pytest.raises(DataError, match="never met: a, b; c, d"):
        bradley_terry(apart, anchor="a")

    related = bradley_terry(apart, anchor="a", prior_deviation=400).ratings
    assert related["c"].value == pytest.approx(related["a"].value)


@pytest.mark.parametrize(("winner", "result"), [("A", "won"), ("B", "lost")])
def test_who_always_wins_has_no_finite_rating(winner: Any, result: str) -> None:
    """A model of wins only, or losses only, is named; a prior bounds it, a wider one less."""
    made = games(("x", "y", winner, 5), ("y", "z", "A", 2), ("z", "y", "A", 2))

    with pytest.raises(DataError, match=f"x {result} every game|y, z .* every game"):
        bradley_terry(made, anchor="y")

    near, far = (
        abs(bradley_terry(made, anchor="y", prior_deviation=d).ratings["x"].value - 1000)
        for d in (100, 400)
    )
    assert 0 < near < far < 2000


@pytest.mark.parametrize("deviation", [100.0, 400.0])
def test_the_prior_is_normal_with_its_deviation_in_points(deviation: float) -> None:
    """Five wins of five stand where the pull of the games is that of the prior."""
    made = games(("x", "y", "A", 5))

    gap = bradley_terry(made, anchor="y", prior_deviation=deviation).ratings["x"].value - 1000

    points = 400 / math.log(10)
    pull = 5 / (1 + math.exp(gap / points))
    assert pull == pytest.approx((gap / points) / 2 / (deviation / points) ** 2, rel=1e-4)


def test_a_chain_of_wins_is_unbounded_too() -> None:
    """Where each beats only who is below, no group has lost to the rest: that is no finite fit."""
    with pytest.raises(DataError, match="every game with the others"):
        bradley_terry(games(("a", "b", "A", 3), ("b", "c", "A", 3)), anchor="b")


def test_resamples_without_finite_ratings_are_counted() -> None:
    """A single upset is often missed by a resample; such are counted and left out."""
    made = games(("x", "y", "A", 8), ("y", "x", "A", 1))

    ranking = bradley_terry(made, anchor="y", num_resamples=100)

    assert 20 < ranking.num_unbounded < 60
    assert ranking.ratings["x"].high < 2000
    bounded = bradley_terry(made, anchor="y", num_resamples=100, prior_deviation=400)
    assert bounded.num_unbounded == 0


def test_errors_are_left_out_and_counted() -> None:
    """A game without a readable verdict changes nothing but the count."""
    made = games(("x", "y", "A", 3), ("y", "x", "A", 1))
    with_errors = [*made, *games(("x", "y", "error", 7))]

    clean, noisy = bradley_terry(made, anchor="y"), bradley_terry(with_errors, anchor="y")

    assert noisy.ratings == clean.ratings
    assert (noisy.num_games, noisy.num_errors) == (4, 7)


def test_bad_games_and_settings_are_refused() -> None:
    """Each names what is wrong and its value."""
    made = games(("x", "y", "A", 3), ("y", "x", "A", 1))
    with pytest.raises(DataError, match="'x' plays itself"):
        Game(first="x", second="x", winner="A")
    with pytest.raises(ConfigError, match="winner is 'x'"):
        games(("x", "y", "x", 1))
    with pytest.raises(DataError, match="anchor 'q'"):
        bradley_terry(made, anchor="q")
    with pytest.raises(DataError, match="anchor 'x' has no readable game"):
        bradley_terry([], anchor="x")
    with pytest.raises(ConfigError, match="scale is 0"):
        bradley_terry(made, anchor="x", scale=0)
    with pytest.raises(ConfigError, match="prior_deviation is 0"):
        bradley_terry(made, anchor="x", prior_deviation=0)
    with pytest.raises(ConfigError, match="level is 2"):
        bradley_terry(made, anchor="x", level=2)
    with pytest.raises(DataError, match="'q' has no rating"):
        bradley_terry(made, anchor="x").win_probability("x", "q")

"""Bradley-Terry ratings and tiers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import DataError
from motet.routing.bradley_terry import ratings, tiers, win_probability


def test_a_difference_of_100_wins_64_times_in_100() -> None:
    """The card's 0.6401; 400 is odds of 10 to 1, and no difference is even."""
    assert win_probability(100) == pytest.approx(0.6401, abs=5e-5)
    assert win_probability(400) == pytest.approx(10 / 11)
    assert win_probability(0) == 0.5


def test_two_models_have_the_ratings_of_their_wins() -> None:
    """64.01 wins of 100 are 100 apart, around 1000; 10 of 11 are 400 apart."""
    [even, ten] = ratings(
        np.array([[[0, 64.0065], [35.9935, 0]], [[0, 10.0], [1.0, 0]]], dtype=float)
    )

    assert even == pytest.approx([1050, 950], abs=1e-3)
    assert ten == pytest.approx([1200, 800], abs=1e-9)


@given(seed=st.integers(0, 10_000), count=st.integers(2, 12), spread=st.floats(0, 8))
@settings(deadline=None, max_examples=60)
def test_at_the_fit_expected_wins_are_the_wins(seed: int, count: int, spread: float) -> None:
    """The likelihood is flat at the ratings of every table, however uneven, fitted in a batch."""
    rng = np.random.default_rng(seed)
    wins = np.exp(spread * rng.standard_normal((3, count, count)))
    wins[:, np.arange(count), np.arange(count)] = 0.0

    fitted = ratings(wins)

    chance = win_probability(fitted[:, :, None] - fitted[:, None, :])
    expected = ((wins + wins.transpose(0, 2, 1)) * chance).sum(axis=2)
    total = wins.sum(axis=(1, 2), keepdims=True)[:, :, 0]
    assert np.allclose(expected / total, wins.sum(axis=2) / total, atol=1e-8)
    assert fitted.mean(axis=1) == pytest.approx(np.full(3, 1000.0))


def test_planted_ratings_are_found() -> None:
    """Of the exact win shares of planted ratings the fit is those ratings."""
    planted = np.array([1300.0, 1100.0, 950.0, 900.0, 750.0])
    games = np.random.default_rng(0).integers(1, 50, (5, 5))
    games = games + games.T
    wins = games * win_probability(planted[:, None] - planted[None, :])

    assert ratings(wins[None])[0] == pytest.approx(planted, abs=1e-6)


@pytest.mark.parametrize(
    "wins",
    [
        [[0, 5.0], [0, 0]],
        [[0, 1, 1.0], [1, 0, 1.0], [0, 0, 0]],
        [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0.0]],
        [[0, 0.0], [0, 0]],
    ],
)
def test_ratings_that_would_be_infinite_are_refused(wins: Any) -> None:
    """A model that always wins, one that never does, two circles that never met, no battle."""
    with pytest.raises(DataError, match="infinite"):
        ratings(np.array([wins]))


def test_one_chain_of_wins_is_enough() -> None:
    """A circle of wins reaches everybody, so that ratings exist."""
    circle = np.roll(np.eye(7), 1, axis=1)

    assert ratings(circle[None])[0] == pytest.approx(np.full(7, 1000.0))


@given(values=st.lists(st.integers(0, 60), min_size=1, max_size=7), num_tiers=st.integers(1, 5))
@settings(deadline=None)
def test_tiers_are_the_cuts_of_least_variance(values: list[int], num_tiers: int) -> None:
    """No other cut of the sorted ratings into as many runs has a smaller sum of variances."""
    found = tiers(np.array(values, dtype=float), num_tiers)
    count = min(num_tiers, len(values))
    ordered = sorted(values, reverse=True)

    sums = []
    for cuts in itertools.combinations(range(1, len(values)), count - 1):
        ends = [0, *cuts, len(values)]
        sums.append(sum(np.var(ordered[i:j]) for i, j in itertools.pairwise(ends)))
    parts = [[v for v, t in zip(values, found, strict=True) if t == tier] for tier in range(count)]

    assert all(parts)
    assert sum(np.var(part) for part in parts) == pytest.approx(min(sums), abs=1e-9)
    for higher, lower in itertools.pairwise(parts):
        assert min(higher) >= max(lower)

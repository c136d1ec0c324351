"""Raw win rates."""

from __future__ import annotations

import math

import pytest

from motet.errors import DataError
from motet.judging.win_rates import win_rates


def test_preferences_are_not_rounded_in_the_win_rate() -> None:
    """The win rate is the mean preference; only the discrete one rounds, a half being half."""
    rates = win_rates([0.6, 0.6, 0.5, 0.1])

    assert rates.win_rate == pytest.approx(45)
    assert rates.discrete_win_rate == 62.5
    assert (rates.wins, rates.draws, rates.losses) == (2, 1, 1)
    assert rates.standard_error == pytest.approx(100 * math.sqrt(0.17 / 3 / 4))


def test_what_was_not_judged_is_counted_and_left_out() -> None:
    """NaN is neither a loss nor a draw."""
    rates = win_rates([1.0, math.nan, 0.0, math.nan])

    assert (rates.win_rate, rates.num_unjudged) == (50, 2)


def test_bad_preferences_are_refused() -> None:
    """A preference outside 0 to 1 names its place; nothing judged has no rate."""
    with pytest.raises(DataError, match=r"preference 1 is 1\.2"):
        win_rates([0.5, 1.2])
    with pytest.raises(DataError, match="no preference was judged"):
        win_rates([math.nan])

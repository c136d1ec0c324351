"""Verdicts: orders, reconciling and counting."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.judging.verdicts import (
    WINNERS,
    PairVerdict,
    Reconciled,
    ScoreVerdict,
    compare,
    other,
    reconcile,
    tally,
)

SAID = st.sampled_from(WINNERS)


def both(first: Any, second: Any, rule: Any = "agree") -> Reconciled:
    return reconcile(PairVerdict(winner=first), PairVerdict(winner=second, order="BA"), rule=rule)


@pytest.mark.parametrize(
    ("first", "second", "winner", "is_consistent"),
    [
        ("A", "B", "A", True),
        ("B", "A", "B", True),
        ("tie", "tie", "tie", True),
        ("A", "A", "tie", False),
        ("B", "B", "tie", False),
        ("A", "tie", "tie", False),
        ("error", "B", "error", False),
        ("tie", "error", "error", False),
        ("error", "error", "error", False),
    ],
)
def test_a_winner_is_who_is_chosen_in_both_orders(
    first: Any, second: Any, winner: str, is_consistent: bool
) -> None:
    """Orders that agree after un-swapping decide; others are a tie, and errors stay errors."""
    result = both(first, second)

    assert (result.winner, result.is_consistent) == (winner, is_consistent)


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ("A", "B", "A"),
        ("A", "tie", "A"),
        ("tie", "A", "B"),
        ("A", "A", "tie"),
        ("error", "B", "A"),
        ("B", "error", "B"),
        ("error", "tie", "tie"),
        ("error", "error", "error"),
    ],
)
def test_by_majority_one_tie_or_error_leaves_the_word_to_the_other_order(
    first: Any, second: Any, winner: str
) -> None:
    """By the majority rule a side wins that is chosen more often than the other."""
    assert both(first, second, "majority").winner == winner


@given(first=SAID, second=SAID, rule=st.sampled_from(["agree", "majority"]))
def test_exchanging_the_responses_mirrors_the_result(first: Any, second: Any, rule: Any) -> None:
    """Showing (B, A) for (A, B) gives the other winner, for either rule."""
    result, mirrored = both(first, second, rule), both(second, first, rule)

    assert mirrored.winner == other(result.winner)
    assert mirrored.is_consistent == result.is_consistent


@given(first=SAID, second=SAID, rule=st.sampled_from(["agree", "majority"]))
def test_it_does_not_matter_which_order_is_given_first(first: Any, second: Any, rule: Any) -> None:
    """Reconciling is the same whichever verdict comes first."""
    one, two = PairVerdict(winner=first), PairVerdict(winner=second, order="BA")

    assert reconcile(one, two, rule=rule) == reconcile(two, one, rule=rule)


@given(winners=st.lists(SAID))
def test_counts_add_up_to_the_number_of_games(winners: Any) -> None:
    """Wins, ties, losses and errors are all games, and rates are of what could be read."""
    counts = tally(winners)

    assert counts.wins + counts.ties + counts.losses + counts.errors == len(winners)
    assert counts.num_games == len(winners)
    if counts.num_read:
        mirrored = tally([other(winner) for winner in winners])
        assert counts.adjusted_win_rate + mirrored.adjusted_win_rate == pytest.approx(1)


def test_errors_are_no_ties() -> None:
    """A verdict that could not be read changes no rate."""
    counts = tally(["A", "tie", "B", "B", "error", "error"])

    assert (counts.win_rate, counts.tie_share) == (0.25, 0.25)
    assert counts.adjusted_win_rate == 0.375
    assert tally(["A", "tie", "B", "B"]).adjusted_win_rate == 0.375


def test_no_rate_comes_of_errors_alone() -> None:
    """Where nothing could be read a rate is an error, not 0."""
    counts = tally(["error", "error"])

    for rate in ("win_rate", "adjusted_win_rate", "tie_share"):
        with pytest.raises(DataError, match="none of 2 verdicts"):
            getattr(counts, rate)


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [(7, 7, "tie"), (7, 7.05, "tie"), (7, 6.5, "A"), (6, 7, "B"), (None, 7, "error")],
)
def test_scores_that_hardly_differ_are_a_tie(first: Any, second: Any, winner: str) -> None:
    """Scores less than 0.1 apart tie; without both scores there is no verdict."""
    verdict = compare(ScoreVerdict(score=first, raw="x"), ScoreVerdict(score=second, raw="y"))

    assert verdict == PairVerdict(winner=winner, raw="x\ny")  # type: ignore[arg-type]


def test_a_difference_of_the_limit_decides() -> None:
    """A tie needs a difference below the limit."""
    assert compare(ScoreVerdict(score=1.5), ScoreVerdict(score=1), tie_below=0.5).winner == "A"


def test_bad_verdicts_are_refused() -> None:
    """Unknown winners, orders, rules and scores name themselves."""
    unknown: Any = "C"
    with pytest.raises(ConfigError, match="winner is 'C'"):
        PairVerdict(winner=unknown)
    with pytest.raises(ConfigError, match="order is 'C'"):
        PairVerdict(winner="A", order=unknown)
    with pytest.raises(ConfigError, match="score is nan"):
        ScoreVerdict(score=float("nan"))
    with pytest.raises(ConfigError, match="rule is 'C'"):
        both("A", "B", unknown)
    with pytest.raises(ConfigError, match="winner is 'C'"):
        tally(["A", unknown])
    with pytest.raises(ConfigError, match="tie_below is -1"):
        compare(ScoreVerdict(score=1), ScoreVerdict(score=1), tie_below=-1)


def test_two_verdicts_of_one_order_are_not_reconciled() -> None:
    """The same order twice says nothing of the other."""
    with pytest.raises(DataError, match="order 'AB'"):
        reconcile(PairVerdict(winner="A"), PairVerdict(winner="A"))

"""Both orders of many pairs: consistency, position and agreement."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import DataError
from motet.judging.orders import accuracy, report_orders
from motet.judging.verdicts import WINNERS, PairVerdict, reconcile, tally

Pair = tuple[PairVerdict, PairVerdict]


def pair(first: Any, second: Any) -> Pair:
    return PairVerdict(winner=first), PairVerdict(winner=second, order="BA")


def test_a_judge_that_always_says_a_decides_nothing() -> None:
    """`Always A` gives ties only, consistency 0 and the largest preference for the first place."""
    pairs = [pair("A", "A")] * 10

    report = report_orders(pairs, ["A"] * 10)

    assert tally(reconcile(*each).winner for each in pairs).ties == 10
    assert (report.consistency, report.first_position_preference) == (0, 0.5)
    assert report.agreement == 0


def test_a_steady_judge_prefers_no_place() -> None:
    """A judge that follows the response is consistent and takes either place as often."""
    report = report_orders([pair("A", "B"), pair("B", "A"), pair("tie", "tie")])

    assert (report.consistency, report.first_position_preference) == (1, 0)
    assert report.agreement is None


def test_being_right_needs_both_orders() -> None:
    """Agreement counts what is right in both orders, ties included, of the pairs that were read."""
    pairs = [pair("A", "B"), pair("A", "A"), pair("tie", "tie"), pair("A", "B"), pair("error", "B")]

    report = report_orders(pairs, ["A", "A", "tie", "B", "A"])

    assert (report.num_pairs, report.num_errors) == (5, 1)
    assert report.agreement == 0.5
    assert report.consistency == 0.75


@given(
    said=st.lists(
        st.tuples(st.sampled_from(WINNERS), st.sampled_from(WINNERS), st.sampled_from(WINNERS[:3])),
        min_size=1,
    )
)
def test_agreement_is_never_above_consistency(said: Any) -> None:
    """Both are shares of the same pairs, and who is right twice is steady."""
    pairs = [pair(first, second) for first, second, _ in said]
    if all("error" in row[:2] for row in said):
        with pytest.raises(DataError, match="none could be read"):
            report_orders(pairs)
        return

    report = report_orders(pairs, [label for _, _, label in said])

    assert report.agreement is not None
    assert report.agreement <= report.consistency


def test_bad_labels_are_refused() -> None:
    """Labels must be as many as pairs, and no errors."""
    with pytest.raises(DataError, match="2 labels for 1 pairs"):
        report_orders([pair("A", "B")], ["A", "B"])
    with pytest.raises(DataError, match="label 0 is 'error'"):
        report_orders([pair("A", "B")], ["error"])
    with pytest.raises(DataError, match="no verdicts"):
        accuracy([], [])
    with pytest.raises(DataError, match="of 0 pairs none"):
        report_orders([])


def test_an_unreadable_verdict_is_not_right() -> None:
    """Accuracy counts errors as wrong, and not as half right."""
    assert accuracy(["A", "error", "tie", "B"], ["A", "A", "A", "A"]) == 0.25

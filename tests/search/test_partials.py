"""Partial solutions."""

from __future__ import annotations

from motet.search.partials import Candidate, Partial, Step


def test_a_partial_is_the_sum_of_its_steps():
    """Text, tokens, depth and end are those of its steps, in order."""
    partial = Partial().then(Step("a", num_tokens=2)).then(Step("", num_tokens=3, is_last=True))

    assert (partial.text, partial.num_tokens, partial.depth) == ("a", 5, 2)
    assert partial.is_finished
    assert Candidate(partial).text == "a"


def test_the_empty_partial_is_not_finished():
    """Nothing is no solution."""
    assert not Partial().is_finished
    assert (Partial().text, Partial().depth, Partial().num_tokens) == ("", 0, 0)


def test_going_on_leaves_what_was_there():
    """`then` returns another partial solution."""
    start = Partial((Step("a"),))

    start.then(Step("b"))

    assert start.text == "a"

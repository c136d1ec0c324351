"""Tokens that may come next."""

from __future__ import annotations

import asyncio
import math

import pytest

from motet.errors import SearchError
from motet.search.metering import Meter
from motet.search.partials import Partial, Step
from motet.search.spending import NO_LIMITS, NOTHING, Limits, Spend
from motet.search.tokens import Token, checked_logprob, next_tokens
from motet.search.tools import FAILED, UNPAID

_TEXTS = [Partial((Step(each),)) for each in "xyz"]


def test_the_likeliest_token_comes_first_and_of_equals_the_first_by_text():
    """Whatever the order in which they came."""
    given = [Token("b", -1.0), Token("c", -0.5), Token("a", -1.0)]

    found = asyncio.run(
        next_tokens(Meter(NO_LIMITS, NOTHING), lambda texts, k: [given], _TEXTS[:1], 3)
    )

    assert [[token.text for token in each] for each in found] == [["c", "a", "b"]]


def test_failed_looks_are_paid_for_and_unpaid_ones_are_not():
    """Either has no tokens."""
    meter = Meter(NO_LIMITS, NOTHING)

    def look(texts, k):
        return [FAILED, [Token("a", -1.0)], UNPAID]

    assert asyncio.run(next_tokens(meter, look, _TEXTS, 1)) == [[], [Token("a", -1.0)], []]
    assert meter.spend == Spend(proposals=2, tokens=2)
    assert meter.is_spent


def test_texts_are_looked_at_all_or_none():
    """Two proposals do not hold three texts."""

    def never(texts, k):
        raise AssertionError

    meter = Meter(Limits(max_proposals=2), NOTHING)

    assert asyncio.run(next_tokens(meter, never, _TEXTS, 1)) is None
    assert (meter.is_spent, meter.spend) == (True, NOTHING)


def test_a_log_probability_is_not_above_0():
    """But for rounding, which is taken off."""
    assert checked_logprob(1e-7, "top_tokens") == 0.0
    assert checked_logprob(-3, "top_tokens") == -3.0
    for value in (1e-5, math.nan, -math.inf):
        with pytest.raises(SearchError, match="top_tokens gave"):
            checked_logprob(value, "top_tokens")


def test_a_token_is_a_step_of_one_token():
    """Its log probability is the step's prior, its data goes along."""
    step = Token("a", -1.0, is_last=True, data=[7]).as_step()

    assert step == Step("a", is_last=True, num_tokens=1, prior=-1.0, data=[7])

"""Limits, counts and errors of a problem's own callables."""

import asyncio

import pytest

from motet.errors import BudgetExhaustedError, ConfigError, SearchError
from motet.search.metering import Meter
from motet.search.spending import NO_LIMITS, NOTHING, Limits, Spend
from motet.search.tools import FAILED, UNPAID


def test_limits_hold_only_what_is_left():
    """What was asked for beyond them marks the meter as spent."""
    meter = Meter(Limits(max_proposals=5, max_scores=2), Spend(proposals=3, scores=1))

    assert (meter.may_propose(2), meter.is_spent) == (2, False)
    assert (meter.may_propose(3), meter.is_spent) == (2, True)
    assert (meter.may_score(4), meter.is_spent) == (1, True)


def test_tokens_are_granted_by_the_most_a_step_takes():
    """Of 25 tokens with 10 a step, two steps are granted."""
    meter = Meter(Limits(max_tokens=25), NOTHING, step_tokens=10)

    assert meter.may_propose(5) == 2


def test_a_token_limit_needs_a_bound():
    """Without it the limit could not be kept."""
    with pytest.raises(ConfigError, match="max_tokens is 7.*step_tokens"):
        Meter(Limits(max_tokens=7), NOTHING)


def test_more_tokens_than_the_bound_are_a_broken_contract():
    """step_tokens is a promise."""
    meter = Meter(Limits(max_tokens=25), NOTHING, step_tokens=10)

    with pytest.raises(SearchError, match="1 proposals used 11 tokens"):
        meter.count(proposals=1, tokens=11)


def test_what_a_callable_raises_is_mapped():
    """A foreign error names the callable; an empty budget loses the batch."""
    meter = Meter(NO_LIMITS, NOTHING)

    def foreign(batch):
        raise KeyError("x")

    def spent(batch):
        raise BudgetExhaustedError("spent", limit="max_tokens", limit_value=1)

    with pytest.raises(SearchError, match="advance failed: KeyError"):
        asyncio.run(meter.call("advance", foreign, [1]))
    lost = asyncio.run(meter.call("advance", spent, [1, 2]))
    assert lost == [UNPAID, UNPAID]
    assert [meter.is_lost(each) for each in (1, FAILED)] == [False, True]
    assert not meter.is_spent
    assert meter.is_lost(UNPAID)
    assert meter.is_spent


def test_a_short_batch_is_a_broken_contract():
    """One result a member."""
    with pytest.raises(SearchError, match="1 results for a batch of 2"):
        asyncio.run(Meter(NO_LIMITS, NOTHING).call("f", lambda batch: [1], [1, 2]))

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


def test_scores_are_granted_by_the_most_they_take():
    """And what they used beside any step counts as soon as their call is over."""
    used = iter([15, 0])
    meter = Meter(Limits(max_tokens=25), NOTHING, step_tokens=10, tokens_aside=lambda: next(used))

    assert meter.may_score(5, tokens=10) == 2
    asyncio.run(meter.call("score", lambda batch: batch, [1, 2]))
    assert (meter.spend, meter.may_score(5, tokens=10), meter.may_propose(2)) == (
        Spend(tokens=15),
        1,
        1,
    )


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


@pytest.mark.parametrize("name", ["max_proposals", "max_tokens", "max_scores"])
def test_a_limit_holds_for_calls_side_by_side(name):
    """What calls under way may take is held back from the next; what they leave is free again."""
    limits = {"max_proposals": 5, "max_tokens": 50, "max_scores": 5}
    meter = Meter(Limits(**{name: limits[name]}), NOTHING, step_tokens=10)
    asked = []

    async def answer(batch):
        asked.append(len(batch))
        await asyncio.sleep(0)
        return batch

    async def one(num, tokens):
        may = meter.may_score if name == "max_scores" else meter.may_propose
        granted = may(num)
        found = await meter.call("f", answer, [1] * granted)
        if name == "max_scores":
            meter.count(scores=len(found))
        else:
            meter.count(proposals=len(found), tokens=tokens * len(found))
        return granted

    async def all_of(*sizes):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(size, 4)) for size in sizes]
        return [task.result() for task in tasks]

    assert asyncio.run(all_of(2, 2, 2)) == [2, 2, 1]
    left = asyncio.run(all_of(4, 4))
    assert left == ([3, 0] if name == "max_tokens" else [0, 0])
    assert sum(asked) == sum([5, *left])


def test_a_call_that_fails_holds_nothing_any_more():
    """Its part is free for the next, as it was not counted."""
    meter = Meter(Limits(max_proposals=3), NOTHING)

    def foreign(batch):
        raise KeyError("x")

    assert meter.may_propose(3) == 3
    with pytest.raises(SearchError):
        asyncio.run(meter.call("f", foreign, [1, 1, 1]))
    assert meter.may_propose(3) == 3


def test_a_call_without_a_grant_of_its_own_holds_nothing():
    """A grant is for the call that comes next, once."""
    meter = Meter(Limits(max_proposals=3), NOTHING)
    seen = []

    async def calls():
        meter.may_propose(3)
        await meter.call("f", lambda batch: batch, [1])
        await meter.call("f", lambda batch: seen.append(meter.may_propose(3)) or batch, [1])

    asyncio.run(calls())

    assert seen == [3]

"""Batches of searches that run side by side, joined."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import BudgetExhaustedError, ConfigError, SearchError
from motet.search.batching import Joined
from motet.search.beam import Beam
from motet.search.driver import search_all
from motet.search.tools import Problem
from motet.testing.search import planted_problem


class Recorder:
    """A callable that doubles numbers, and keeps the batches that it was given."""

    def __init__(self, wait: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.num_cancelled = 0
        self.begun, self.gate = asyncio.Event(), asyncio.Event()
        if not wait:
            self.gate.set()

    async def __call__(self, batch: list[int]) -> list[int]:
        self.batches.append(list(batch))
        self.begun.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise
        return [2 * each for each in batch]


def test_what_is_asked_for_together_is_one_call():
    """Each caller gets the results of its own members, in its order."""
    call = Recorder(wait=False)
    joined = Joined(call)

    async def act() -> Any:
        return await asyncio.gather(joined([1, 2]), joined([]), joined([3]), joined([4, 5, 6]))

    assert asyncio.run(act()) == [[2, 4], [], [6], [8, 10, 12]]
    assert call.batches == [[1, 2, 3, 4, 5, 6]]


@given(st.lists(st.lists(st.integers(), max_size=9), max_size=6), st.integers(1, 8))
def test_no_call_is_larger_than_the_most(batches, most):
    """A batch that is larger is spread over several calls; no call but the last is smaller."""
    call = Recorder(wait=False)
    joined = Joined(call, most=most)

    async def act() -> Any:
        return await asyncio.gather(*map(joined, batches))

    assert asyncio.run(act()) == [[2 * each for each in batch] for batch in batches]
    assert [each for batch in call.batches for each in batch] == sum(batches, [])
    assert all(len(batch) == most for batch in call.batches[:-1])
    assert all(0 < len(batch) <= most for batch in call.batches)


def test_searches_side_by_side_share_their_calls():
    """64 searches in step make as many calls as one of them alone, a 64th of their sum."""
    calls: list[int] = []
    planted = planted_problem()

    def problem(join: bool) -> Problem:
        def counted(call: Any) -> Any:
            def count(batch: Any) -> Any:
                calls.append(len(batch))
                return call(batch)

            return count

        propose, score = counted(planted.propose), counted(planted.score)
        if not join:
            return Problem(propose=propose, score=score)
        return Problem(propose=Joined(propose, most=10**6), score=Joined(score, most=10**6))

    beam = Beam(n=8, width=4, max_steps=5)
    apart = asyncio.run(search_all(beam, [problem(join=False)] * 64))
    num_apart = len(calls)
    calls.clear()
    together = asyncio.run(search_all(beam, [problem(join=True)] * 64))

    assert together == apart
    assert len(calls) * 64 == num_apart
    assert min(calls) >= 64


def test_a_caller_that_is_cancelled_hurts_no_other():
    """Before its call begins it is left out; after that the call goes on for the others."""
    call = Recorder()
    joined = Joined(call)

    async def act() -> Any:
        early, late, stays = (asyncio.create_task(joined([n])) for n in (1, 2, 3))
        await asyncio.sleep(0)
        early.cancel()
        await call.begun.wait()
        late.cancel()
        await asyncio.sleep(0)
        call.gate.set()
        return await asyncio.gather(early, late, stays, return_exceptions=True)

    early, late, stays = asyncio.run(act())

    assert isinstance(early, asyncio.CancelledError)
    assert isinstance(late, asyncio.CancelledError)
    assert stays == [6]
    assert call.batches == [[2, 3]]
    assert call.num_cancelled == 0


def test_a_call_that_nobody_waits_for_is_cancelled():
    """A search that ran out of time leaves nothing behind."""
    call = Recorder()
    joined = Joined(call)

    async def act() -> None:
        tasks = [asyncio.create_task(joined([n])) for n in (1, 2)]
        await call.begun.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for _ in range(3):
            await asyncio.sleep(0)
        assert call.num_cancelled == 1  # before the loop ends, which would cancel it anyway

    asyncio.run(act())


def test_an_error_is_that_of_all_in_the_call():
    """The error is typed; callers in other calls do not see it."""

    def broken(batch):
        if 3 in batch:
            raise KeyError("x")
        return batch

    joined = Joined(broken, most=2)

    async def act() -> Any:
        callers = (joined(batch) for batch in ([1], [2], [3], [4], [5]))
        return await asyncio.gather(*callers, return_exceptions=True)

    first, second, *broken_ones, last = asyncio.run(act())

    assert (first, second, last) == ([1], [2], [5])
    assert all(isinstance(error, SearchError) for error in broken_ones)
    assert "KeyError" in str(broken_ones[0])


def test_a_call_of_the_wrong_length_is_an_error():
    """Results cannot be told apart then."""
    with pytest.raises(SearchError, match="3 results for a batch of 2"):
        asyncio.run(Joined(lambda batch: [1, 2, 3])([1, 2]))


def test_a_spent_budget_is_known_to_every_caller():
    """Each search ends by its limit, none fails."""

    def spent(batch):
        raise BudgetExhaustedError("spent", limit="max_cost", limit_value=1)

    problem = Problem(propose=Joined(spent), score=planted_problem().score)
    results = asyncio.run(search_all(Beam(), [problem] * 3))

    assert [result.why for result in results] == ["limit"] * 3


def test_a_call_that_is_cancelled_from_within_cancels_its_callers():
    """Nobody waits for ever."""

    async def gone(batch):
        raise asyncio.CancelledError

    async def act() -> Any:
        async with asyncio.timeout(5):
            return await asyncio.gather(Joined(gone)([1]), return_exceptions=True)

    [error] = asyncio.run(act())

    assert isinstance(error, asyncio.CancelledError)


def test_a_loop_that_ended_early_is_forgotten():
    """What it had left waiting is not in the way of the next loop."""
    call = Recorder(wait=False)
    joined = Joined(call)

    async def leave() -> None:
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
        await joined([1])

    loop = asyncio.new_event_loop()
    task = loop.create_task(leave())
    loop.call_soon(loop.stop)
    loop.run_forever()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()

    assert asyncio.run(asyncio.wait_for(joined([2]), 5)) == [4]


@pytest.mark.parametrize("most", [0, -1, 2.5])
def test_a_call_holds_one_at_least(most):
    """The error names the setting."""
    with pytest.raises(ConfigError, match=f"most is {most}"):
        Joined(list, most=most)

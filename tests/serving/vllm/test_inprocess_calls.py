"""Calls between event loops: order, cancellation, and the end of either side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from motet.errors import EngineError
from motet.serving.vllm.inprocess_calls import Bridge, Call


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    """A bridge to a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield Bridge(loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_work_runs_on_the_other_loop_and_its_reports_on_the_callers(bridge: Bridge) -> None:
    told: list[tuple[int, int]] = []

    async def work(call: Call[int]) -> int:
        for number in range(3):
            call.report(lambda n: told.append((n, threading.get_ident())), number)
            await asyncio.sleep(0)
        return threading.get_ident()

    async def run() -> int:
        return await bridge.carry_out(Call(work))

    worker = asyncio.run(run())

    assert worker != threading.get_ident()
    assert told == [(n, threading.get_ident()) for n in range(3)]


def test_an_error_of_the_work_is_the_callers(bridge: Bridge) -> None:
    async def work(call: Call[int]) -> int:
        raise EngineError("broken")

    async def run() -> int:
        return await bridge.carry_out(Call(work))

    with pytest.raises(EngineError, match="broken"):
        asyncio.run(run())


def test_an_error_of_a_report_ends_the_call_and_its_work(bridge: Bridge) -> None:
    ended = threading.Event()

    def broken() -> None:
        raise ZeroDivisionError

    async def work(call: Call[int]) -> int:
        call.report(broken)
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        return 1

    async def run() -> int:
        return await bridge.carry_out(Call(work))

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())
    assert ended.wait(5)


def test_cancelling_the_caller_cancels_the_work(bridge: Bridge) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def work(call: Call[int]) -> int:
        begun.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        return 1

    async def run() -> None:
        task = asyncio.ensure_future(bridge.carry_out(Call(work)))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert ended.wait(5)


def test_closing_fails_what_runs_and_what_comes_later(bridge: Bridge) -> None:
    begun = threading.Event()

    async def work(call: Call[int]) -> int:
        begun.set()
        await asyncio.sleep(30)
        return 1

    async def run() -> None:
        task = asyncio.ensure_future(bridge.carry_out(Call(work)))
        await asyncio.to_thread(begun.wait)
        closing = bridge.close(lambda: EngineError("closed"))
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(closing, bridge._loop))
        with pytest.raises(EngineError, match="closed"):
            await task
        with pytest.raises(EngineError, match="closed"):
            await bridge.carry_out(Call(work))

    asyncio.run(run())


def test_a_caller_whose_loop_is_gone_harms_nobody(bridge: Bridge) -> None:
    release = threading.Event()

    async def stubborn(call: Call[int]) -> int:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            await asyncio.to_thread(release.wait)
        return 1

    async def quick(call: Call[int]) -> int:
        return 2

    async def leave() -> None:
        asyncio.ensure_future(bridge.carry_out(Call(stubborn)))
        await asyncio.sleep(0.05)

    async def run(work: Any) -> int:
        return await bridge.carry_out(Call(work))

    asyncio.run(leave())
    release.set()

    assert asyncio.run(run(quick)) == 2


def test_reports_of_one_turn_cross_together(bridge: Bridge) -> None:
    """A step of 20 streams wakes the caller's loop once, not 20 times."""
    wakes = 0

    async def run() -> int:
        loop = asyncio.get_running_loop()
        plain = loop.call_soon_threadsafe

        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal wakes
            wakes += 1
            return plain(*arguments, **named)

        gate: asyncio.Future[None] = bridge._loop.create_future()
        waiting = threading.Semaphore(0)

        async def work(call: Call[int]) -> int:
            waiting.release()
            await gate
            call.report(lambda: None)
            return 1

        tasks = [asyncio.ensure_future(bridge.carry_out(Call(work))) for _ in range(20)]
        for _ in range(20):
            await asyncio.to_thread(waiting.acquire)
        loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
        bridge.tell(lambda: gate.set_result(None))
        await asyncio.gather(*tasks)
        return wakes

    assert asyncio.run(run()) == 1

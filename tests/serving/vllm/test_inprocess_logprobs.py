"""Requests that name tokens, and requests for the most likely ones, kept apart."""

from __future__ import annotations

import asyncio

from motet.serving.vllm.inprocess_logprobs import NamedTokens


def test_tokens_are_named_where_nobody_asks_for_the_most_likely() -> None:
    async def run() -> list[bool]:
        tokens = NamedTokens(can_mix=False)
        async with tokens.named() as one, tokens.named() as two:
            return [one, two]

    assert asyncio.run(run()) == [True, True]


def test_a_request_for_the_most_likely_waits_for_those_that_name() -> None:
    order: list[str] = []

    async def run() -> None:
        tokens = NamedTokens(can_mix=False)

        async def top() -> None:
            async with tokens.top():
                order.append("top")

        async with tokens.named():
            task = asyncio.ensure_future(top())
            await asyncio.sleep(0.01)
            order.append("named")
        await task

    asyncio.run(run())
    assert order == ["named", "top"]


def test_beside_the_most_likely_nobody_names_and_who_waits_is_not_overtaken() -> None:
    async def run() -> list[bool]:
        tokens = NamedTokens(can_mix=False)
        seen: list[bool] = []

        async def named() -> None:
            async with tokens.named() as may_name:
                seen.append(may_name)

        async with tokens.top():
            await named()
        async with tokens.named():
            waiting = asyncio.ensure_future(tokens.top().__aenter__())
            await asyncio.sleep(0)
            late = asyncio.ensure_future(named())
            await asyncio.sleep(0.01)
            assert not late.done()
        await waiting
        await late
        return seen

    assert asyncio.run(run()) == [False, False]


def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    async def run() -> bool:
        tokens = NamedTokens(can_mix=False)
        async with tokens.named():
            waiting = asyncio.ensure_future(tokens.top().__aenter__())
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with tokens.named() as may_name:
            return may_name

    assert asyncio.run(run())


def test_the_newer_runner_mixes_both() -> None:
    async def run() -> bool:
        tokens = NamedTokens(can_mix=True)
        async with tokens.named(), tokens.top(), tokens.named() as may_name:
            return may_name

    assert asyncio.run(run())

"""Rules held within a budget: every request asks first, and nothing that was used is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.decoding import cfg
from motet.engine import Request, Sampling, Usage
from motet.errors import BudgetExhaustedError
from motet.serving.decoding.metering import metered
from motet.serving.decoding.rule_client import complete
from tests.serving.decoding.test_rule_client import UnreliableEngine
from tests.serving.openai.fake_vllm import FakeVLLM, with_engine

MAIN, PARTNER = (5, 6, 7), (8, 9)


class Purse:
    """Holds so many tokens; keeps what was taken and used."""

    def __init__(self, tokens: int = 10**9) -> None:
        self.tokens = tokens
        self.held = 0
        self.used = Usage()

    def take(self, most: Usage) -> None:
        if self.used.tokens + self.held + most.tokens > self.tokens:
            raise BudgetExhaustedError("empty", limit="max_tokens", limit_value=self.tokens)
        self.held += most.tokens

    def settle(self, most: Usage, used: Usage) -> None:
        assert used.tokens <= most.tokens
        self.held -= most.tokens
        self.used += used


def request(most: int, **settings: Any) -> Request:
    sampling = Sampling(temperature=0.0, max_tokens=most, decoding=(cfg(1.5),))
    return Request(model="m", prompt=MAIN, partner=PARTNER, sampling=sampling, **settings)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), most=st.integers(1, 25), limit=st.integers(10, 400))
def test_rounds_of_a_pair_use_what_they_took_and_never_more_than_there_is(
    seed: int, most: int, limit: int
) -> None:
    """Whatever the engine's timing; the reply's usage is the sum of its requests'."""
    purse = Purse(limit)

    async def act() -> Any:
        return await complete(metered(UnreliableEngine(seed), purse), request(most))

    try:
        usage = asyncio.run(act()).usage
    except BudgetExhaustedError:
        usage = None

    assert purse.held == 0
    assert purse.used.tokens <= limit
    assert usage is None or usage.tokens == purse.used.tokens


def test_without_a_meter_nothing_stands_between() -> None:
    engine = UnreliableEngine(1)

    assert metered(engine, None) is engine


@pytest.mark.parametrize("n", [1, 2])
def test_the_loop_of_one_token_requests_is_counted_before_to_the_token(n: int) -> None:
    """Each token takes both prompts and all that was generated."""
    server = FakeVLLM(max_logprobs=1000)
    asked = request(6, n=n)

    async def act(engine: Any) -> Any:
        most = await engine.most_usage(asked)
        return most, await engine.complete(asked)

    most, reply = with_engine(server, act)

    assert [c.finish_reason for c in reply.completions] == ["length"] * n
    assert most.tokens == reply.usage.tokens == n * sum(3 + 2 + 2 * at + 2 for at in range(6))


def test_a_pair_in_the_processor_and_a_plain_request_are_not_counted_here() -> None:
    from motet.serving.decoding import wire

    server = FakeVLLM(processor=f"version={wire.VERSION}")

    async def act(engine: Any) -> Any:
        plain = Request(model="m", prompt=MAIN, sampling=Sampling())
        return [await engine.most_usage(each) for each in (request(6), plain)]

    assert with_engine(server, act) == [None, None]

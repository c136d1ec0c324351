"""Programs against a server that fails in every way it can, and budgets against a race."""

from __future__ import annotations

import asyncio

import pytest

import motet
from motet import Budget, Model, RunFailedError, prompt
from motet.errors import BudgetExhaustedError
from motet.programs import best_of_n, mixture_of_agents, self_consistency
from motet.testing.stub_server import Faults, StubServer


@prompt(user="{{ text }}")
def ask(text: str) -> str: ...


def _programs(model: Model):
    vote = self_consistency.as_model(model=model, n=3, extract="text", max_tokens=32)
    return {
        "fan-out": motet.map(ask.on(model, max_tokens=32), [f"part {i}" for i in range(60)]),
        "mixture": mixture_of_agents(
            "why?", proposers=[model] * 6, aggregator=model, max_tokens=32
        ),
        "nested": best_of_n(
            "why?",
            model=mixture_of_agents.as_model(proposers=[model] * 3, aggregator=vote, max_tokens=32),
            n=3,
            verify=len,
        ),
    }


@pytest.mark.parametrize("fault", ["error_500", "error_429", "drop", "garbage", "half", "hang"])
@pytest.mark.parametrize("is_streaming", [False, True])
def test_every_program_survives_five_percent_of_faults(fault, is_streaming):
    """500, 429, dropped connections, garbage, half-written replies and silence are tried again:
    every program gives the value that it gives without faults."""

    async def values(faults: Faults | None) -> list[object]:
        async with StubServer(delay_s=0.001, faults=faults) as server:
            from motet.serving.openai import connect

            model = Model(connect(server.url, timeout_s=0.3), "stub")
            results = [
                await motet.arun(ref, store=None, stream=is_streaming, observers=[_Silent()])
                for ref in _programs(model).values()
            ]
            return [r.value for r in results]

    healthy = asyncio.run(values(None))
    faulty = asyncio.run(values(Faults(**{fault: 0.05}, seed=3)))

    assert faulty == healthy


class _Silent:
    def on_event(self, event: object) -> None:
        pass


def test_racing_calls_make_exactly_what_the_budget_allows():
    """256 calls race for a budget of 100, 200 times over: the server sees 100 each time."""

    async def act() -> list[int]:
        seen = []
        async with StubServer(delay_s=0.002) as server:
            model = Model(f"{server.url}#stub")
            for turn in range(200):
                before = server.num_requests
                refs = [ask.on(model, max_tokens=8)(f"{turn} {i}") for i in range(256)]
                with pytest.raises(RunFailedError) as caught:
                    await motet.arun(
                        motet.map(lambda ref: ref, refs), budget=Budget(max_calls=100), store=None
                    )
                assert isinstance(caught.value.__cause__, BudgetExhaustedError)
                assert caught.value.partial.usage.calls == 100
                seen.append(server.num_requests - before)
        return seen

    seen = asyncio.run(act())

    assert seen == [100] * 200

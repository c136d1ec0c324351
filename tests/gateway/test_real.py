"""The gateway before SmolLM2 and MiniLM on this machine."""

import asyncio
import json
import time

import aiohttp
import numpy as np
import pytest
from aiohttp import web

import motet
from motet import Model
from motet.gateway.members import open_engine, open_members
from motet.gateway.policy import Policy
from motet.gateway.server import Gateway
from motet.programs.choices import embedded
from motet.routing.deciding import WorthItsPrice
from motet.routing.decision_log import DecisionLog, read_decisions
from motet.routing.knn import KnnRouter
from motet.routing.outcomes import Outcomes
from motet.types import Price

MINILM = Model("local:minilm")
SMOL = "local:smollm2"
TABLE = Outcomes(
    prompts=("What is 17 + 5?", "What is 9 * 8?", "Write a poem about rain.", "Write a story."),
    models=("small", "large"),
    scores=np.array([[1.0, 1.0], [1.0, 1.0], [0.1, 0.9], [0.0, 1.0]]),
    costs=np.array([[1.0, 9.0]] * 4),
)


@pytest.mark.model
def test_two_real_models_are_routed_by_a_real_router_plain_and_streamed(tmp_path):
    """Sums go to `small` and verses to `large`; greedy answers are the engine's own, and while a
    text is embedded the server goes on answering others."""
    vectors = motet.run(motet.map(embedded.embeddings().on(MINILM), TABLE.prompts), store=None)
    router = KnnRouter(k=1).fit(TABLE, np.array([each.values for each in vectors.value]))

    async def work():
        models = {
            "small": Model(SMOL, price=Price(prompt=1.0, completion=2.0)),
            "large": Model(SMOL),
        }
        policy = Policy(
            router, members=("small", "large"), rule=WorthItsPrice(willingness=20.0),
            prices={"small": 1.0, "large": 9.0}, embedder=MINILM,
            engine=await open_engine(MINILM), explore=0.0,
        )  # fmt: skip
        await policy.check()
        members, away = await open_members(models)
        log = DecisionLog(tmp_path / "log.jsonl")
        gateway = Gateway(policy, members, log=log)
        runner = web.AppRunner(gateway.app(), handler_cancellation=True, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        root = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with aiohttp.ClientSession(root) as session:
                return away, await ask_all(session)
        finally:
            await runner.cleanup()
            log.close()

    async def post(session, text, **more):
        body = {"model": "motet-router", "messages": [{"role": "user", "content": text}], **more}
        async with session.post("/v1/chat/completions", json=body) as response:
            return response.status, await response.text()

    async def ask_all(session):
        settings = {"temperature": 0, "max_tokens": 12}
        found = [
            await post(session, text, **settings)
            for text in ("What is 31 + 6?", "Write a poem about the sea.")
        ]
        found.append(await post(session, "What is 31 + 6?", stream=True, **settings))
        found.append(await post(session, "What is 31 + 6?", tools=[{"type": "function"}]))
        long = asyncio.create_task(post(session, "sum " * 20_000, max_tokens=1))
        slowest_s = 0.0
        while not long.done():
            began = time.monotonic()
            async with session.get("/health") as response:
                await response.read()
            slowest_s = max(slowest_s, time.monotonic() - began)
            await asyncio.sleep(0.005)
        return [*found, await long, slowest_s]

    away, [sums, verses, streamed, refused, long, slowest_s] = asyncio.run(work())

    assert not away
    assert (sums[0], verses[0], streamed[0]) == (200, 200, 200)
    whole = json.loads(sums[1])
    assert whole["model"] == "small"
    assert json.loads(verses[1])["model"] == "large"
    assert whole["usage"]["completion_tokens"] == 12
    events = [line.removeprefix("data: ") for line in streamed[1].split("\n\n") if line]
    pieces = [json.loads(event)["choices"][0] for event in events[:-1]]
    text = "".join(piece["delta"].get("content", "") for piece in pieces)
    assert text == whole["choices"][0]["message"]["content"]
    assert pieces[-1]["finish_reason"] == "length"
    assert refused[0] == 400
    assert "'tools'" in json.loads(refused[1])["error"]["message"]
    assert (long[0], json.loads(long[1])["error"]["code"]) == (400, "context_length_exceeded")
    assert slowest_s < 2.0
    decisions = read_decisions(tmp_path / "log.jsonl").decisions
    assert [d.answered for d in decisions[:3]] == ["small", "large", "small"]
    assert decisions[0].cost == pytest.approx((whole["usage"]["prompt_tokens"] + 2 * 12) / 1e6)

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from motet import Model
from motet.gateway.members import open_engine, open_members
from motet.gateway.policy import Policy
from motet.gateway.server import Gateway, Limits
from motet.routing.deciding import WorthItsPrice
from motet.routing.decision_log import DecisionLog, read_decisions
from motet.routing.knn import KnnRouter
from motet.routing.outcomes import Outcomes
from motet.testing.derived import derived_vector
from motet.testing.stub_server import StubServer
from motet.types import Price

EASY, HARD = "an easy question", "a hard question"
PRICES = {"small": 1.0, "large": 10.0}


def trained():
    """Says that `small` can do the easy question only, and `large` both."""
    table = Outcomes(
        prompts=(EASY, HARD),
        models=("small", "large"),
        scores=np.array([[1.0, 1.0], [0.0, 0.9]]),
        costs=np.array([[1.0, 10.0], [1.0, 10.0]]),
    )
    return KnnRouter(k=1).fit(table, np.array([derived_vector(p) for p in table.prompts]))


@dataclass
class Served:
    """A gateway that listens, its two stub members, and a client."""

    url: str
    gateway: Gateway
    stubs: dict[str, StubServer]
    session: aiohttp.ClientSession
    log_path: Any
    policy: Policy
    headers: dict[str, str] = field(default_factory=dict)

    async def post(self, path="/chat/completions", data=None, **body):
        content = json.dumps(body) if data is None else data
        headers = {"Content-Type": "application/json", **self.headers}
        async with self.session.post(self.url + path, data=content, headers=headers) as response:
            return response.status, await response.json(), response.headers

    async def ask(self, text=EASY, *, model="motet-router", **more):
        turns = [{"role": "user", "content": text}]
        return await self.post(model=model, messages=turns, **more)

    async def stream(self, text=EASY, *, model="motet-router", path="/chat/completions", **more):
        """Return the response's headers and its events."""
        body = {"model": model, "stream": True, **more}
        if path == "/chat/completions":
            body["messages"] = [{"role": "user", "content": text}]
        else:
            body["prompt"] = text
        async with self.session.post(self.url + path, json=body) as response:
            lines = (await response.text()).split("\n\n")
            events = [line.removeprefix("data: ") for line in lines if line]
            return response, [e if e == "[DONE]" else json.loads(e) for e in events]

    @property
    def decisions(self):
        return read_decisions(self.log_path).decisions


@contextlib.asynccontextmanager
async def serving(folder, *, stubs=None, rule=None, explore=0.0, limits=Limits(), **settings):
    stubs = stubs or {"small": StubServer(), "large": StubServer()}
    async with contextlib.AsyncExitStack() as stack:
        embedder = await stack.enter_async_context(StubServer())
        for stub in stubs.values():
            if stub is not None:
                await stack.enter_async_context(stub)
        models = {
            name: Model(
                f"{stub.url if stub is not None else 'http://127.0.0.1:9/v1'}#stub",
                price=Price(prompt=1.0, completion=2.0) if name == "large" else None,
            )
            for name, stub in stubs.items()
        }
        embedding = Model(f"{embedder.url}#stub")
        policy = Policy(
            trained(),
            members=tuple(models),
            rule=rule or WorthItsPrice(willingness=20.0),
            prices=PRICES,
            embedder=embedding,
            engine=await open_engine(embedding),
            explore=explore,
            seed=1,
        )
        await policy.check()
        members, _ = await open_members(models)
        log = DecisionLog(folder / "log.jsonl")
        stack.callback(log.close)
        gateway = Gateway(policy, members, log=log, limits=limits, **settings)
        runner = web.AppRunner(
            gateway.app(), handler_cancellation=True, access_log=None, shutdown_timeout=1.0
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for stub in stubs.values():
            if stub is not None:
                stub.bodies = []
                stub.counts.clear()
        yield Served(url, gateway, stubs, session, folder / "log.jsonl", policy)
        for member in members.values():
            await member.engine.aclose()


@pytest.fixture
def serve(tmp_path):
    """Run `act(served)` against a gateway over real sockets."""

    def run(act, **settings):
        async def running():
            async with serving(tmp_path, **settings) as served:
                return await act(served)

        return asyncio.run(running())

    return run

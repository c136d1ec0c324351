"""The models behind a gateway, each at its engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from motet.engine import Engine, LearningEngine, OnDelta, Reply
from motet.errors import EngineError
from motet.gateway.reading import Asked
from motet.model import Model
from motet.runtime.engines import EnginePool
from motet.runtime.metering import cost_of


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A model that may answer.

    It is asked once for each request, without the runtime's dispatcher: that one waits and tries
    again, and after a 429 holds back every request, where the client of a gateway is to be told.
    """

    name: str
    model: Model
    engine: Engine
    slots: asyncio.Semaphore
    """As many as the engine takes requests at once."""

    async def complete(self, asked: Asked, on_delta: OnDelta | None) -> Reply:
        """Answer a request; one more than the engine takes waits.

        Raises:
            EngineError: Serving failed.
            ConfigError: The engine does not carry what was asked for.
        """
        request = asked.request(self.model.name, self.model.sampling)
        async with self.slots:
            return await self.engine.complete(request, on_delta)

    def cost(self, reply: Reply) -> float | None:
        """Return what a reply cost; None without a price, or where its tokens are not told."""
        is_known = self.model.price is not None and reply.usage.tokens
        return cost_of(self.model, reply.usage) if is_known else None


async def open_members(models: Mapping[str, Model]) -> tuple[dict[str, Member], dict[str, str]]:
    """Connect to each model's engine, and ask it what it can do.

    Returns:
        The members, and what is wrong with those that are not there now; they may come.

    Raises:
        ConfigError: An engine's settings are wrong.
        PluginError: An engine does not load.
    """
    members: dict[str, Member] = {}
    away: dict[str, str] = {}
    slots: dict[int, asyncio.Semaphore] = {}
    for name, model in models.items():
        engine = await open_engine(model)
        shared = slots.setdefault(id(engine), asyncio.Semaphore(engine.max_concurrency))
        members[name] = Member(name, model, engine, shared)
        problem = await prepared(engine)
        if problem is not None:
            away[name] = problem
    return members, away


async def open_engine(model: Model) -> Engine:
    """Connect to a model's engine; models of one engine share it.

    Raises:
        ConfigError: The engine's settings are wrong.
        PluginError: It does not load.
    """
    return (await EnginePool.of_running_loop().dispatcher(model, None)).engine


async def prepared(engine: Engine) -> str | None:
    """Have an engine learn what it can do; return why it cannot be asked now."""
    if isinstance(engine, LearningEngine):
        try:
            await engine.prepare()
        except EngineError as exc:
            return str(exc)
    return None

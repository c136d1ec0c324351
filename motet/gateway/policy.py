"""Which member is to answer: a trained router with its rule, and some exploring."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from motet.engine import Capability, Engine, Request, Sampling
from motet.errors import ConfigError, DataError, GarbledReplyError, PromptTooLongError
from motet.gateway.members import prepared
from motet.programs.choices import routed_text
from motet.routing.deciding import Prices, Rule, StrongFrom
from motet.routing.router import Decision, TrainedRouter
from motet.routing.rules import HighestScore
from motet.search.settings import number
from motet.types import Chat

if TYPE_CHECKING:
    from motet.model import Model

TRUNCATE: Final = "truncate_prompt_tokens"
"""Of vLLM, and of the local embedder: -1 embeds as much of a text's beginning as it takes."""
MOST_CHARACTERS: Final = 50_000
"""Of a text that are embedded: some embedders tokenise on the event loop, 1 MB in 2 s."""
_PROBE: Final = "How large is an embedding?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A decision, and with what chance it was drawn."""

    decision: Decision
    """Of the rule."""
    chosen: str
    """The decision's model, or, where the policy explored, any."""
    propensities: Mapping[str, float]
    """Of each member; they sum to 1."""
    prices: Prices
    """Of each member, as far as they are known."""

    @property
    def reason(self) -> str:
        if self.chosen == self.decision.model:
            return self.decision.reason
        return f"{self.chosen}: drawn by chance; else {self.decision.reason}"


class Policy:
    """Embeds a question, estimates each member's score, decides by a rule.

    With the chance `explore` any member is drawn, each alike, so that a log of the choices tells
    what other policies would have earned.

    Raises:
        ConfigError: A member is unknown to the router, `explore` is no share, or the rule fits no
            member or lacks a price.
    """

    def __init__(
        self,
        router: TrainedRouter,
        *,
        members: Sequence[str],
        rule: Rule,
        prices: Prices,
        embedder: Model,
        engine: Engine,
        explore: float = 0.0,
        seed: int | None = None,
    ) -> None:
        number("explore", explore, 0, 1)
        for name in members:
            if name not in router.models:
                known = ", ".join(router.models)
                raise ConfigError(f"model {name!r} is unknown to the router; it knows {known}")
        self.router = router
        self.members = tuple(members)
        self.rule = rule
        self.prices = dict(prices)
        self.explore = explore
        self._embedder = embedder
        self._engine = engine
        self._rng = random.Random(seed)
        self._columns = [router.models.index(name) for name in members]
        try:
            rule.decide(dict.fromkeys(self.members, 0.5), self.prices)
        except DataError as exc:
            raise ConfigError(f"the rule {rule!r} does not fit: {exc}") from exc

    async def check(self) -> None:
        """Embed a probe, to find out what would fail at every request.

        Raises:
            ConfigError: The embedder gives no embeddings, or of another size than those that the
                router was trained on.
            EngineError: It cannot be asked.
        """
        await prepared(self._engine)
        if Capability.EMBED not in self._engine.capabilities:
            raise ConfigError(f"embedder {self._embedder.label} gives no embeddings")
        vector = await self._embedded(_PROBE)
        if len(vector) != self.router.dimensions:
            raise ConfigError(
                f"embedder {self._embedder.label} gives embeddings of {len(vector)} numbers; the "
                f"router was trained on {self.router.dimensions}"
            )
        self._estimates(vector)  # what it loads when first asked is loaded before a client waits

    async def draw(self, question: str | Chat) -> Drawn:
        """Choose a member for a question; of a chat the system turn does not count.

        Raises:
            EngineError: The question could not be embedded.
            DataError: The rule allows no member.
        """
        scores = self._estimates(await self._embedded(routed_text(question)))
        decision = self.rule.decide(scores, self.prices)
        chances = exploring(decision.model, self.members, self.explore)
        chosen = decision.model
        if self.explore and self._rng.random() < self.explore:
            chosen = self._rng.choice(self.members)
        return Drawn(decision=decision, chosen=chosen, propensities=chances, prices=self.prices)

    def next_best(self, estimates: Mapping[str, float], tried: Sequence[str]) -> str | None:
        """Return whom the rule chooses among those not tried; None where it allows nobody.

        A rule for a pair has nothing to choose between where one is away: it is the other.
        """
        left = {name: score for name, score in estimates.items() if name not in tried}
        if not left:
            return None
        rule = HighestScore() if isinstance(self.rule, StrongFrom) else self.rule
        try:
            return rule.decide(left, self.prices).model
        except DataError:
            return None

    def _estimates(self, vector: Sequence[float]) -> dict[str, float]:
        import numpy as np

        found = self.router.estimate(np.asarray([vector], dtype=np.float64))[0]
        return {n: float(found[i]) for n, i in zip(self.members, self._columns, strict=True)}

    async def _embedded(self, text: str) -> tuple[float, ...]:
        request = Request(
            model=self._embedder.name,
            prompt=text[:MOST_CHARACTERS],
            sampling=Sampling(extra=self._embedder.sampling.extra),
            is_embedded=True,
        )
        try:
            reply = await self._engine.complete(request)
        except PromptTooLongError:
            cut = Sampling(extra={**self._embedder.sampling.extra, TRUNCATE: -1})
            reply = await self._engine.complete(replace(request, sampling=cut))
        if reply.embedding is None:
            raise GarbledReplyError(f"{self._embedder.label} gave no embedding")
        return reply.embedding.values


def exploring(best: str, members: Sequence[str], explore: float) -> dict[str, float]:
    """Return the chance of each member where `best` is left with the chance `explore`."""
    share = explore / len(members)
    return {name: share + (1 - explore if name == best else 0.0) for name in members}

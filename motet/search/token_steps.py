"""Steps drawn token by token: what joins steering by tokens to a search by steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from motet.errors import ConfigError, SearchError
from motet.search.algorithm import rng
from motet.search.partials import Partial, Step
from motet.search.potentials import Tokens
from motet.search.settings import one_of, whole
from motet.search.spending import NO_LIMITS, NOTHING
from motet.search.steering import Proposal, TokenParticle, advanced, begin
from motet.search.token_problem import TokenProblem, TokenTools
from motet.search.tools import UNPAID, Ask, Lost


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSteps:
    """A proposer of steps whose tokens are steered; each step carries its log weight.

    With `Particles(target="final")` the whole is proper: solutions come from the model times the
    potentials times the scores.
    """

    problem: TokenProblem
    ends_step: Callable[[Tokens, int], bool]
    """Whether a step ends behind a text's tokens, of which so many came before it."""
    decode_open: Callable[[Tokens], str] | None = None
    """The text of tokens that go on, with which that of more of them begins; None is that of the
    problem."""
    proposal: Proposal = "local"
    """As of `Steering`."""
    max_tokens: int = 256
    """Of a solution; then it is made to end, and weighs as such."""

    def __post_init__(self) -> None:
        one_of("proposal", self.proposal, ("model", "local"))
        whole("max_tokens", self.max_tokens)

    async def __call__(self, asks: Sequence[Ask]) -> list[list[Step | Lost]]:
        """Draw all steps of all asks side by side; none where a limit is reached.

        Raises:
            ConfigError: An ask sets a temperature, which would take other weights.
        """
        tools = self.problem.tools(NO_LIMITS, NOTHING)
        unpaid: list[list[Step | Lost]] = [[UNPAID] * ask.n for ask in asks]
        begun: list[tuple[Ask, int, TokenParticle]] = []
        for ask in asks:
            if ask.temperature not in (None, 1.0):
                raise ConfigError(f"temperature is {ask.temperature}; steered steps have none")
            start = await begin(tools, _tokens(ask.partial), proposal=self.proposal, is_guided=True)
            if start is None:
                return unpaid
            if ask.partial.steps and start.log_weight > -math.inf:
                # What stands there was weighed when it was drawn.
                start = replace(start, log_weight=0.0)
            begun.extend((ask, i, start) for i in range(ask.n))
        found = await self._ended(tools, begun)
        if found is None:
            return unpaid
        ended = iter(found)
        return [[self._step(ask, next(ended)) for _ in range(ask.n)] for ask in asks]

    async def _ended(
        self, tools: TokenTools, begun: Sequence[tuple[Ask, int, TokenParticle]]
    ) -> list[TokenParticle] | None:
        """Draw all steps to their ends; None where a limit is reached."""
        particles = [particle for *_, particle in begun]
        starts = [len(particle.tokens) for particle in particles]
        going = [i for i, each in enumerate(particles) if each.log_weight > -math.inf]
        num_rounds = 0
        while going:
            seeds = [(begun[i][0].seed or 0) + begun[i][1] for i in going]
            moved = await advanced(
                tools,
                [particles[i] for i in going],
                proposal=self.proposal,
                is_guided=True,
                is_last=lambda tokens: len(tokens) >= self.max_tokens,
                points=[
                    rng(seed, starts[i], num_rounds).random()
                    for i, seed in zip(going, seeds, strict=True)
                ],
            )
            if moved is None:
                return None
            for i, particle in zip(going, moved, strict=True):
                particles[i] = particle
            going = [i for i in going if not self._is_over(begun[i][0], starts[i], particles[i])]
            num_rounds += 1
        return particles

    def _is_over(self, ask: Ask, start: int, particle: TokenParticle) -> bool:
        own = particle.tokens[start:]
        is_full = ask.max_tokens is not None and len(own) >= ask.max_tokens
        is_dead = particle.log_weight == -math.inf
        is_step = not ask.is_whole and self.ends_step(particle.tokens, start)
        return particle.is_finished or is_dead or is_full or is_step

    def _step(self, ask: Ask, particle: TokenParticle) -> Step:
        own = particle.tokens[len(_tokens(ask.partial)) :]
        decode = self.problem.decode
        if not particle.is_finished and self.decode_open is not None:
            decode = self.decode_open
        return Step(
            decode(particle.tokens).removeprefix(ask.partial.text),
            is_last=particle.is_finished,
            num_tokens=len(own) + particle.is_finished,
            data=list(own),
            log_weight=particle.log_weight,
        )


def _tokens(partial: Partial) -> Tokens:
    """Return the tokens of steps that `TokenSteps` proposed."""
    found: list[int] = []
    for step in partial.steps:
        if not isinstance(step.data, list):
            raise SearchError(f"the step {step.text!r} does not hold its tokens")
        found.extend(token for token in step.data if isinstance(token, int))
    return tuple(found)

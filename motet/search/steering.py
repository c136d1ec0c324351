"""Steering by sequential Monte Carlo: draw texts token by token from a model times potentials."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from motet.search.algorithm import Found, rng
from motet.search.partials import Candidate, Partial, Step
from motet.search.potentials import Array, NextRow, Potential, Tokens
from motet.search.rejection import Place, chooser, draw_allowed
from motet.search.resampling import (
    SCHEMES,
    Scheme,
    effective_size,
    log_sum_exp,
    shares,
    without_replacement,
)
from motet.search.settings import number, one_of, whole
from motet.search.token_problem import TokenTools

Proposal = Literal["model", "local", "rejection"]


@dataclass(frozen=True, slots=True)
class TokenParticle:
    """A text as far as it goes, with its weight."""

    tokens: Tokens = ()
    log_weight: float = 0.0
    """All particles' weights sum to the estimate of Z."""
    log_prefix: float = 0.0
    """What of the weight is a guess of what follows; it gives way to the next one."""
    is_finished: bool = False


@dataclass(frozen=True, slots=True)
class SteeringState:
    seed: int
    particles: tuple[tuple[TokenParticle, str], ...] = ()
    """With their texts."""
    num_steps: int = 0
    num_resampled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """Draw `n` texts from the model's distribution times the potentials, not masked step by step.

    Its problem is a `TokenProblem`. The candidates' scores are their shares of the weight, equal
    texts merged; `log_z` in the notes is the log of an unbiased estimate of the mean weight of a
    text that the model writes, whatever the settings are.

    Source: Lew et al. 2023, arXiv:2306.03081, with genlm's llamppl and genlm-control. Departures:
    weights sum to the estimate, so that nothing is scaled by how many particles there are; the
    inclusions of steering without replacement sum to `n` (`inclusion_scale`); the last set is not
    drawn anew; particles that weigh nothing are no longer extended.
    """

    n: int = 8
    ess_threshold: float = 0.5
    """Draw anew where the effective size is below this part of `n`; 0: never."""
    scheme: Scheme = "stratified"
    copies: int | None = None
    """Where set, each particle is extended so many times, and `n` of all are kept without
    replacement at every token; `ess_threshold` and `scheme` then have no part."""
    proposal: Proposal = "local"
    """`local`: tokens are drawn from the model times the potential, which sees all of them;
    `model`: from the model; `rejection`: as `local`, but a potential that forbids or not sees only
    those that are drawn until one is allowed, and `extra_draws` more."""
    extra_draws: int = 2
    """Of `rejection`; with more the weights vary less."""
    max_tokens: int = 256
    """Of a text; then it is made to end, and weighs as such."""
    choose: Literal["heaviest", "sample"] = "heaviest"

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("ess_threshold", self.ess_threshold, 0, 1)
        one_of("scheme", self.scheme, tuple(SCHEMES))
        if self.copies is not None:
            whole("copies", self.copies)
        one_of("proposal", self.proposal, ("model", "local", "rejection"))
        whole("extra_draws", self.extra_draws)
        whole("max_tokens", self.max_tokens)
        one_of("choose", self.choose, ("heaviest", "sample"))

    @property
    def is_guided(self) -> bool:
        """Whether weights matter before the texts end."""
        return self.copies is not None or self.ess_threshold > 0

    def init(self, seed: int) -> SteeringState:
        return SteeringState(seed)

    async def step(self, state: SteeringState, tools: TokenTools) -> SteeringState:
        """Extend all open texts by a token, weigh them, draw anew."""
        particles = [particle for particle, _ in state.particles]
        if not particles:
            begun = await begin(tools, (), proposal=self.proposal, is_guided=self.is_guided)
            if begun is None:
                return state
            log_weight = begun.log_weight - math.log(self.n)
            particles = [replace(begun, log_weight=log_weight)] * self.n
        if self.copies is not None:
            particles = [copy for each in particles for copy in self._copied(each, self.copies)]
        draw = rng(state.seed, state.num_steps, 1)
        moved = await advanced(
            tools,
            particles,
            proposal=self.proposal,
            is_guided=self.is_guided,
            is_last=lambda tokens: len(tokens) >= self.max_tokens,
            points=[draw.random() for _ in particles],
            extra_draws=self.extra_draws,
        )
        if moved is None:
            return state
        kept = self._kept(moved, rng(state.seed, state.num_steps, 0))
        return replace(
            state,
            particles=tuple((each, tools.decoded(each.tokens)) for each in kept),
            num_steps=state.num_steps + 1,
            num_resampled=state.num_resampled + (kept is not moved),
        )

    def _copied(self, particle: TokenParticle, copies: int) -> list[TokenParticle]:
        if not _is_open(particle):
            return [particle]
        return [replace(particle, log_weight=particle.log_weight - math.log(copies))] * copies

    def _kept(self, particles: list[TokenParticle], draw: random.Random) -> list[TokenParticle]:
        log_weights = [each.log_weight for each in particles]
        total = log_sum_exp(log_weights)
        if total == -math.inf or not any(map(_is_open, particles)):
            return particles
        weights = shares(log_weights)
        if self.copies is not None:
            chosen = without_replacement(weights, self.n, draw)
            return [replace(particles[i], log_weight=total + math.log(w)) for i, w in chosen]
        if effective_size(log_weights) >= self.ess_threshold * self.n:
            return particles
        even = total - math.log(self.n)
        drawn = SCHEMES[self.scheme](weights, self.n, draw)
        return [replace(particles[i], log_weight=even) for i in drawn]

    def is_done(self, state: SteeringState) -> bool:
        return state.num_steps > 0 and not any(_is_open(each) for each, _ in state.particles)

    def found(self, state: SteeringState) -> Found:
        log_weights = [each.log_weight for each, _ in state.particles]
        merged: dict[tuple[str, bool], float] = {}
        lengths: dict[tuple[str, bool], int] = {}
        for (each, text), share in zip(state.particles, shares(log_weights), strict=True):
            key = text, each.is_finished
            merged[key] = merged.get(key, 0.0) + share
            length = len(each.tokens) + each.is_finished
            lengths[key] = min(length, lengths.get(key, length))
        candidates = sorted(
            (
                Candidate(Partial((Step(text, is_last=is_last, num_tokens=lengths[key]),)), share)
                for key, share in merged.items()
                for text, is_last in [key]
                if share or not any(merged.values())
            ),
            key=lambda each: (not each.partial.is_finished, -(each.score or 0.0)),
        )
        log_z = log_sum_exp(log_weights)
        return Found(
            best=self._chosen(candidates, rng(state.seed, state.num_steps, 2)),
            is_elected=True,
            candidates=tuple(candidates),
            notes={
                "log_z": log_z if math.isfinite(log_z) else None,
                "effective_size": effective_size(log_weights),
                "num_resampled": state.num_resampled,
            },
        )

    def _chosen(self, candidates: list[Candidate], draw: random.Random) -> Candidate | None:
        finished = [each for each in candidates if each.partial.is_finished] or candidates
        weights = [each.score or 0.0 for each in finished]
        if self.choose == "heaviest" or not any(weights):
            return finished[0] if finished else None
        [taken] = draw.choices(finished, weights)
        return taken


def _is_open(particle: TokenParticle) -> bool:
    return not particle.is_finished and particle.log_weight > -math.inf


async def begin(
    tools: TokenTools, tokens: Tokens, *, proposal: Proposal, is_guided: bool
) -> TokenParticle | None:
    """Return a particle that stands behind `tokens`, weighed; None where a limit is reached.

    Its weight is that of `tokens` as a prefix.
    """
    sure = tools.problem.potential if proposal != "model" else None
    log_weight = 0.0
    if sure is not None:
        found = await tools.weigh(sure, [tokens], are_complete=False)
        if found is None:
            return None
        log_weight = found[0]
    guesses = await _guesses(tools, [(tokens, False)], proposal=proposal, is_guided=is_guided)
    if guesses is None:
        return None
    return TokenParticle(tokens, log_weight + guesses[0], guesses[0])


async def advanced(
    tools: TokenTools,
    particles: Sequence[TokenParticle],
    *,
    proposal: Proposal,
    is_guided: bool,
    is_last: Callable[[Tokens], bool],
    points: Sequence[float],
    extra_draws: int = 1,
) -> list[TokenParticle] | None:
    """Extend each open particle by a token of its own; None where a limit is reached.

    One whose text the model failed at stays where it is.

    Args:
        tools: Of the problem.
        particles: In their order; those that are not open stay as they are.
        proposal: What tokens are drawn from.
        is_guided: Whether what is weighed by its text alone is weighed before the text ends.
        is_last: Whether the token behind a text must be the end.
        points: Where in [0, 1) each particle's token lies in its distribution.
        extra_draws: As of `Steering`.
    """
    pairs = zip(particles, points, strict=True)
    going = [(each, point) for each, point in pairs if _is_open(each)]
    texts = [each.tokens for each, _ in going]
    rows = await tools.next_logprobs(texts)
    if rows is None:
        return None
    going = [(each, point) for each, point in going if each.tokens in rows]
    if proposal == "rejection":
        places = [
            Place(each.tokens, rows[each.tokens], chooser(point), is_last(each.tokens))
            for each, point in going
        ]
        drawn = await draw_allowed(tools, places, extra_draws=extra_draws)
    else:
        drawn = await _drawn(tools, going, rows, proposal=proposal, is_last=is_last)
    if drawn is None:
        return None
    moved: list[TokenParticle] = []
    for (each, _), (token, change) in zip(going, drawn, strict=True):
        is_finished = token == tools.problem.end
        tokens = each.tokens if is_finished else (*each.tokens, token)
        moved.append(TokenParticle(tokens, each.log_weight + change, each.log_prefix, is_finished))
    guesses = await _guesses(
        tools,
        [(each.tokens, each.is_finished) for each in moved],
        proposal=proposal,
        is_guided=is_guided,
    )
    if guesses is None:
        return None
    weighed = iter(
        replace(each, log_weight=each.log_weight + guess - each.log_prefix, log_prefix=guess)
        for each, guess in zip(moved, guesses, strict=True)
    )
    return [next(weighed) if _is_open(each) and each.tokens in rows else each for each in particles]


async def _drawn(
    tools: TokenTools,
    going: Sequence[tuple[TokenParticle, float]],
    rows: Mapping[Tokens, NextRow],
    *,
    proposal: Proposal,
    is_last: Callable[[Tokens], bool],
) -> list[tuple[int, float]] | None:
    """Return a token for each particle with its log weight; None where a limit is reached."""
    changes = await tools.logw_next(rows) if proposal == "local" else {}
    if changes is None:
        return None
    drawers = {text: _Drawer(row, changes.get(text)) for text, row in rows.items()}
    found = []
    for each, point in going:
        drawer, is_forced = drawers[each.tokens], is_last(each.tokens)
        token = tools.problem.end if is_forced else drawer.token(point)
        found.append((token, drawer.log_weight(token, is_forced=is_forced)))
    return found


class _Drawer:
    """Draws tokens behind one text, and says what they weigh."""

    def __init__(self, row: NextRow, changes: Array | None) -> None:
        import numpy as np

        self._row = row
        self._logs = row.logprobs if changes is None else row.logprobs + changes
        top = self._logs.max()
        self._ends = np.cumsum(np.exp(self._logs - top)) if top > -np.inf else None
        self._log_total = top + math.log(self._ends[-1]) if self._ends is not None else -math.inf

    def token(self, point: float) -> int:
        """Return the token at `point`, in [0, 1), of the whole probability."""
        if self._ends is None:
            return self._row.token(0)
        place = int(self._ends.searchsorted(point * self._ends[-1], side="right"))
        last = int(self._ends.searchsorted(self._ends[-1], side="left"))
        return self._row.token(min(place, last))

    def log_weight(self, token: int, *, is_forced: bool) -> float:
        """Return the log of target over proposal of a token."""
        if not is_forced:
            return float(self._log_total)
        place = self._row.place(token)
        return -math.inf if place is None else float(self._logs[place])


async def _guesses(
    tools: TokenTools,
    texts: Sequence[tuple[Tokens, bool]],
    *,
    proposal: Proposal,
    is_guided: bool,
) -> list[float] | None:
    """Return what is weighed by the text alone, of texts that are finished or not."""
    problem = tools.problem
    potentials: list[Potential] = [problem.critic] if problem.critic is not None else []
    if proposal == "model" and problem.potential is not None:
        potentials.append(problem.potential)
    found = [0.0] * len(texts)
    for potential in potentials:
        for are_complete in (False, True):
            places = [i for i, (_, is_last) in enumerate(texts) if is_last == are_complete]
            is_early = potential is not problem.critic or problem.critic_at == "token"
            if not places or not (are_complete or (is_guided and is_early)):
                continue
            asked = [texts[i][0] for i in places]
            weights = await tools.weigh(potential, asked, are_complete=are_complete)
            if weights is None:
                return None
            for i, weight in zip(places, weights, strict=True):
                found[i] += weight
    return found

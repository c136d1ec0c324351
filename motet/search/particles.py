"""Particle filtering: sample partial solutions in proportion to what their scores say of them."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from motet.errors import SearchError
from motet.search.algorithm import Found, rng
from motet.search.best_of_n import final_answer
from motet.search.partials import Candidate, Partial, Step
from motet.search.resampling import SCHEMES, Scheme, effective_size, log_sum_exp, shares
from motet.search.selection import Extract, answer_of, best, ranked, votes
from motet.search.settings import at_once, function, number, one_of, whole
from motet.search.tools import Ask, Tools
from motet.search.tree import Node, Tree

Weight = Literal["odds", "bernoulli", "log"]
Target = Literal["steps", "final"]
Choice = Literal["argmax", "sample", "majority", "weighted"]

_LEAST_SCORE = 1e-7


@dataclass(frozen=True, slots=True)
class Particle:
    """A partial solution in the tree with its weight."""

    node: int
    log_weight: float = 0.0
    """Since the last resampling."""
    log_potential: float = 0.0
    """What its node's score added to the weight last."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """How a score becomes a weight."""

    weight: Weight
    target: Target
    temperature: float
    is_redrawn: bool = True
    """Whether particles are drawn anew, and their weights forgotten, at every step."""

    def log_potential(self, score: float | None) -> float:
        """Return the log weight that a score stands for; 0 where there is none.

        Raises:
            SearchError: The score is no probability, and `weight` takes it for one.
        """
        if score is None:
            return 0.0
        if self.weight == "log":
            return score / self.temperature
        if not 0 <= score <= 1:
            raise SearchError(f"a score is {score}; weight={self.weight!r} needs them from 0 to 1")
        if self.weight == "bernoulli":
            return math.log(score) / self.temperature if score else -math.inf
        clipped = min(max(score, _LEAST_SCORE), 1 - _LEAST_SCORE)
        return math.log(clipped / (1 - clipped)) / self.temperature

    def weighed(self, particle: Particle, node: Node, *, is_new: bool) -> Particle:
        """Return `particle` at `node`, with what it weighs there."""
        potential = self.log_potential(node.score)
        log_weight = particle.log_weight
        if is_new and node.step is not None:
            log_weight += node.step.log_weight
        if math.isinf(log_weight) or math.isinf(potential):
            log_weight = -math.inf
        elif self.target == "steps":
            # One that ended keeps its weight; where all are drawn anew it is weighed anew too.
            log_weight += potential if is_new or self.is_redrawn else 0.0
        else:
            log_weight += potential - particle.log_potential
        return Particle(node.id, log_weight, potential)


@dataclass(frozen=True, slots=True)
class ParticleState:
    seed: int
    tree: Tree
    particles: tuple[Particle, ...]
    num_steps: int = 0
    num_resampled: int = 0
    log_z: float = 0.0
    """Of the resamplings so far."""
    is_stranded: bool = False
    """Whether no particle could be gone on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Particles:
    """Extend `n` particles by a step, weigh each whole partial solution, draw `n` of them anew.

    A finished particle keeps its weight and takes part in every draw, until all are finished.

    Source: particle filtering of Puri et al. 2025, arXiv:2502.01618, algorithm 1, with the odds of
    the score as weight as its code has it. Departures: the last set is not drawn anew, its weights
    count in the choice instead; the step behind the last of `max_steps` runs to the end.

    Where `target` is `final`, `temperature` is constant and no sample is lost, `log_z` in the notes
    is the log of an unbiased estimate of the mean weight of a solution that is drawn plainly,
    whatever `scheme` and `ess_threshold` are. The other settings leave it out.
    """

    n: int = 16
    weight: Weight = "odds"
    """Of a score r: `odds` r / (1 - r), `bernoulli` r itself, `log` exp(r) for any number r."""
    target: Target = "steps"
    """`steps`: each step multiplies its weight in, so that solutions are drawn by the product;
    `final`: a step replaces the one before, so that they are drawn by their last weight alone."""
    temperature: float = 1.0
    """Of the weights: they are taken to the power 1 / temperature."""
    end_temperature: float | None = None
    """Where set, the temperature goes there in equal parts."""
    anneal_steps: int = 10
    """Steps that takes."""
    scheme: Scheme = "multinomial"
    ess_threshold: float | None = None
    """Draw anew only where the effective size is below this part of `n`; None: at every step."""
    choose: Choice = "argmax"
    """`argmax`: the best-scored, without a scorer the heaviest; `sample`: by weight; `majority`: the answer with most weight;
    `weighted`: the same, with weight times score. Without any answer the best-scored."""
    extract: Extract = final_answer
    max_steps: int = 40
    """The last of them runs to the end."""

    def __post_init__(self) -> None:
        check_weighing(self)
        number("temperature", self.temperature, 1e-6)
        if self.end_temperature is not None:
            number("end_temperature", self.end_temperature, 1e-6)
        whole("anneal_steps", self.anneal_steps)
        one_of("scheme", self.scheme, tuple(SCHEMES))
        if self.ess_threshold is not None:
            number("ess_threshold", self.ess_threshold, 0, 1)

    def init(self, seed: int) -> ParticleState:
        return ParticleState(seed, Tree(), (Particle(0),) * self.n)

    async def step(self, state: ParticleState, tools: Tools) -> ParticleState:
        """Extend, weigh, draw anew."""
        going = [p for p in state.particles if p.log_weight > -math.inf] or state.particles
        is_open = {p.node for p in going if not is_finished(state.tree[p.node])}
        tree, children = await extended(
            tools,
            state.tree,
            [p.node for p in state.particles if p.node in is_open],
            seed=(state.seed, state.num_steps),
            is_whole=state.num_steps == self.max_steps - 1,
        )
        weighing = Weighing(
            self.weight,
            self.target,
            self.temperature_at(state.num_steps),
            is_redrawn=self.ess_threshold is None,
        )
        left = iter(children)
        particles: list[Particle] = []
        for particle in state.particles:
            is_new = particle.node in is_open
            node = next(left) if is_new else particle.node
            if node is not None:
                particles.append(weighing.weighed(particle, tree[node], is_new=is_new))
        state = replace(state, tree=tree, num_steps=state.num_steps + 1)
        if not particles:
            return replace(state, is_stranded=True)
        return self._drawn(replace(state, particles=tuple(particles)))

    def temperature_at(self, step: int) -> float:
        """Return the temperature of the weights at a step, counted from 0."""
        if self.end_temperature is None:
            return self.temperature
        share = min(1.0, step / self.anneal_steps)
        return self.temperature + share * (self.end_temperature - self.temperature)

    def _drawn(self, state: ParticleState) -> ParticleState:
        log_weights = [p.log_weight for p in state.particles]
        size = effective_size(log_weights)
        is_even = self.ess_threshold is not None and size >= self.ess_threshold * self.n
        if self.is_done(state) or size == 0 or is_even:
            return state
        draw = rng(state.seed, state.num_steps, 0)
        drawn = SCHEMES[self.scheme](shares(log_weights), self.n, draw)
        return replace(
            state,
            particles=tuple(replace(state.particles[i], log_weight=0.0) for i in drawn),
            num_resampled=state.num_resampled + 1,
            log_z=state.log_z + log_sum_exp(log_weights) - math.log(len(log_weights)),
        )

    def is_done(self, state: ParticleState) -> bool:
        is_over = state.is_stranded or state.num_steps >= self.max_steps
        return is_over or all(is_finished(state.tree[p.node]) for p in state.particles)

    def found(self, state: ParticleState) -> Found:
        log_weights = [p.log_weight for p in state.particles]
        draw = rng(state.seed, state.num_steps, 2)
        pairs = zip(state.particles, shares(log_weights), strict=True)
        found = chosen(state.tree, ((p.node, w) for p, w in pairs), self.choose, self.extract, draw)
        notes = {**found.notes, "effective_size": effective_size(log_weights)}
        if self.target == "final" and self.end_temperature is None:
            log_z = state.log_z + log_sum_exp(log_weights) - math.log(len(log_weights))
            notes["log_z"] = log_z if math.isfinite(log_z) else None
        return replace(found, notes={**notes, "num_resampled": state.num_resampled})


class WeighingSettings(Protocol):
    """The settings that all particle methods have."""

    @property
    def n(self) -> int: ...
    @property
    def weight(self) -> Weight: ...
    @property
    def target(self) -> Target: ...
    @property
    def choose(self) -> Choice: ...
    @property
    def extract(self) -> Extract: ...
    @property
    def max_steps(self) -> int: ...


def check_weighing(search: WeighingSettings) -> None:
    """Refuse settings that no particle method takes.

    Raises:
        ConfigError: Names the setting and its value.
    """
    at_once("n", search.n)
    one_of("weight", search.weight, ("odds", "bernoulli", "log"))
    one_of("target", search.target, ("steps", "final"))
    one_of("choose", search.choose, ("argmax", "sample", "majority", "weighted"))
    function("extract", search.extract)
    whole("max_steps", search.max_steps)


def is_finished(node: Node) -> bool:
    return node.step is not None and node.step.is_last


async def extended(
    tools: Tools, tree: Tree, nodes: Sequence[int], *, seed: tuple[int, ...], is_whole: bool
) -> tuple[Tree, list[int | None]]:
    """Extend each of `nodes` by a step: one batch of proposals and one of scores.

    A node that stands there several times gets as many continuations of its own.

    Returns:
        The tree, and the child of each of `nodes`; None where its step or its score was lost.
    """
    copies = Counter(nodes)
    parents = {node: tree.partial(node) for node in copies}
    asks = [
        Ask(parents[node], n, is_whole=is_whole, seed=rng(*seed, 1, i).getrandbits(53))
        for i, (node, n) in enumerate(copies.items())
    ]
    children: list[tuple[int, Step, Partial]] = []
    for node, steps in zip(copies, await tools.propose(asks) if asks else [], strict=True):
        for step in steps:
            if math.isnan(step.log_weight) or step.log_weight == math.inf:
                raise SearchError(f"propose gave a step whose log_weight is {step.log_weight}")
            children.append((node, step, parents[node].then(step)))
    scores: list[float | None] = [None] * len(children)
    if tools.has_scorer and children:
        scores = await tools.score([partial for *_, partial in children])
    kept = [
        (node, step, score)
        for (node, step, _), score in zip(children, scores, strict=True)
        if score is not None or not tools.has_scorer
    ]
    tree, ids = tree.grown(kept)
    waiting: dict[int, deque[int]] = defaultdict(deque)
    for (node, *_), child in zip(kept, ids, strict=True):
        waiting[node].append(child)
    return tree, [waiting[node].popleft() if waiting[node] else None for node in nodes]


def chosen(
    tree: Tree,
    weighted: Iterable[tuple[int, float]],
    choose: Choice,
    extract: Extract,
    draw: random.Random,
) -> Found:
    """Choose among nodes by their weights; among unfinished ones only where none is finished."""
    merged: dict[int, float] = {}
    for node, weight in weighted:
        if tree[node].step is not None:
            merged[node] = merged.get(node, 0.0) + weight
    everyone = {n: Candidate(tree.partial(n), tree[n].score, n) for n in merged}
    finished = [n for n in merged if is_finished(tree[n])] or list(merged)
    candidates = [everyone[n] for n in finished]
    weights = [merged[n] for n in finished]
    if not any(weights):
        weights = [1.0] * len(weights)
    taken: Candidate | None = None
    counted: dict[str, float] = {}
    if choose == "argmax" and all(c.score is None for c in candidates):
        taken = everyone[max(finished, key=lambda n: merged[n])] if finished else None
    elif choose == "argmax":
        taken = best(candidates)
    elif choose == "sample" and candidates:
        [taken] = draw.choices(candidates, weights)
    elif candidates:
        if choose == "weighted":
            pairs = zip(weights, candidates, strict=True)
            weights = [w * (1.0 if c.score is None else c.score) for w, c in pairs]
        ballots = [replace(c, score=w) for c, w in zip(candidates, weights, strict=True)]
        counted = votes(ballots, extract, is_weighted=True)
        if counted:
            answer = max(counted, key=lambda each: counted[each])
            taken = best(c for c in candidates if answer_of(c.text, extract) == answer)
        else:
            taken = best(candidates)
    return Found(
        best=taken,
        is_elected=choose != "argmax",
        candidates=ranked(everyone.values()),
        tree=tree,
        notes={"votes": dict(counted)} if counted else {},
    )

"""Particle Gibbs: sweeps of a particle filter, each bound to a solution of the sweep before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from motet.search.algorithm import Found, rng
from motet.search.best_of_n import final_answer
from motet.search.particles import (
    Choice,
    Particle,
    Target,
    Weighing,
    Weight,
    check_weighing,
    chosen,
    extended,
    is_finished,
)
from motet.search.resampling import multinomial, shares
from motet.search.selection import Extract
from motet.search.settings import number, whole
from motet.search.tools import Tools
from motet.search.tree import Tree


@dataclass(frozen=True, slots=True)
class Cloud:
    """The particles of one chain in one sweep."""

    particles: tuple[Particle, ...]
    """The reference, where there is one, is the last."""
    reference: tuple[int, ...] = ()
    """Its nodes from the root on; none in the first sweep."""


@dataclass(frozen=True, slots=True)
class SweepState:
    seed: int
    tree: Tree
    clouds: tuple[Cloud, ...]
    """One for each chain."""
    sweep: int = 0
    depth: int = 0
    """Steps of this sweep."""
    samples: tuple[tuple[int, float], ...] = ()
    """Nodes that the sweeps ended with, and their shares of the weight."""
    references: tuple[int, ...] = ()
    """The node that each sweep has drawn, of the last chain."""
    is_stranded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleGibbs:
    """Filter `num_sweeps` times; each sweep but the first keeps one solution of the sweep before.

    That reference is drawn by weight and stays as it is: it is not extended and never replaced, but
    other particles may go on from what it was at their step.

    Source: particle Gibbs of Puri et al. 2025, arXiv:2502.01618, algorithm 2 (Andrieu et al. 2010).
    Departures: particles are drawn anew at every step but a sweep's last; the choice is among the
    solutions of all sweeps. The reference's own past is not drawn anew (Lindsten et al. 2014): that
    takes the probability of its further steps behind the other particles.
    """

    n: int = 4
    """Particles, the reference among them."""
    num_sweeps: int = 4
    weight: Weight = "odds"
    """As of `Particles`."""
    target: Target = "steps"
    """As of `Particles`; with `final` the references' distribution is exact in the long run."""
    temperature: float = 1.0
    choose: Choice = "argmax"
    """As of `Particles`, but `sample` is the last reference."""
    extract: Extract = final_answer
    max_steps: int = 40
    """Of a sweep; the last of them runs to the end."""

    def __post_init__(self) -> None:
        check_weighing(self)
        whole("num_sweeps", self.num_sweeps)
        number("temperature", self.temperature, 1e-6)

    def init(self, seed: int) -> SweepState:
        return SweepState(seed, Tree(), (Cloud((Particle(0),) * self.n),))

    async def step(self, state: SweepState, tools: Tools) -> SweepState:
        """Extend, weigh and draw anew; at the end of a sweep draw its reference."""
        weighings = [Weighing(self.weight, self.target, self.temperature)]
        state = await swept(state, tools, weighings, self.n, self.max_steps)
        if not is_swept(state, self.max_steps):
            return state
        return bound_anew(state, references(state), self.n)

    def is_done(self, state: SweepState) -> bool:
        return state.is_stranded or state.sweep >= self.num_sweeps

    def found(self, state: SweepState) -> Found:
        return found_in(state, self.choose, self.extract)


async def swept(
    state: SweepState, tools: Tools, weighings: Sequence[Weighing], n: int, max_steps: int
) -> SweepState:
    """Take one step in every chain, all in one batch."""
    is_final = state.depth == max_steps - 1
    open_nodes = [
        [p.node for p in _free(cloud) if not is_finished(state.tree[p.node])]
        for cloud in state.clouds
    ]
    tree, children = await extended(
        tools,
        state.tree,
        [node for nodes in open_nodes for node in nodes],
        seed=(state.seed, state.sweep, state.depth),
        is_whole=is_final,
    )
    left = iter(children)
    clouds: list[Cloud] = []
    for place, (cloud, weighing) in enumerate(zip(state.clouds, weighings, strict=True)):
        if _is_over(state.tree, cloud):
            clouds.append(cloud)
            continue
        particles: list[Particle] = []
        for particle in _free(cloud):
            is_new = not is_finished(state.tree[particle.node])
            node = next(left) if is_new else particle.node
            if node is not None:
                particles.append(weighing.weighed(particle, tree[node], is_new=is_new))
        if cloud.reference:
            at = min(state.depth + 1, len(cloud.reference) - 1)
            is_new = at == state.depth + 1
            node = cloud.reference[at]
            particles.append(weighing.weighed(cloud.particles[-1], tree[node], is_new=is_new))
        if not particles:
            return replace(state, tree=tree, is_stranded=True)
        moved = replace(cloud, particles=tuple(particles))
        is_over = is_final or _is_over(tree, moved)
        seed = (state.seed, state.sweep, state.depth, 0, place)
        clouds.append(moved if is_over else _drawn(moved, n, seed))
    return replace(state, tree=tree, clouds=tuple(clouds), depth=state.depth + 1)


def _is_over(tree: Tree, cloud: Cloud) -> bool:
    return all(is_finished(tree[p.node]) for p in cloud.particles)


def _free(cloud: Cloud) -> tuple[Particle, ...]:
    return cloud.particles[:-1] if cloud.reference else cloud.particles


def _drawn(cloud: Cloud, n: int, seed: tuple[int, ...]) -> Cloud:
    """Draw all but the reference anew, from all."""
    weights = shares([p.log_weight for p in cloud.particles])
    if not any(weights):
        return cloud
    num = n - 1 if cloud.reference else n
    drawn = [cloud.particles[i] for i in multinomial(weights, num, rng(*seed))]
    kept = cloud.particles[-1:] if cloud.reference else ()
    fresh = tuple(replace(p, log_weight=0.0) for p in (*drawn, *kept))
    return replace(cloud, particles=fresh)


def is_swept(state: SweepState, max_steps: int) -> bool:
    """Say whether this sweep is at its end."""
    is_over = state.depth >= max_steps or all(_is_over(state.tree, c) for c in state.clouds)
    return is_over and not state.is_stranded


def references(state: SweepState) -> list[int]:
    """Draw a node by weight in each chain; without any weight, evenly."""
    found = []
    for place, cloud in enumerate(state.clouds):
        weights = shares([p.log_weight for p in cloud.particles])
        even = [1.0] * len(weights)
        draw = rng(state.seed, state.sweep, state.depth, 2, place)
        [drawn] = multinomial(weights if any(weights) else even, 1, draw)
        found.append(cloud.particles[drawn].node)
    return found


def bound_anew(state: SweepState, nodes: Sequence[int], n: int) -> SweepState:
    """Keep what the sweep ended with, and begin the next one with a reference for each chain."""
    samples: list[tuple[int, float]] = []
    for cloud in state.clouds:
        is_answer = cloud is state.clouds[-1]
        weights = shares([p.log_weight for p in cloud.particles])
        samples.extend(
            (p.node, share if is_answer else 0.0)
            for p, share in zip(cloud.particles, weights, strict=True)
        )
    return replace(
        state,
        clouds=tuple(Cloud((Particle(0),) * n, tuple(state.tree.path(node))) for node in nodes),
        sweep=state.sweep + 1,
        depth=0,
        samples=(*state.samples, *samples),
        references=(*state.references, nodes[-1]),
    )


def found_in(state: SweepState, choose: Choice, extract: Extract) -> Found:
    """Choose among what the sweeps ended with; before the first has, among its particles."""
    cloud = state.clouds[-1].particles
    weights = shares([p.log_weight for p in cloud])
    current = zip((p.node for p in cloud), weights, strict=True)
    draw = rng(state.seed, state.sweep, state.depth, 3)
    samples = list(state.samples or current)
    if choose == "sample" and state.references:
        drawn = chosen(state.tree, [(state.references[-1], 1.0)], "sample", extract, draw)
        found = chosen(state.tree, samples, "argmax", extract, draw)
        return replace(found, best=drawn.best, is_elected=True)
    return chosen(state.tree, samples, choose, extract, draw)

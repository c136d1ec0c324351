"""Parallel tempering: chains of particle Gibbs at several temperatures, which swap references."""

from __future__ import annotations

import math
from dataclasses import dataclass

from motet.errors import ConfigError
from motet.search.algorithm import Found, rng
from motet.search.best_of_n import final_answer
from motet.search.particle_gibbs import (
    Cloud,
    SweepState,
    bound_anew,
    found_in,
    is_swept,
    references,
    swept,
)
from motet.search.particles import Choice, Particle, Target, Weighing, Weight, check_weighing
from motet.search.selection import Extract
from motet.search.settings import number, several, whole
from motet.search.tools import Tools
from motet.search.tree import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelTempering:
    """Run a chain of particle Gibbs at each temperature; let neighbours swap their references.

    A hot chain wanders, and hands what it finds to the colder one. The last chain's solutions
    answer; the best-scored counts from whichever chain it comes.

    Source: parallel tempering of Puri et al. 2025, arXiv:2502.01618, algorithm 3. Departures: a swap
    weighs a solution as its target does, over all of its steps for `steps`; as of
    `ParticleGibbs`; neighbours swap one pair behind the other, from the hottest on.
    """

    n: int = 4
    """Particles of each chain, its reference among them."""
    temperatures: tuple[float, ...] = (4.0, 2.0, 1.0)
    """Of the weights, falling."""
    num_sweeps: int = 4
    weight: Weight = "odds"
    """As of `Particles`."""
    target: Target = "steps"
    """As of `ParticleGibbs`."""
    choose: Choice = "argmax"
    """As of `ParticleGibbs`."""
    extract: Extract = final_answer
    max_steps: int = 40
    """Of a sweep; the last of them runs to the end."""

    def __post_init__(self) -> None:
        check_weighing(self)
        whole("num_sweeps", self.num_sweeps)
        several("temperatures", self.temperatures)
        for each in self.temperatures:
            number("temperatures", each, 1e-6)
        is_falling = list(self.temperatures) == sorted(self.temperatures, reverse=True)
        if not self.temperatures or not is_falling:
            raise ConfigError(
                f"temperatures is {self.temperatures}; it must be one or more, the hottest first"
            )

    def init(self, seed: int) -> SweepState:
        clouds = tuple(Cloud((Particle(0),) * self.n) for _ in self.temperatures)
        return SweepState(seed, Tree(), clouds)

    async def step(self, state: SweepState, tools: Tools) -> SweepState:
        """Take a step in every chain; at the end of a sweep draw the references and swap them."""
        weighings = [Weighing(self.weight, self.target, each) for each in self.temperatures]
        state = await swept(state, tools, weighings, self.n, self.max_steps)
        if not is_swept(state, self.max_steps):
            return state
        return bound_anew(state, self._swapped(state, references(state)), self.n)

    def _swapped(self, state: SweepState, nodes: list[int]) -> list[int]:
        draw = rng(state.seed, state.sweep, state.depth, 4)
        for i, (hot, cold) in enumerate(
            zip(self.temperatures, self.temperatures[1:], strict=False)
        ):
            w, w_next = (self._log_weight(state.tree, node) for node in nodes[i : i + 2])
            if draw.random() < swap_probability(w, hot, w_next, cold):
                nodes[i], nodes[i + 1] = nodes[i + 1], nodes[i]
        return nodes

    def _log_weight(self, tree: Tree, node: int) -> float:
        """Return a solution's log weight at temperature 1."""
        weighing = Weighing(self.weight, self.target, 1.0)
        path = tree.path(node)[1:] if self.target == "steps" else [node]
        return sum(weighing.log_potential(tree[each].score) for each in path)

    def is_done(self, state: SweepState) -> bool:
        return state.is_stranded or state.sweep >= self.num_sweeps

    def found(self, state: SweepState) -> Found:
        return found_in(state, self.choose, self.extract)


def swap_probability(w: float, temperature: float, w_next: float, temperature_next: float) -> float:
    """Return the probability that two neighbouring chains swap their references.

    `w` is the log weight of a chain's reference at temperature 1.

    Source: Puri et al. 2025, arXiv:2502.01618, algorithm 3.
    """
    gap = 1 / temperature - 1 / temperature_next
    if gap == 0 or w == w_next:
        return 1.0
    return math.exp(min(0.0, gap * (w_next - w)))

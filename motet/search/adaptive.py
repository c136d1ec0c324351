"""Draw answers one after another, until the model believes that a new one would not be better."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

from motet.errors import ConfigError
from motet.search.algorithm import Found
from motet.search.partials import Candidate, Partial
from motet.search.selection import best, ranked
from motet.search.settings import at_once, called, function, number, whole
from motet.search.tools import Ask, Tools, checked_number
from motet.search.tree import Tree

TemperatureSchedule: TypeAlias = Callable[[int], float | None]
"""Of the number of the draw, from 1 on; None is the proposer's own temperature."""


def constant(draw: int) -> float | None:
    """Leave the temperature to the proposer."""
    return None


def probability_of_yes(yes: float, no: float) -> float:
    """Return the probability of yes among yes and no, of their log-probabilities in nats.

    Where `yes` says that a new answer would not be better, this is the score that
    `AdaptiveSampling` and `EarlyPruning` ask for.

    Raises:
        ConfigError: Both have probability 0, or one is no number.
    """
    for name, value in (("yes", yes), ("no", no)):
        if value != -math.inf:
            number(name, value)
    if max(yes, no) == -math.inf:
        raise ConfigError(f"yes is {yes} and no is {no}; one must be a log-probability above -inf")
    most = max(yes, no)
    return math.exp(yes - most) / (math.exp(yes - most) + math.exp(no - most))


def isotonic(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the rising steps (score, mean outcome) that fit `pairs` of score and outcome best.

    For thresholds that hold for a model: a score means what it came to on that model's answers.

    Raises:
        ConfigError: A score or an outcome is no finite number.

    Source: pool adjacent violators, Ayer et al. 1955.
    """
    for score, outcome in pairs:
        number("score", score)
        number("outcome", outcome)
    blocks: list[tuple[float, float, int]] = []
    grouped: dict[float, list[float]] = {}
    for score, outcome in sorted(pairs):
        grouped.setdefault(score, []).append(outcome)
    for score, outcomes in grouped.items():
        block = (score, math.fsum(outcomes), len(outcomes))
        while blocks and blocks[-1][1] * block[2] >= block[1] * blocks[-1][2]:
            start, total, num = blocks.pop()
            block = (start, total + block[1], num + block[2])
        blocks.append(block)
    return [(start, total / num) for start, total, num in blocks]


@dataclass(frozen=True, slots=True)
class AdaptiveState:
    tree: Tree
    candidates: tuple[Candidate, ...] = ()
    num_draws: int = 0
    """Answers that were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveSampling:
    """Draw whole answers until one's score is above `threshold`; choose the best-scored.

    The score is the model's belief that an answer begun anew would not be better, in [0, 1].

    Source: adaptive sampling and its annealing of Manvi et al. 2024, arXiv:2410.02725. Departures:
    the score is any callable's; the schedule of the temperature is constant, for the paper's was
    not at hand.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"score"})

    threshold: float = 0.9
    """0 ends with the first answer of a score above 0; above 1 it never ends early."""
    max_draws: int = 16
    batch: int = 1
    """Answers a step; more waste some for fewer rounds."""
    temperature_schedule: TemperatureSchedule = constant

    def __post_init__(self) -> None:
        number("threshold", self.threshold, 0)
        whole("max_draws", self.max_draws)
        at_once("batch", self.batch)
        function("temperature_schedule", self.temperature_schedule)

    def init(self, seed: int) -> AdaptiveState:
        return AdaptiveState(Tree())

    async def step(self, state: AdaptiveState, tools: Tools) -> AdaptiveState:
        last = min(state.num_draws + self.batch, self.max_draws)
        temperatures = [self._temperature(draw) for draw in range(state.num_draws + 1, last + 1)]
        before = tools.spend.proposals
        found = await tools.propose(
            [Ask(Partial(), is_whole=True, temperature=each) for each in temperatures]
        )
        num_draws = state.num_draws + tools.spend.proposals - before
        steps = [step for each in found for step in each]
        partials = [Partial((step,)) for step in steps]
        scores = await tools.score(partials) if partials else []
        tree, ids = state.tree.grown(
            [(0, step, score) for step, score in zip(steps, scores, strict=True)]
        )
        new = tuple(Candidate(*each) for each in zip(partials, scores, ids, strict=True))
        return replace(state, tree=tree, candidates=(*state.candidates, *new), num_draws=num_draws)

    def _temperature(self, draw: int) -> float | None:
        given = called("temperature_schedule", self.temperature_schedule, draw)
        if given is None:
            return None
        return checked_number(given, "temperature_schedule", 0.0)

    def is_done(self, state: AdaptiveState) -> bool:
        is_enough = any(c.score is not None and c.score > self.threshold for c in _finished(state))
        return is_enough or state.num_draws >= self.max_draws

    def found(self, state: AdaptiveState) -> Found:
        return Found(
            best=best(_finished(state)) or best(state.candidates),
            candidates=ranked(state.candidates),
            tree=state.tree,
            notes={"num_draws": state.num_draws},
        )


def _finished(state: AdaptiveState) -> list[Candidate]:
    return [c for c in state.candidates if c.partial.is_finished]

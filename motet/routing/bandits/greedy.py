"""Greedy bandits: the best arm so far, or now and then any."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from motet.routing.bandits.arms import Arms
from motet.routing.bandits.bandit import check_range, check_reward
from motet.routing.bandits.memory import FOR_EVER, Memory, observe
from motet.search.algorithm import rng
from motet.search.settings import number, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Greedy:
    """Try each arm once, then the one of the highest mean; ties go to the first.

    Source: EVOLvE (Nie et al. 2024, arXiv:2410.06238). There is no bonus; in the authors' code the
    greedy agent keeps that of UCB.
    """

    rewards: tuple[float, float] | None = (0.0, 1.0)
    """Rewards outside are refused; None takes every finite one."""
    memory: Memory = FOR_EVER

    def __post_init__(self) -> None:
        check_range(self.rewards)

    def init(self, num_arms: int) -> Arms:
        return Arms.empty(num_arms)

    def choose(self, state: Arms, context: Any = None, *, step: int | None = None) -> int:
        return _best(state)

    def update(
        self, state: Arms, arm: int, reward: float, context: Any = None, *, step: int | None = None
    ) -> Arms:
        return observe(state, arm, check_reward(reward, self.rewards), self.memory, step)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsilonGreedy:
    """As `Greedy`, but try any arm, each as likely, in a share `epsilon` of the steps.

    Source: Sutton and Barto, Reinforcement Learning, section 2.2.
    """

    epsilon: float = 0.1
    seed: int = 0
    rewards: tuple[float, float] | None = (0.0, 1.0)
    """Rewards outside are refused; None takes every finite one."""
    memory: Memory = FOR_EVER

    def __post_init__(self) -> None:
        number("epsilon", self.epsilon, 0.0, 1.0)
        whole("seed", self.seed, 0)
        check_range(self.rewards)

    def init(self, num_arms: int) -> Arms:
        return Arms.empty(num_arms)

    def choose(self, state: Arms, context: Any = None, *, step: int | None = None) -> int:
        chance = rng(self.seed, state.step if step is None else step)
        if chance.random() < self.epsilon:
            return chance.randrange(len(state.counts))
        return _best(state)

    def update(
        self, state: Arms, arm: int, reward: float, context: Any = None, *, step: int | None = None
    ) -> Arms:
        return observe(state, arm, check_reward(reward, self.rewards), self.memory, step)


def _best(state: Arms) -> int:
    means = [math.inf if mean is None else mean for mean in state.means]
    return means.index(max(means))

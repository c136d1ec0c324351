"""UCB: the arm whose mean could be highest, given how little is known of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from motet.routing.bandits.arms import Arms
from motet.routing.bandits.bandit import check_range, check_reward
from motet.routing.bandits.memory import FOR_EVER, Memory, observe
from motet.search.settings import number


@dataclass(frozen=True, slots=True, kw_only=True)
class UCB:
    """Try each arm once, then the one of the highest mean plus bonus; ties go to the first.

    The bonus is sqrt(alpha * ln t / n) of an arm with n of t rewards.

    Source: Auer et al. 2002, with the alpha of EVOLvE (Nie et al. 2024, arXiv:2410.06238). Counts
    may be fractions, see `Memory`; a logarithm under 0 counts as 0.
    """

    alpha: float = 0.5
    """0 or more; larger explores more. It supposes rewards that range over about 1."""
    rewards: tuple[float, float] | None = (0.0, 1.0)
    """Rewards outside are refused; None takes every finite one."""
    memory: Memory = FOR_EVER

    def __post_init__(self) -> None:
        number("alpha", self.alpha, 0.0)
        check_range(self.rewards)

    def init(self, num_arms: int) -> Arms:
        return Arms.empty(num_arms)

    def value(self, state: Arms, arm: int) -> float:
        """Return the mean reward of an arm, 0 where it was never tried."""
        return state.sums[arm] / state.counts[arm] if state.counts[arm] else 0.0

    def bonus(self, state: Arms, arm: int) -> float:
        """Return what an arm is worth for being unknown; infinite where it was never tried."""
        if not state.counts[arm]:
            return math.inf
        return math.sqrt(_log_total(state) * self.alpha / state.counts[arm])

    def choose(self, state: Arms, context: Any = None, *, step: int | None = None) -> int:
        """Return the arm to try; rewards that are still out do not count."""
        untried = state.untried
        if untried is not None:
            return untried
        scale = self.alpha * _log_total(state)
        pairs = zip(state.sums, state.counts, strict=True)
        values = [total / count + math.sqrt(scale / count) for total, count in pairs]
        return values.index(max(values))

    def update(
        self, state: Arms, arm: int, reward: float, context: Any = None, *, step: int | None = None
    ) -> Arms:
        return observe(state, arm, check_reward(reward, self.rewards), self.memory, step)


def _log_total(state: Arms) -> float:
    return max(math.log(math.fsum(state.counts)), 0.0)

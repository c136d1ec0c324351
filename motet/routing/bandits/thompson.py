"""Thompson sampling: each arm as often as it is likely to be the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from motet.errors import DataError
from motet.routing.bandits.arms import Arms
from motet.routing.bandits.bandit import check_reward
from motet.routing.bandits.memory import FOR_EVER, Memory, observe
from motet.search.algorithm import rng
from motet.search.settings import number, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Thompson:
    """Draw a success rate of each arm from its Beta posterior; try the arm of the highest.

    A reward of 0 to 1 counts as that much of a success and the rest of a failure.

    Source: Thompson 1933; Beta(1, 1) and fractional rewards as in EVOLvE (Nie et al. 2024,
    arXiv:2410.06238).
    """

    alpha: float = 1.0
    """Successes supposed of each arm, above 0."""
    beta: float = 1.0
    """Failures supposed of each arm, above 0."""
    seed: int = 0
    memory: Memory = FOR_EVER

    def __post_init__(self) -> None:
        number("alpha", self.alpha, 1e-6)
        number("beta", self.beta, 1e-6)
        whole("seed", self.seed, 0)

    def init(self, num_arms: int) -> Arms:
        return Arms.empty(num_arms)

    def posterior(self, state: Arms) -> list[tuple[float, float]]:
        """Return alpha and beta of each arm.

        Raises:
            DataError: The rewards in the state were not all from 0 to 1.
        """
        pairs = []
        for arm, (total, count) in enumerate(zip(state.sums, state.counts, strict=True)):
            alpha, beta = self.alpha + total, self.beta + count - total
            if alpha <= 0 or beta <= 0:
                raise DataError(f"arm {arm} has {count} rewards with a sum of {total}: not 0 to 1")
            pairs.append((alpha, beta))
        return pairs

    def samples(self, state: Arms, step: int | None = None) -> list[float]:
        """Return the rates that are drawn at a step, by default the state's.

        Raises:
            DataError: The rewards in the state were not all from 0 to 1.
        """
        chance = rng(self.seed, state.step if step is None else step)
        return [chance.betavariate(alpha, beta) for alpha, beta in self.posterior(state)]

    def choose(self, state: Arms, context: Any = None, *, step: int | None = None) -> int:
        drawn = self.samples(state, step)
        return drawn.index(max(drawn))

    def update(
        self, state: Arms, arm: int, reward: float, context: Any = None, *, step: int | None = None
    ) -> Arms:
        return observe(state, arm, check_reward(reward, (0.0, 1.0)), self.memory, step)

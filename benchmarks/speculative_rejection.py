"""Speculative rejection against best-of-n, on scripted answers whose reward shows as they grow."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rows import Row, report

from motet.search import Ask, BestOfN, Partial, Problem, Step, search
from motet.search.speculative_rejection import SpeculativeRejection


@dataclass(frozen=True)
class ScriptedRewards:
    """Answers of one length; the reward of a part nears the reward of the whole as it grows.

    A part of share s of the whole scores its worth with an error of deviation `noise * (1 - s)`,
    redrawn at every `grain` tokens, so that a longer part tells more.
    """

    seed: int
    num_tokens: int = 512
    noise: float = 1.0
    grain: int = 16

    def propose(self, asks: Sequence[Ask]) -> list[list[Step]]:
        """Go on with answers; the i-th continuation of nothing is answer i."""
        return [[self._step(ask, i) for i in range(ask.n)] for ask in asks]

    def _step(self, ask: Ask, place: int) -> Step:
        steps = ask.partial.steps
        left = self.num_tokens - ask.partial.num_tokens
        taken = left if ask.max_tokens is None else min(left, ask.max_tokens)
        return Step(
            "x" * taken,
            is_last=taken == left,
            num_tokens=taken,
            data=steps[-1].data if steps else place,
        )

    def score(self, partials: Sequence[Partial]) -> list[float]:
        """Return the rewards, as far as they show."""
        return [self._score(partial) for partial in partials]

    def _score(self, partial: Partial) -> float:
        answer, length = partial.steps[-1].data, partial.num_tokens
        worth = random.Random(f"{self.seed} {answer}").gauss(0, 1)
        error = random.Random(f"{self.seed} {answer} {length // self.grain}").gauss(0, self.noise)
        return worth + error * (1 - length / self.num_tokens)


def measured(algorithm: Any, num_problems: int, noise: float) -> tuple[float, float]:
    """Return the mean reward of the answers and the mean tokens of a problem."""

    async def all_problems() -> tuple[float, float]:
        reward, tokens = 0.0, 0
        for seed in range(num_problems):
            world = ScriptedRewards(seed, noise=noise)
            problem = Problem(propose=world.propose, score=world.score, score_range=None)
            result = await search(algorithm, problem, seed=seed)
            if result.best is None or result.best.score is None:
                raise ValueError(f"problem {seed} has no answer")
            reward += result.best.score
            tokens += result.spend.tokens
        return reward / num_problems, tokens / num_problems

    return asyncio.run(all_problems())


def rejection_rows(num_problems: int = 400, noise: float = 1.0) -> list[Row]:
    """Compare at a quarter of the tokens."""
    plain_reward, plain_tokens = measured(BestOfN(n=32), num_problems, noise)
    rejecting = SpeculativeRejection(n=64, max_tokens=512, max_kv_tokens=64 * 16, min_chunk=16)
    reward, tokens = measured(rejecting, num_problems, noise)
    return [
        Row("speculative rejection's tokens over best-of-32's", tokens / plain_tokens, 0.25),
        Row(
            f"speculative rejection's mean reward (best-of-32's: {plain_reward:.3f})",
            reward,
            plain_reward,
            "at least",
        ),
    ]


if __name__ == "__main__":
    sys.exit(report(rejection_rows()))

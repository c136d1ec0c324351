"""Reward-guided decoding: choose each token by its probability and by a reward of where it leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from motet.engine import Capability, Completion
from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program
from motet.programs.algorithms import chosen
from motet.programs.capabilities import Need, needs_of_scorer, refuse_unable
from motet.programs.scorers import Scorer, find_scorer
from motet.programs.solution import Solution, solution_of
from motet.programs.solution_calls import continue_solution
from motet.programs.token_calls import TokenCalls
from motet.search.driver import search
from motet.search.partials import Partial
from motet.search.settings import function, number
from motet.search.spending import NO_LIMITS, Limits
from motet.search.tools import FAILED, Lost
from motet.search.transfer_q import Rollout, TransferProblem, TransferQ
from motet.types import Chat


@program
async def reward_guided(
    question: str | Chat,
    *,
    model: Model,
    reward: Scorer | str,
    baseline: Model | None = None,
    baseline_reward: Scorer | None = None,
    algorithm: TransferQ | str | None = None,
    rollout_temperature: float | None = None,
    instruction: str = "",
    limits: Limits = NO_LIMITS,
    seed: int = 0,
) -> Solution:
    """Answer `question` token by token, of the likeliest tokens the one with the best prospects.

    A token's score is its log-probability plus the weighted reward of the answer that `baseline`
    writes on from it, or, with `TransferQ(rollout_tokens=0)`, of the answer so far: ARGS.

    Args:
        question: A text or a chat.
        model: Answers; its engine tells next tokens (`Capability.NEXT_TOKENS`).
        reward: Scores whole and partial answers; higher is better, and its scale matters beside
            log-probabilities, see `TransferQ.weight`.
        baseline: Writes on, an aligned model; it has to continue an unfinished turn. None is
            `model`. It sees the answer as text, and so tokenises it by itself.
        baseline_reward: What `baseline` was aligned to, for indirect transfer.
        algorithm: `TransferQ(...)` or its text: `transfer-q(k=5)`; None is `TransferQ()`.
        rollout_temperature: Of `baseline`; None is 0 for one rollout, 1 for several.
        instruction: Added to the system turn; empty for none.
        limits: What the search may use.
        seed: Of the algorithm's own chance.

    Raises:
        ConfigError: A setting is wrong.
        CapabilityError: The engine tells no next tokens, or not so many.
        BudgetExhaustedError: The budget did not hold the first token.
        TooFewSurvivorsError: There is nothing to show.

    Source: as of `TransferQ`.
    """
    algorithm = TransferQ() if algorithm is None else chosen(algorithm, transfer_q=TransferQ)
    if algorithm.transfer == "indirect" and baseline_reward is None:
        raise ConfigError("transfer is 'indirect', and baseline_reward is None; it needs one")
    if rollout_temperature is not None:
        number("rollout_temperature", rollout_temperature, 0)
    elif algorithm.num_rollouts > 1:
        rollout_temperature = 1.0
    if algorithm.score_base == "logit":
        raise ConfigError("score_base is 'logit', which no engine tells; it must be 'logprob'")
    scorer = find_scorer(reward, model) if isinstance(reward, str) else reward
    function("reward", scorer)
    needs = [Need("model", model, Capability.NEXT_TOKENS), *needs_of_scorer(scorer, "reward")]
    if baseline_reward is not None:
        function("baseline_reward", baseline_reward)
        needs += needs_of_scorer(baseline_reward, "baseline_reward")
    if algorithm.rollout_tokens and algorithm.weight:
        writing = Need("model", model, Capability.CONTINUE)
        needs.append(
            writing if baseline is None else replace(writing, setting="baseline", model=baseline)
        )
    await refuse_unable(needs)
    calls = _Guiding(
        question=question,
        model=model,
        instruction=instruction,
        reward=scorer,
        baseline=model if baseline is None else baseline,
        baseline_reward=baseline_reward,
        rollout_temperature=rollout_temperature or 0.0,
    )
    problem = TransferProblem(
        top_tokens=calls.top_tokens,
        reward=calls.rewards,
        rollout=calls.roll_out,
        baseline_reward=calls.baseline_rewards if baseline_reward is not None else None,
        step_tokens=max(algorithm.rollout_tokens, 1),
    )
    result = await search(algorithm, problem, seed=seed, limits=limits)
    return solution_of(result, calls.failures)


@dataclass(kw_only=True)
class _Guiding(TokenCalls):
    """A question's callables, made of calls of the running program."""

    reward: Scorer
    baseline: Model
    baseline_reward: Scorer | None
    rollout_temperature: float

    async def rewards(self, texts: Sequence[str]) -> list[float | Lost]:
        return await self.values_of(
            texts, lambda text: self.reward(self.question, text), name="reward"
        )

    async def baseline_rewards(self, texts: Sequence[str]) -> list[float | Lost]:
        reward = self.baseline_reward
        assert reward is not None
        return await self.values_of(
            texts, lambda text: reward(self.question, text), name="baseline_reward"
        )

    async def roll_out(
        self, partials: Sequence[Partial], most: int, num: int
    ) -> list[list[Rollout] | Lost]:
        bound = continue_solution.on(
            self.baseline, max_tokens=most, temperature=self.rollout_temperature
        ).samples(num)
        found = await self.values(
            [bound(self.question, partial.text, self.instruction) for partial in partials]
        )
        return [each if isinstance(each, Lost) else _rollouts(each, most) for each in found]


def _rollouts(completions: list[Completion], most: int) -> list[Rollout] | Lost:
    found = [
        Rollout(each.text, num_tokens=min(len(each.token_ids), most) or most)
        for each in completions
        if each.finish_reason != "abort"
    ]
    return found or FAILED

"""Transfer Q*: choose each token by its probability and by the reward of where it leads."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, TypeAlias

from motet.errors import ConfigError, SearchError
from motet.search.algorithm import Found, rng
from motet.search.metering import Meter
from motet.search.partials import Candidate, Partial
from motet.search.settings import number, one_of, whole
from motet.search.spending import Limits, Spend
from motet.search.tokens import Token, TopTokens, checked_all, next_tokens, num_paid
from motet.search.tools import Lost, checked_number
from motet.search.tree import Tree


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the baseline model wrote behind a text."""

    text: str
    weight: float = 1.0
    """Of it in the mean; the probability of each where all continuations are given."""
    num_tokens: int = 0


RollOut: TypeAlias = Callable[
    [Sequence[Partial], int, int],
    Awaitable[Sequence[Sequence[Rollout] | Lost]] | Sequence[Sequence[Rollout] | Lost],
]
"""Takes texts, most tokens and a number of continuations; returns for each its continuations."""
Reward: TypeAlias = Callable[
    [Sequence[str]], Awaitable[Sequence[float | Lost]] | Sequence[float | Lost]
]
"""Takes texts, returns a finite reward for each; higher is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProblem:
    """Callables over batches, which know the prompt; sync or async."""

    top_tokens: TopTokens
    reward: Reward
    """The target."""
    rollout: RollOut | None = None
    """Of the baseline model, by its own template; not needed for `rollout_tokens` = 0."""
    baseline_reward: Reward | None = None
    """What the baseline model was aligned to; needed for indirect transfer."""
    step_tokens: int | None = None
    """The most tokens of one continuation; needed for `max_tokens`."""

    def tools(self, limits: Limits, spend: Spend) -> TransferTools:
        return TransferTools(self, limits, spend)


class TransferTools(Meter):
    """The callables while a search runs; they keep its limits."""

    def __init__(self, problem: TransferProblem, limits: Limits, spend: Spend) -> None:
        super().__init__(limits, spend, step_tokens=problem.step_tokens)
        self.problem = problem

    async def rollouts(
        self, partials: Sequence[Partial], most: int, num: int
    ) -> list[list[Rollout]] | None:
        """Return continuations of each text; None where the limits do not hold them.

        Raises:
            ConfigError: There is no `rollout`.
            SearchError: It breaks its contract.
        """
        roll = self.problem.rollout
        if roll is None:
            raise ConfigError(f"rollout_tokens is {most}, and the problem has no rollout")
        if self.may_propose(num * len(partials)) < num * len(partials):
            return None
        found = await self.call("rollout", lambda batch: roll(batch, most, num), partials)
        results: list[list[Rollout]] = []
        for each in found:
            given = [] if self.is_lost(each) else checked_all(each, Rollout, "rollout")
            results.append([_checked(rollout) for rollout in given])
        tokens = sum(rollout.num_tokens for each in results for rollout in each)
        self.count(proposals=num * num_paid(found), tokens=tokens)
        return results

    async def rewards(self, texts: Sequence[str]) -> list[float | None] | None:
        """Return the target's rewards; None where the limits do not hold them."""
        return await self._rewards(self.problem.reward, texts, "reward")

    async def baseline_rewards(self, texts: Sequence[str]) -> list[float | None] | None:
        """Return the baseline's rewards; None where the limits do not hold them.

        Raises:
            ConfigError: The problem has none.
        """
        if self.problem.baseline_reward is None:
            raise ConfigError("transfer is 'indirect', and the problem has no baseline_reward")
        return await self._rewards(self.problem.baseline_reward, texts, "baseline_reward")

    async def _rewards(
        self, call: Reward, texts: Sequence[str], name: str
    ) -> list[float | None] | None:
        if self.may_score(len(texts)) < len(texts):
            return None
        found = await self.call(name, call, texts)
        self.count(scores=num_paid(found))
        return [None if self.is_lost(each) else checked_number(each, name) for each in found]


def _checked(rollout: Rollout) -> Rollout:
    checked_number(rollout.weight, "rollout (a weight)", 0.0)
    if type(rollout.num_tokens) is not int or rollout.num_tokens < 0:
        raise SearchError(f"rollout gave num_tokens {rollout.num_tokens!r}; it is a count")
    return rollout


@dataclass(frozen=True, slots=True)
class TransferState:
    seed: int
    tree: Tree
    node: int = 0
    """The text as far as it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferQ:
    """Add to each likely token's log probability the reward of the text that it leads to.

    For each of the `k` likeliest tokens a model that is already aligned writes on for
    `rollout_tokens`; the reward of that text, `weight` times, is added to the token's score. With
    `rollout_tokens` = 0 the text is rewarded as it is, which is ARGS.

    Source: Transfer Q* (umd-huang-lab/Transfer-Q) and ARGS (deeplearning-wisc/args). The sampled
    policy is that of the former: p(token) * exp(weight * reward), over the `k` tokens. Departures:
    the text ends at an end token, whose text is rewarded as it is; ties go to the likelier token;
    samples are drawn in both modes of the reference, one of which fails there; what is chosen
    between the guided tokens of `every` is ours.
    """

    k: int = 10
    weight: float = 1.0
    """Of the reward; 0 leaves the model as it is."""
    rollout_tokens: int = 20
    """The reference has 20 for direct and 5 for indirect transfer."""
    num_rollouts: int = 1
    """Whose mean is taken; 1 where they are greedy."""
    transfer: Literal["direct", "indirect"] = "direct"
    """`indirect`: the baseline was aligned to another reward, which weighs what it writes."""
    beta: float = 2.0
    """Of indirect transfer: the reward counts exp((reward - baseline's) / beta) times."""
    score_base: Literal["logprob", "logit"] = "logprob"
    """What the reward is added to. At one place both differ by a constant, so that they choose
    alike; only the scores in the tree differ."""
    temperature: float = 0.0
    """0 takes the best; otherwise the token is drawn from the softmax of scores / temperature."""
    every: int = 1
    """Tokens from one guided choice to the next; those between are chosen by the model alone."""
    max_tokens: int = 128

    def __post_init__(self) -> None:
        whole("k", self.k)
        number("weight", self.weight)
        whole("rollout_tokens", self.rollout_tokens, 0)
        whole("num_rollouts", self.num_rollouts)
        one_of("transfer", self.transfer, ("direct", "indirect"))
        number("beta", self.beta)
        if self.beta <= 0:
            raise ConfigError(f"beta is {self.beta!r}; it must be above 0")
        one_of("score_base", self.score_base, ("logprob", "logit"))
        number("temperature", self.temperature, 0)
        whole("every", self.every)
        whole("max_tokens", self.max_tokens)

    def init(self, seed: int) -> TransferState:
        return TransferState(seed, Tree())

    async def step(self, state: TransferState, tools: TransferTools) -> TransferState:
        """Choose one token."""
        partial = state.tree.partial(state.node)
        found = await next_tokens(tools, tools.problem.top_tokens, [partial], self.k)
        tokens = found[0] if found is not None else []
        values = await self._values(partial, tokens, tools)
        kept = [
            (token, self._base(token) + self.weight * (value or 0.0))
            for token, value in zip(tokens, values, strict=True)
            if value is not None or not self._is_guided(partial, tokens)
        ]
        if not kept or (tools.is_spent and len(kept) < len(tokens)):
            return state
        children = [(state.node, token.as_step(), score) for token, score in kept]
        tree, ids = state.tree.grown(children)
        chosen = self._chosen([score for _, score in kept], state.seed, partial.depth)
        return replace(state, tree=tree, node=ids[chosen])

    def _is_guided(self, partial: Partial, tokens: Sequence[Token]) -> bool:
        return self.weight != 0 and len(tokens) > 1 and partial.depth % self.every == 0

    def _base(self, token: Token) -> float:
        if self.score_base == "logprob":
            return token.logprob
        if token.logit is None:
            raise SearchError(f"score_base is 'logit', and top_tokens gave none for {token.text!r}")
        return checked_number(token.logit, "top_tokens (a logit)")

    async def _values(
        self, partial: Partial, tokens: Sequence[Token], tools: TransferTools
    ) -> list[float | None]:
        """Return the mean reward of where each token leads; None where nobody knows."""
        values: list[float | None] = [None] * len(tokens)
        if not self._is_guided(partial, tokens):
            return values
        starts = [partial.then(token.as_step()) for token in tokens]
        ends = [[Rollout("")] for _ in tokens]
        going = [i for i, start in enumerate(starts) if not start.is_finished]
        if self.rollout_tokens and going:
            rolled = await tools.rollouts(
                [starts[i] for i in going], self.rollout_tokens, self.num_rollouts
            )
            if rolled is None or not any(rolled):
                return values
            for i, each in zip(going, rolled, strict=True):
                ends[i] = each
        texts = [
            start.text + end.text for start, each in zip(starts, ends, strict=True) for end in each
        ]
        rewards = iter(await self._rewards(texts, tools) or [None] * len(texts))
        for i, each in enumerate(ends):
            pairs = [(end.weight, next(rewards)) for end in each]
            known = [(weight, reward) for weight, reward in pairs if reward is not None]
            total = sum(weight for weight, _ in known)
            if total > 0:
                values[i] = sum(weight * reward for weight, reward in known) / total
        return values

    async def _rewards(self, texts: list[str], tools: TransferTools) -> list[float | None] | None:
        targets = await tools.rewards(texts) if texts else []
        if self.transfer == "direct" or targets is None:
            return targets
        baselines = await tools.baseline_rewards(texts) if texts else []
        if baselines is None:
            return None
        return [
            None if target is None or baseline is None else self._corrected(target, baseline)
            for target, baseline in zip(targets, baselines, strict=True)
        ]

    def _corrected(self, target: float, baseline: float) -> float:
        try:
            return checked_number(math.exp((target - baseline) / self.beta) * target, "reward")
        except OverflowError as exc:
            raise SearchError(
                f"reward gave {target} where baseline_reward gave {baseline}; beta, {self.beta:g}, "
                "is too small for that"
            ) from exc

    def _chosen(self, scores: Sequence[float], seed: int, depth: int) -> int:
        best = max(scores)
        if self.temperature == 0:
            return scores.index(best)
        weights = [math.exp((score - best) / self.temperature) for score in scores]
        drawn = rng(seed, depth).random() * sum(weights)
        return next((i for i, upto in enumerate(accumulate(weights)) if drawn < upto), 0)

    def is_done(self, state: TransferState) -> bool:
        return state.tree[state.node].depth >= self.max_tokens or self._has_ended(state)

    def _has_ended(self, state: TransferState) -> bool:
        step = state.tree[state.node].step
        return step is not None and step.is_last

    def found(self, state: TransferState) -> Found:
        if not state.node:
            return Found(best=None, tree=state.tree)
        score = state.tree[state.node].score
        candidate = Candidate(state.tree.partial(state.node), score, state.node)
        return Found(best=candidate, is_elected=True, candidates=(candidate,), tree=state.tree)

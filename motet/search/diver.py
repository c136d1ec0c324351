"""DIVER: where several tokens are plausible, take the span that makes the input more likely."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from motet.errors import ConfigError
from motet.search.algorithm import Found
from motet.search.metering import Meter
from motet.search.partials import Candidate, Partial, Step
from motet.search.settings import number, whole
from motet.search.spending import Limits, Spend
from motet.search.tokens import Token, TopTokens, checked_logprob, next_tokens, num_paid
from motet.search.tools import Lost
from motet.search.tree import Tree

InputLogprob: TypeAlias = Callable[
    [Sequence[Partial]], Awaitable[Sequence[float | Lost]] | Sequence[float | Lost]
]
"""Takes texts, returns for each log p(input | text) in nats, by a prompt in reverse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiverProblem:
    """Callables over batches, which know the input; sync or async."""

    top_tokens: TopTokens
    input_logprob: InputLogprob

    def tools(self, limits: Limits, spend: Spend) -> DiverTools:
        return DiverTools(self, limits, spend)


class DiverTools(Meter):
    """The callables while a search runs; they keep its limits."""

    def __init__(self, problem: DiverProblem, limits: Limits, spend: Spend) -> None:
        super().__init__(limits, spend, step_tokens=1)
        self.problem = problem

    async def input_logprobs(self, partials: Sequence[Partial]) -> list[float | None] | None:
        """Return how likely the input is behind each text; None where the limits do not hold it."""
        if self.may_score(len(partials)) < len(partials):
            return None
        found = await self.call("input_logprob", self.problem.input_logprob, partials)
        self.count(scores=num_paid(found))
        return [
            None if self.is_lost(each) else checked_logprob(each, "input_logprob") for each in found
        ]


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens that are chosen together."""

    tokens: tuple[Token, ...]

    @property
    def logprob(self) -> float:
        return math.fsum(token.logprob for token in self.tokens)

    @property
    def is_last(self) -> bool:
        return self.tokens[-1].is_last

    def as_step(self, pmi: float | None = None) -> Step:
        return Step(
            "".join(token.text for token in self.tokens),
            is_last=self.is_last,
            num_tokens=len(self.tokens),
            prior=self.logprob,
            data={"tokens": [token.data for token in self.tokens], "pmi": pmi},
        )


@dataclass(frozen=True, slots=True)
class DiverState:
    tree: Tree
    node: int = 0
    """The text as far as it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diver:
    """Take the likeliest token, but where several are plausible, compare what they lead to.

    A token is plausible whose probability is at least `alpha` times the highest. Each plausible one
    is followed, likeliest token by token, until several are plausible again, the text ends, or
    `max_span` is reached. The span with the highest log probability plus `weight` times its
    pointwise mutual information with the input is taken.

    Source: DIVER, from its abstract and a survey; the paper's code was not found. All defaults, and
    the end of a span, are ours. log p(input | text so far) is the same for all spans of a place;
    it is asked for only where `with_base` wants to show it.
    """

    alpha: float = 0.3
    weight: float = 1.0
    """0 compares spans by their own probability."""
    k: int = 20
    """Tokens that are looked at."""
    max_span: int = 8
    max_tokens: int = 128
    per_token: bool = False
    """Whether a span's log probability is its mean over tokens, so that length does not count."""
    with_base: bool = False
    """Whether the tree shows the mutual information itself, for one more score at each place; the
    choice is the same."""

    def __post_init__(self) -> None:
        number("alpha", self.alpha, 0, 1)
        if self.alpha == 0:
            raise ConfigError(f"alpha is {self.alpha!r}; it must be above 0")
        number("weight", self.weight, 0)
        whole("k", self.k)
        whole("max_span", self.max_span)
        whole("max_tokens", self.max_tokens)

    def init(self, seed: int) -> DiverState:
        return DiverState(Tree())

    async def step(self, state: DiverState, tools: DiverTools) -> DiverState:
        """Add a token, or a span where the text diverges."""
        partial = state.tree.partial(state.node)
        found = await next_tokens(tools, tools.problem.top_tokens, [partial], self.k)
        first = self._plausible(found[0]) if found is not None else []
        if len(first) < 2:
            spans: list[Span] | None = [Span((token,)) for token in first]
        else:
            most = min(self.max_span, self.max_tokens - partial.num_tokens)
            spans = await self._spans(partial, first, most, tools)
        rated = await self._rated(partial, spans, tools) if spans else []
        if not rated:
            return state
        tree, ids = state.tree.grown([(state.node, step, shown) for step, _, shown in rated])
        scores = [score for _, score, _ in rated]
        return replace(state, tree=tree, node=ids[scores.index(max(scores))])

    def _plausible(self, tokens: Sequence[Token]) -> list[Token]:
        """Return the plausible ones of `tokens`, which are sorted."""
        least = tokens[0].logprob + math.log(self.alpha) - 1e-12 if tokens else 0.0
        return [token for token in tokens if token.logprob >= least]

    async def _spans(
        self, partial: Partial, first: Sequence[Token], most: int, tools: DiverTools
    ) -> list[Span] | None:
        """Follow each plausible token; None where a limit was reached."""
        spans = [Span((token,)) for token in first]
        going = [i for i, span in enumerate(spans) if not span.is_last]
        for _ in range(most - 1):
            if not going:
                break
            found = await next_tokens(
                tools,
                tools.problem.top_tokens,
                [partial.then(spans[i].as_step()) for i in going],
                self.k,
            )
            if found is None:
                return None
            plausible = {i: self._plausible(tokens) for i, tokens in zip(going, found, strict=True)}
            going = [i for i in going if len(plausible[i]) == 1]
            for i in going:
                spans[i] = Span((*spans[i].tokens, *plausible[i]))
            going = [i for i in going if not spans[i].is_last]
        return spans

    async def _rated(
        self, partial: Partial, spans: Sequence[Span], tools: DiverTools
    ) -> list[tuple[Step, float, float]]:
        """Return the spans as steps with their scores, to choose by and to show.

        There are none where a limit was reached.
        """
        own = [span.logprob / (len(span.tokens) if self.per_token else 1) for span in spans]
        if len(spans) == 1 or self.weight == 0:
            return [(span.as_step(), score, score) for span, score in zip(spans, own, strict=True)]
        texts = [partial.then(span.as_step()) for span in spans]
        found = await tools.input_logprobs([*texts, partial] if self.with_base else texts)
        if found is None or tools.is_spent:
            return []
        base = found.pop() if self.with_base else None
        rated = []
        for span, score, likely in zip(spans, own, found, strict=True):
            if likely is not None:
                pmi = None if base is None else likely - base
                shown = score + self.weight * (likely if pmi is None else pmi)
                rated.append((span.as_step(pmi), score + self.weight * likely, shown))
        return rated

    def is_done(self, state: DiverState) -> bool:
        partial = state.tree.partial(state.node)
        return partial.is_finished or partial.num_tokens >= self.max_tokens

    def found(self, state: DiverState) -> Found:
        if not state.node:
            return Found(best=None, tree=state.tree)
        score = state.tree[state.node].score
        candidate = Candidate(state.tree.partial(state.node), score, state.node)
        return Found(best=candidate, is_elected=True, candidates=(candidate,), tree=state.tree)

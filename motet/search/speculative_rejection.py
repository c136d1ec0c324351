"""Speculative rejection: start with many answers, drop the worst ones while they are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from motet.errors import ConfigError, SearchError
from motet.search.algorithm import Found, rng
from motet.search.partials import Candidate, Partial, Step
from motet.search.selection import best, ranked
from motet.search.settings import at_once, number, whole
from motet.search.tools import Ask, Tools
from motet.search.tree import Tree

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class RejectionState:
    seed: int
    tree: Tree
    live: tuple[int, ...] = ()
    """Answers that are still written."""
    rivals: tuple[int, ...] = ()
    """Ended ones that the live ones still compete with."""
    ended: tuple[int, ...] = ()
    """All that ended, whether out-ranked later or not."""
    num_rounds: int = 0
    num_live: tuple[int, ...] = ()
    """Of each round."""
    peak_kv_tokens: int = 0
    """The most that the live answers held at once, each with its prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeculativeRejection:
    """Write `n` answers in rounds, and after each keep the best-scored `1 - alpha` of them.

    An answer that has ended stays eligible though later ones out-rank it; the search goes on until
    no answer is open. The scorer is one of whole answers, asked about unfinished ones.

    A round is a batch of requests of so many tokens at most; the next round's go on behind what is
    there. So all of a round's requests have ended before one is rejected: what is rejected holds
    nothing in the engine, is never asked for again, and needs no abort. Only where time or a
    cancellation ends the search in mid-round are requests aborted, those of that round.

    Source: Sun et al. 2024, arXiv:2410.20290, and Zanette-Labs/SpeculativeRejection. Departures: a
    finished answer goes before one that was cut, whatever their scores; rounds of requests stand
    for one batch that sequences are dropped from, which relies on the engine's prefix cache; where
    the reference runs until the memory is full, a budget of key-value tokens says how far a round
    goes; what is kept is rounded up, where the reference's rounding may keep none; answers are not
    cut to the shortest; what the budget does not hold is dropped, the worst first.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"score"})

    n: int = 16
    """Answers to begin with; fewer where `max_kv_tokens` does not hold them."""
    alpha: float = 0.5
    """Part of the competing answers that a round rejects; 0 is best-of-n."""
    max_tokens: int = 2048
    """Of an answer."""
    round_tokens: int = 128
    """Of a round, where there is no `max_kv_tokens`."""
    max_kv_tokens: int | None = None
    """The most that all live answers hold, each with its prompt; the fewer live, the longer the
    round."""
    prompt_tokens: int = 0
    """Of the problem's prompt, counted once for each live answer."""
    min_chunk: int = 8
    """The least tokens of a round under `max_kv_tokens`; answers are dropped to make room."""
    min_tokens: int = 0
    """Of every live answer before the first is rejected by score."""

    def __post_init__(self) -> None:
        at_once("n", self.n)
        number("alpha", self.alpha, 0, 1)
        if self.alpha == 1:
            raise ConfigError("alpha is 1; it must be below, or all answers are rejected")
        whole("max_tokens", self.max_tokens)
        whole("round_tokens", self.round_tokens)
        whole("prompt_tokens", self.prompt_tokens, 0)
        whole("min_chunk", self.min_chunk)
        whole("min_tokens", self.min_tokens, 0)
        if self.max_kv_tokens is not None:
            whole("max_kv_tokens", self.max_kv_tokens, self.prompt_tokens + self.max_tokens)

    @property
    def num_first(self) -> int:
        """How many answers the first round begins."""
        if self.max_kv_tokens is None:
            return self.n
        least = max(self.min_chunk, self.min_tokens) if self.alpha else self.max_tokens
        return min(self.n, self.max_kv_tokens // (self.prompt_tokens + min(least, self.max_tokens)))

    def init(self, seed: int) -> RejectionState:
        return RejectionState(seed, Tree())

    async def step(self, state: RejectionState, tools: Tools) -> RejectionState:
        """Write a round, score what is there, reject."""
        nodes = state.live or (0,) * self.num_first
        asks = self._asks(state, nodes)
        found = await tools.propose(asks)
        pairs = zip(dict.fromkeys(nodes), asks, found, strict=True)
        children = [
            (node, self._checked(step, ask), ask.partial.then(step))
            for node, ask, steps in pairs
            for step in steps
        ]
        scores = await tools.score([partial for *_, partial in children])
        pairs_scored = zip(children, scores, strict=True)
        kept = [(node, step, score) for (node, step, _), score in pairs_scored if score is not None]
        tree, ids = state.tree.grown(kept)
        state = replace(state, tree=tree)
        ended = [node for node in ids if self._is_over(tree.partial(node))]
        live = [node for node in ids if node not in set(ended)]
        if tools.is_spent:
            going_on = {node for node, *_ in kept}
            live += [node for node in state.live if node not in going_on]
        held = sum(self.prompt_tokens + tree.partial(node).num_tokens for node in ids)
        state = replace(
            state,
            live=tuple(live),
            rivals=(*state.rivals, *ended),
            ended=(*state.ended, *ended),
            num_rounds=state.num_rounds + 1,
            num_live=(*state.num_live, len(nodes)),
            peak_kv_tokens=max(state.peak_kv_tokens, held),
        )
        return self._fitted(self._rejected(state))

    def _asks(self, state: RejectionState, nodes: Sequence[int]) -> list[Ask]:
        partials = {node: state.tree.partial(node) for node in nodes}
        chunk = self.round_tokens
        if self.max_kv_tokens is not None:
            held = sum(self.prompt_tokens + partials[node].num_tokens for node in nodes)
            chunk = (self.max_kv_tokens - held) // len(nodes)
        if not state.num_rounds:
            chunk = max(chunk, self.min_tokens)
        return [
            Ask(
                partial,
                nodes.count(node),
                is_whole=True,
                max_tokens=min(chunk, self.max_tokens - partial.num_tokens),
                seed=rng(state.seed, state.num_rounds, i).getrandbits(53),
            )
            for i, (node, partial) in enumerate(partials.items())
        ]

    def _checked(self, step: Step, ask: Ask) -> Step:
        if ask.max_tokens is not None and step.num_tokens > ask.max_tokens:
            raise SearchError(
                f"propose gave a step of {step.num_tokens} tokens; "
                f"at most {ask.max_tokens} were asked for"
            )
        if step.text and not step.num_tokens:
            raise SearchError("propose gave a text of 0 tokens; this search must know how many")
        return step

    def _is_over(self, partial: Partial) -> bool:
        is_silent = not partial.steps[-1].num_tokens
        return partial.is_finished or is_silent or partial.num_tokens >= self.max_tokens

    def _rejected(self, state: RejectionState) -> RejectionState:
        """Keep the best of those that compete; of equals the first."""
        lengths = [state.tree.partial(node).num_tokens for node in state.live]
        if any(length < self.min_tokens for length in lengths):
            return state
        pool = sorted((*state.live, *state.rivals), key=lambda node: -self._score(state, node))
        num = max(1, math.ceil((1 - self.alpha) * len(pool) - _ROUNDING))
        kept = set(pool[:num])
        return replace(
            state,
            live=tuple(node for node in state.live if node in kept),
            rivals=tuple(node for node in state.rivals if node in kept),
        )

    def _fitted(self, state: RejectionState) -> RejectionState:
        """Drop the worst live answers until the rest can go on within the budget."""
        if self.max_kv_tokens is None:
            return state
        needed = {}
        for node in state.live:
            length = state.tree.partial(node).num_tokens
            needed[node] = self.prompt_tokens + min(length + self.min_chunk, self.max_tokens)
        live = sorted(state.live, key=lambda node: -self._score(state, node))
        while sum(needed[node] for node in live) > self.max_kv_tokens:
            live.pop()
        return replace(state, live=tuple(node for node in state.live if node in set(live)))

    def _score(self, state: RejectionState, node: int) -> float:
        score = state.tree[node].score
        return -math.inf if score is None else score

    def is_done(self, state: RejectionState) -> bool:
        return state.num_rounds > 0 and not state.live

    def found(self, state: RejectionState) -> Found:
        ended = [self._candidate(state, node) for node in state.ended]
        live = [self._candidate(state, node) for node in state.live]
        finished = [each for each in ended if each.partial.is_finished]
        return Found(
            best=best(finished) or best(ended) or best(live),
            candidates=ranked([*ended, *live]),
            tree=state.tree,
            notes={
                "num_live": list(state.num_live),
                "peak_kv_tokens": state.peak_kv_tokens,
            },
        )

    def _candidate(self, state: RejectionState, node: int) -> Candidate:
        return Candidate(state.tree.partial(node), state.tree[node].score, node)

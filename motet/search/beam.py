"""Step-level beam search: extend every beam by a step, keep the best-scored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import ClassVar

from motet.search.algorithm import Found
from motet.search.lookahead import check_widths, score_ahead
from motet.search.partials import Candidate, Partial, Step
from motet.search.selection import best, ranked
from motet.search.settings import flag
from motet.search.tools import Ask, Tools
from motet.search.tree import Tree


@dataclass(frozen=True, slots=True)
class BeamState:
    tree: Tree
    beams: tuple[int, ...]
    """Nodes of the open beams; a node stands there as often as it is to be extended."""
    completed: tuple[int, ...] = ()
    num_steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """Keep the `n / width` best-scored partial solutions, and extend each of them `width` times.

    A beam that ends, or that a limit cuts, is set aside and no longer extended; the search goes on
    until none is open, and its answer is the best-scored of those that ended by themselves.

    Source: beam search of huggingface/search-and-learn (Snell et al. 2024, arXiv:2408.03314).
    Departures: the answer is the best completed beam, not the first; nothing is padded with
    copies; lookahead scores the longer text, as the paper has it and the reference does not.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"score"})

    n: int = 4
    """Proposals a step."""
    width: int = 4
    """Of which each kept beam has so many."""
    max_steps: int = 40
    """The last of them runs to the end."""
    lookahead: int = 0
    """Greedy steps further at which a partial solution is scored; none in the last step."""
    is_distinct: bool = False
    """Whether of equal partial solutions only the first is scored and kept."""
    max_tokens: int | None = None
    """Of a whole solution."""

    def __post_init__(self) -> None:
        check_widths(self)
        flag("is_distinct", self.is_distinct)

    def init(self, seed: int) -> BeamState:
        return BeamState(Tree(), (0,) * self.n)

    async def step(self, state: BeamState, tools: Tools) -> BeamState:
        """Extend, score, keep."""
        is_final = state.num_steps == self.max_steps - 1
        copies = Counter(state.beams)
        parents = [(node, state.tree.partial(node)) for node in copies]
        found = await tools.propose(
            [self._ask(partial, copies[node], is_final=is_final) for node, partial in parents]
        )
        children = [
            (node, step, partial.then(step))
            for (node, partial), steps in zip(parents, found, strict=True)
            for step in map(_ended, steps)
        ]
        if self.is_distinct:
            children = _distinct(children)
        scores = await score_ahead(
            tools,
            [partial for *_, partial in children],
            0 if is_final else self.lookahead,
            max_tokens=self.max_tokens,
        )
        scored = [
            (*child, score)
            for child, score in zip(children, scores, strict=True)
            if score is not None
        ]
        tree, ids = state.tree.grown([(node, step, score) for node, step, _, score in scored])
        ended: list[int] = []
        going: list[tuple[int, float]] = []
        for node, (*_, partial, score) in zip(ids, scored, strict=True):
            if is_final or partial.is_finished or self._is_full(partial):
                ended.append(node)
            else:
                going.append((node, score))
        return BeamState(
            tree,
            self._kept(going),
            (*state.completed, *ended),
            state.num_steps + 1,
        )

    def _ask(self, partial: Partial, n: int, *, is_final: bool) -> Ask:
        left = None if self.max_tokens is None else self.max_tokens - partial.num_tokens
        return Ask(partial, n, is_whole=is_final, max_tokens=left)

    def _is_full(self, partial: Partial) -> bool:
        return self.max_tokens is not None and partial.num_tokens >= self.max_tokens

    def _kept(self, going: list[tuple[int, float]]) -> tuple[int, ...]:
        """Return the best of `going`, each as often as it is to be extended."""
        order = sorted(going, key=lambda each: -each[1])
        kept = [node for node, _ in order[: self.n // self.width]]
        return tuple(sorted(islice(cycle(kept), self.n))) if kept else ()

    def is_done(self, state: BeamState) -> bool:
        return not state.beams

    def found(self, state: BeamState) -> Found:
        completed = [self._candidate(state, node) for node in state.completed]
        unfinished = [self._candidate(state, node) for node in dict.fromkeys(state.beams) if node]
        finished = [each for each in completed if each.partial.is_finished]
        return Found(
            best=best(finished) or best(completed) or best(unfinished),
            candidates=ranked([*completed, *unfinished]),
            tree=state.tree,
        )

    def _candidate(self, state: BeamState, node: int) -> Candidate:
        return Candidate(state.tree.partial(node), state.tree[node].score, node)


def _ended(step: Step) -> Step:
    """Return a step; one without text says that there is nothing more to say."""
    return step if step.text else replace(step, is_last=True)


def _distinct(children: list[tuple[int, Step, Partial]]) -> list[tuple[int, Step, Partial]]:
    """Return the first of each text; one that ended is not the one that goes on."""
    first: dict[tuple[str, bool], tuple[int, Step, Partial]] = {}
    for child in children:
        first.setdefault((child[2].text, child[2].is_finished), child)
    return list(first.values())

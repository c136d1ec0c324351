"""Depth-first search that drops the worst-scored steps at each branching."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from motet.search.algorithm import Found
from motet.search.mcts_tree import distinct_steps
from motet.search.partials import Candidate
from motet.search.selection import best, ranked
from motet.search.settings import at_once, number, whole
from motet.search.tools import Ask, Tools
from motet.search.tree import Tree

_MOST_CUT: Final = 32


@dataclass(frozen=True, slots=True)
class DFSState:
    tree: Tree
    open: tuple[int, ...] = (0,)
    """Nodes to go on from, the next one last."""
    completed: tuple[int, ...] = ()
    cut: tuple[int, ...] = ()
    """Where the depth limit or a failed proposal ended a path, the best so many, best first."""
    num_expansions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DFSPrune:
    """Go on from the best-scored step first; keep the better part of the steps at each node.

    Of k scored steps the best ceil((1 - prune_ratio) * k) are kept, and of those the ones whose
    score is `min_score` or more. The search ends after `num_paths` finished solutions; its answer
    is the one whose steps have the highest mean score. Where none is finished it is the best path
    that is open or was cut; where nothing is left of the first steps, the best of those.

    Source: ToT-DFS of usail-hkust/benchmark_inference_time_computation_LLM. Departures: the best
    kept step goes first (the reference's stack takes the worst), and not one more than said is
    kept; a path that the depth limit cuts is no finished solution; steps with equal texts are one;
    `max_expansions` ends a search whose paths do not end.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"score"})

    n: int = 4
    """Steps proposed at a node."""
    temperature: float | None = None
    """Of proposals; None is the proposer's own."""
    max_depth: int = 8
    prune_ratio: float = 0.4
    min_score: float | None = None
    """None keeps whatever its score."""
    num_paths: int | None = 3
    """None goes on until nothing is open."""
    max_expansions: int | None = 256
    """Nodes at which steps are proposed; None is no bound."""

    def __post_init__(self) -> None:
        at_once("n", self.n)
        if self.temperature is not None:
            number("temperature", self.temperature, 0)
        whole("max_depth", self.max_depth)
        number("prune_ratio", self.prune_ratio, 0, 1)
        if self.min_score is not None:
            number("min_score", self.min_score)
        if self.num_paths is not None:
            whole("num_paths", self.num_paths)
        if self.max_expansions is not None:
            whole("max_expansions", self.max_expansions)

    def init(self, seed: int) -> DFSState:
        return DFSState(Tree())

    async def step(self, state: DFSState, tools: Tools) -> DFSState:
        """Go on from one node."""
        node = state.open[-1]
        partial = state.tree.partial(node)
        [found] = await tools.propose([Ask(partial, self.n, temperature=self.temperature)])
        steps = distinct_steps(found)
        scores = await tools.score([partial.then(step) for step in steps])
        scored = [
            (node, step, score)
            for step, score in zip(steps, scores, strict=True)
            if score is not None
        ]
        tree, ids = state.tree.grown(scored)
        state = replace(
            state, tree=tree, open=state.open[:-1], num_expansions=state.num_expansions + 1
        )
        if not ids:
            return _cut(state, [node])
        order = sorted(ids, key=lambda child: -(tree[child].score or 0.0))
        kept = [
            child
            for child in order[: kept_count(len(order), self.prune_ratio)]
            if self.min_score is None or (tree[child].score or 0.0) >= self.min_score
        ]
        if not kept:
            return _cut(state, [node])
        ended = [child for child in kept if (last := tree[child].step) and last.is_last]
        going = [child for child in kept if child not in ended]
        if tree[node].depth + 1 >= self.max_depth:
            return _cut(replace(state, completed=(*state.completed, *ended)), going)
        return replace(
            state, completed=(*state.completed, *ended), open=(*state.open, *reversed(going))
        )

    def is_done(self, state: DFSState) -> bool:
        is_enough = self.num_paths is not None and len(state.completed) >= self.num_paths
        most = self.max_expansions
        is_over = most is not None and state.num_expansions >= most
        return is_enough or is_over or not state.open

    def found(self, state: DFSState) -> Found:
        completed = [_candidate(state.tree, node) for node in state.completed]
        if self.num_paths is not None:
            completed = completed[: self.num_paths]
        unfinished = [
            _candidate(state.tree, node) for node in (*state.cut, *reversed(state.open)) if node
        ]
        if not completed and not unfinished:
            pruned = [_candidate(state.tree, node.id) for node in state.tree if node.id]
            unfinished = list(ranked(pruned))
        return Found(
            best=best(completed) or next(iter(ranked(unfinished)), None),
            is_elected=not completed,
            candidates=ranked([*completed, *unfinished]),
            tree=state.tree,
        )


def _cut(state: DFSState, nodes: Sequence[int]) -> DFSState:
    """Set paths aside that end here, the root's excepted; the best few of them all stay known."""
    known = [*state.cut, *(node for node in nodes if node)]
    best_first = sorted(known, key=lambda node: -(_candidate(state.tree, node).score or 0.0))
    return replace(state, cut=tuple(best_first[:_MOST_CUT]))


def kept_count(num: int, prune_ratio: float) -> int:
    """Return ceil((1 - prune_ratio) * num), of the numbers as they are written."""
    return math.ceil(round((1 - prune_ratio) * num, 9))


def _candidate(tree: Tree, node: int) -> Candidate:
    """Score a path by the mean of its steps' scores."""
    scores = [tree[each].score or 0.0 for each in tree.path(node)[1:]]
    return Candidate(tree.partial(node), math.fsum(scores) / len(scores), node)

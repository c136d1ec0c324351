"""Depth-first search that drops the worst-scored steps at each branching."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from motet.search.algorithm import Found
from motet.search.mcts_tree import distinct_steps
from motet.search.partials import Candidate
from motet.search.selection import best, ranked
from motet.search.settings import number, whole
from motet.search.tools import Ask, Tools
from motet.search.tree import Tree


@dataclass(frozen=True, slots=True)
class DFSState:
    tree: Tree
    open: tuple[int, ...] = (0,)
    """Nodes to go on from, the next one last."""
    completed: tuple[int, ...] = ()
    cut: tuple[int, ...] = ()
    """Where the depth limit or a failed proposal ended a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DFSPrune:
    """Go on from the best-scored step first; keep the better part of the steps at each node.

    Of k scored steps the best ceil((1 - prune_ratio) * k) are kept, and of those the ones whose
    score is `min_score` or more. The search ends after `num_paths` finished solutions; its answer
    is the one whose steps have the highest mean score.

    Source: ToT-DFS of usail-hkust/benchmark_inference_time_computation_LLM. Departures: the best
    kept step goes first (the reference's stack takes the worst), and not one more than said is
    kept; a path that the depth limit cuts is no finished solution; steps with equal texts are one.
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

    def __post_init__(self) -> None:
        whole("n", self.n)
        whole("max_depth", self.max_depth)
        number("prune_ratio", self.prune_ratio, 0, 1)
        if self.min_score is not None:
            number("min_score", self.min_score)
        if self.num_paths is not None:
            whole("num_paths", self.num_paths)

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
        state = replace(state, tree=tree, open=state.open[:-1])
        if not ids:
            return replace(state, cut=(*state.cut, node) if node else state.cut)
        order = sorted(ids, key=lambda child: -(tree[child].score or 0.0))
        kept = [
            child
            for child in order[: kept_count(len(order), self.prune_ratio)]
            if self.min_score is None or (tree[child].score or 0.0) >= self.min_score
        ]
        if not kept:
            return replace(state, cut=(*state.cut, node) if node else state.cut)
        ended = [child for child in kept if (last := tree[child].step) and last.is_last]
        going = [child for child in kept if child not in ended]
        if tree[node].depth + 1 >= self.max_depth:
            return replace(state, completed=(*state.completed, *ended), cut=(*state.cut, *going))
        return replace(
            state, completed=(*state.completed, *ended), open=(*state.open, *reversed(going))
        )

    def is_done(self, state: DFSState) -> bool:
        is_enough = self.num_paths is not None and len(state.completed) >= self.num_paths
        return is_enough or not state.open

    def found(self, state: DFSState) -> Found:
        completed = [_candidate(state.tree, node) for node in state.completed]
        if self.num_paths is not None:
            completed = completed[: self.num_paths]
        unfinished = [
            _candidate(state.tree, node) for node in (*state.cut, *reversed(state.open)) if node
        ]
        return Found(
            best=best(completed) or best(unfinished),
            is_elected=not completed,
            candidates=ranked([*completed, *unfinished]),
            tree=state.tree,
        )


def kept_count(num: int, prune_ratio: float) -> int:
    """Return ceil((1 - prune_ratio) * num), of the numbers as they are written."""
    return math.ceil(round((1 - prune_ratio) * num, 9))


def _candidate(tree: Tree, node: int) -> Candidate:
    """Score a path by the mean of its steps' scores."""
    scores = [tree[each].score or 0.0 for each in tree.path(node)[1:]]
    return Candidate(tree.partial(node), math.fsum(scores) / len(scores), node)

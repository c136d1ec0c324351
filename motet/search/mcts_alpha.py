"""MCTS-alpha: some rollouts, then commit to the most visited step, and on from there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from motet.search.algorithm import Found, rng
from motet.search.environment import Outcome
from motet.search.mcts_state import MCTSState, counted, reach_root
from motet.search.mcts_tree import TERMINAL, MCTSTree, distinct_steps
from motet.search.partials import Candidate, Partial, Step
from motet.search.rollouts import Moves, propose_at, roll_out
from motet.search.settings import at_once, flag, number, whole
from motet.search.tools import Tools
from motet.search.uct import puct


@dataclass(frozen=True, slots=True)
class AlphaState:
    """Used up by a step, which changes its tree."""

    search: MCTSState
    committed: tuple[int, ...] = (0,)
    """The path so far."""
    num_simulations: int = 0
    """Since the last commitment."""
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MCTSAlpha:
    """Take `num_simulations` rollouts, commit to a step by its visits, and go on from there.

    A rollout descends by PUCT without a prior to a leaf, proposes `n` steps there and scores each,
    and counts the leaf's own score at every node of its path. A child where nobody
    was is worth its score. The search ends where a committed step ends the solution.

    Source: MCTS-alpha of usail-hkust/benchmark_inference_time_computation_LLM. Departures: without
    rollouts it commits by score; `is_standardised`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"score"})

    num_simulations: int = 5
    """Rollouts before each commitment; 0 is greedy by score."""
    width: int = 1
    """Of them in a step."""
    n: int = 4
    """Steps proposed at a leaf."""
    temperature: float | None = None
    """Of proposals; None is the proposer's own."""
    max_depth: int = 8
    c_init: float = 1.25
    c_base: float = 19652.0
    commit_temperature: float = 0.0
    """0 commits to the most visited step, else chance does in proportion to visits^(1 / it)."""
    is_standardised: bool = False
    """Whether siblings' values are spread over 0 to 1 before PUCT, where scores have any scale."""
    virtual_loss: float = 1.0

    def __post_init__(self) -> None:
        whole("num_simulations", self.num_simulations, 0)
        for name in ("width", "n"):
            at_once(name, getattr(self, name))
        whole("max_depth", self.max_depth)
        if self.temperature is not None:
            number("temperature", self.temperature, 0)
        flag("is_standardised", self.is_standardised)
        for name in ("c_init", "commit_temperature", "virtual_loss"):
            number(name, getattr(self, name), 0)
        number("c_base", self.c_base, 1)

    def init(self, seed: int) -> AlphaState:
        return AlphaState(MCTSState(MCTSTree(), seed))

    async def step(self, state: AlphaState, tools: Tools) -> AlphaState:
        """Take `width` rollouts, and commit where enough were taken."""
        search, tree = state.search, state.search.tree
        tree.check_turn(search.num_rollouts)
        if not tree.marks[0]:
            reach_root(tree, tools)
        if tree.marks[0] == TERMINAL:
            solved = Candidate(Partial(), 0.0, 0)
            return replace(state, search=replace(search, unfinished=solved), is_over=True)
        moves = self._moves(search, tools)
        left = self.num_simulations - state.num_simulations
        if left > 0:
            paths = await roll_out(tree, moves, tools, min(self.width, left), start=state.committed)
            search = counted(search, paths, self._returns)
        elif not tree.is_listed(node := state.committed[-1]):
            [steps] = await moves.list_steps(tree, [node])
            if steps or not tools.is_spent:
                tree.list_children(node, steps or (), moves.values(tree, node, steps or ()))
            search = counted(search, [], self._returns)
        num = state.num_simulations + search.num_rollouts - state.search.num_rollouts
        state = replace(state, search=search, num_simulations=num)
        if num < self.num_simulations or tools.is_spent:
            return state
        return self._committed(state)

    def _moves(self, search: MCTSState, tools: Tools) -> Moves:
        scored: dict[int, list[float]] = {}

        async def list_scored(tree: MCTSTree, nodes: Sequence[int]) -> list[list[Step] | None]:
            """Propose at each node, and keep what could be scored, with its score."""
            listed = await propose_at(tools, tree, nodes, self.n, self.temperature)
            distinct = [distinct_steps(steps or ()) for steps in listed]
            partials = [
                tree.partial(node).then(step)
                for node, steps in zip(nodes, distinct, strict=True)
                for step in steps
            ]
            scores = iter(await tools.score(partials))
            kept: list[list[Step] | None] = []
            for node, steps in zip(nodes, distinct, strict=True):
                pairs = [(s, score) for s in steps if (score := next(scores)) is not None]
                scored[node] = [score for _, score in pairs]
                kept.append([step for step, _ in pairs] or None)
            return kept

        async def reach(tree: MCTSTree, nodes: Sequence[int]) -> list[Outcome | None]:
            return [_outcome(tree, node) for node in nodes]

        return Moves(
            pick=self._pick,
            play=None,
            reach=reach,
            list_steps=list_scored,
            draw=lambda place: random.Random(0),
            max_depth=self.max_depth,
            virtual_loss=self.virtual_loss,
            first_values=lambda tree, node, steps: scored.get(node, []),
        )

    def _pick(self, tree: MCTSTree, node: int, draw: random.Random) -> int:
        children = tree.children(node)
        values = [tree.values[child] for child in children]
        if self.is_standardised:
            low, high = min(values), max(values)
            values = [(value - low) / (high - low) if high > low else 0.0 for value in values]
        visits = [tree.visits[child] for child in children]
        num = tree.visits[node]
        scores = puct(values, visits, num, c_init=self.c_init, c_base=self.c_base)
        return children[scores.index(max(scores))]

    def _returns(self, tree: MCTSTree, path: Sequence[int]) -> list[float]:
        return [tree.rewards[path[-1]]] * len(path)

    def _committed(self, state: AlphaState) -> AlphaState:
        """Go down to the child that visits say; to the best-scored where there was no visit."""
        tree = state.search.tree
        children = tree.children(state.committed[-1])
        if not children:
            return replace(state, is_over=True)
        most = max(tree.visits[child] for child in children)
        if self.commit_temperature and most:
            draw = rng(state.search.seed, state.search.num_rollouts)
            power = 1 / self.commit_temperature
            weights = [(tree.visits[child] / most) ** power for child in children]
            child = draw.choices(children, weights)[0]
        else:
            child = max(children, key=lambda each: (tree.visits[each], tree.values[each]))
        if not tree.is_reached(child):
            tree.reach(child, _outcome(tree, child))
        path = (*state.committed, child)
        is_over = tree.marks[child] == TERMINAL or len(path) > self.max_depth
        return replace(state, committed=path, num_simulations=0, is_over=is_over)

    def is_done(self, state: AlphaState) -> bool:
        return state.is_over

    def found(self, state: AlphaState) -> Found:
        tree, node = state.search.tree, state.committed[-1]
        candidates = state.search.candidates
        own = Candidate(tree.partial(node), tree.rewards[node], node) if node else None
        is_finished = tree.marks[node] == TERMINAL
        if is_finished and own is not None:
            candidates = (own, *(each for each in candidates if each.node != node))
        fall_back = own or state.search.unfinished
        best = candidates[0] if candidates else fall_back
        return Found(
            best=best,
            is_elected=best is own,
            candidates=candidates or ((fall_back,) if fall_back else ()),
            tree=tree.view(),
        )


def _outcome(tree: MCTSTree, node: int) -> Outcome:
    """Reward a node with the score that it was listed with."""
    step = tree.steps[node]
    return Outcome(None, tree.values[node], step is not None and step.is_last)

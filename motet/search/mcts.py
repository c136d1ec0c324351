"""Monte-Carlo tree search: rollouts go where rewards were high and where few have been."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial as bound
from itertools import accumulate
from typing import ClassVar, Final, Literal, get_args

from motet.search.algorithm import Found, rng
from motet.search.best_of_n import final_answer
from motet.search.environment import EnvironmentTools
from motet.search.mcts_answers import Weights, answer_votes
from motet.search.mcts_state import MCTSState, counted, prior_shares, priors, reach_root
from motet.search.mcts_tree import LOST, TERMINAL, MCTSTree
from motet.search.partials import Candidate, Partial, Step
from motet.search.rollouts import (
    Moves,
    actions_at,
    propose_at,
    reach_by_action,
    reach_by_score,
    roll_out,
)
from motet.search.selection import Extract
from motet.search.settings import at_once, function, number, one_of, whole
from motet.search.tools import Tools
from motet.search.uct import puct, uct

Output = Literal[
    "max_reward", "follow_max", "max_visit", "max_iter", "last_iter", "last_terminal_iter"
]
_STILL: Final = random.Random(0)
"""Nothing is drawn from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MCTS:
    """Grow a tree by rollouts, over a `Problem` or an `EnvironmentProblem`.

    A rollout descends by `rule` to a leaf, lists what goes on from there, plays on by `simulate`,
    and counts its return at each of its nodes. Over a `Problem` a node's children are `n` proposed
    steps, its reward the score of the partial solution; in an environment they are its actions,
    with its rewards. A step of the search takes `width` rollouts, whose calls are made together;
    a width of 1 is the textbook's algorithm.

    Source: MCTS of maitrix-org/llm-reasoners (Hao et al. 2023, arXiv:2305.14992); PUCT of Silver
    et al. 2018. Departures: a root that is terminal ends the search at once; `follow_max` adds up
    the whole path; steps with equal texts are one; without a finished solution the best unfinished
    one is returned; a node at the depth limit has its reward as soon as it is reached; priors
    that `sample` and PUCT take are made to sum to 1.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"score"})

    num_rollouts: int = 10
    width: int = 1
    """Rollouts in a step."""
    n: int = 4
    """Steps proposed at a node; an environment lists its own actions."""
    temperature: float | None = None
    """Of proposals; None is the proposer's own."""
    max_depth: int = 5
    rule: Literal["uct", "puct"] = "uct"
    exploration: float = 1.0
    """Of UCT; larger explores more, 0 descends greedily by value."""
    c_init: float = 1.25
    """Of PUCT."""
    c_base: float = 19652.0
    """Of PUCT."""
    unvisited: Literal["prior", "first", "zero"] = "prior"
    """A child where nobody was is worth its prior (fast reward), or goes before all others, the
    best prior first, or is worth 0."""
    simulate: Literal["max", "sample", "random", "none"] = "max"
    """How a rollout goes on past the leaf: by the greatest prior, by chance in proportion to the
    priors, by even chance, or not at all."""
    returns: Literal["sum", "mean", "last"] = "sum"
    """Of a rollout's rewards from a node on."""
    value: Literal["mean", "max"] = "mean"
    """What a node is worth: the mean of its returns, or the greatest."""
    virtual_loss: float = 1.0
    """How much less than its nodes are worth a rollout under way is taken to return."""
    output: Output = "max_reward"
    """The best return of a finished solution (`max_iter` is the same: rewards of a node stay); the
    path of greatest rewards or most visits; the last rollout, or the last that was finished."""
    aggregate: Weights | None = None
    """Let finished solutions vote for their answers instead; the winner's best is returned."""
    extract: Extract = final_answer
    """Reads answers for `aggregate`."""

    def __post_init__(self) -> None:
        for name in ("num_rollouts", "max_depth"):
            whole(name, getattr(self, name))
        for name in ("width", "n"):
            at_once(name, getattr(self, name))
        if self.temperature is not None:
            number("temperature", self.temperature, 0)
        for name in ("exploration", "c_init", "virtual_loss"):
            number(name, getattr(self, name), 0)
        number("c_base", self.c_base, 1)
        one_of("rule", self.rule, ("uct", "puct"))
        one_of("unvisited", self.unvisited, ("prior", "first", "zero"))
        one_of("simulate", self.simulate, ("max", "sample", "random", "none"))
        one_of("returns", self.returns, ("sum", "mean", "last"))
        one_of("value", self.value, ("mean", "max"))
        one_of("output", self.output, get_args(Output))
        if self.aggregate is not None:
            one_of("aggregate", self.aggregate, get_args(Weights))
        function("extract", self.extract)

    def init(self, seed: int) -> MCTSState:
        return MCTSState(MCTSTree(), seed)

    async def step(self, state: MCTSState, tools: Tools | EnvironmentTools) -> MCTSState:
        """Take `width` rollouts."""
        tree = state.tree
        tree.check_turn(state.num_rollouts)
        width = min(self.width, self.num_rollouts - state.num_rollouts)
        if not tree.marks[0]:
            reach_root(tree, tools)
        if tree.marks[0] == TERMINAL:
            return replace(state, unfinished=Candidate(Partial(), 0.0, 0), is_over=True)
        paths = await roll_out(tree, self._moves(state, tools), tools, width)
        state = counted(state, paths, self._returns, is_max=self.value == "max")
        is_over = tree.is_listed(0) and all(map(tree.is_lost, tree.children(0)))
        return replace(state, is_over=True) if is_over else state

    def _moves(self, state: MCTSState, tools: Tools | EnvironmentTools) -> Moves:
        has_chance = self.simulate in ("sample", "random")

        def draw(place: int) -> random.Random:
            return rng(state.seed, state.num_rollouts, place) if has_chance else _STILL

        if isinstance(tools, EnvironmentTools):
            reach, listed = bound(reach_by_action, tools), bound(actions_at, tools)
        else:
            reach = bound(reach_by_score, tools)
            listed = bound(propose_at, tools, n=self.n, temperature=self.temperature)
        return Moves(
            pick=self._pick,
            play=None if self.simulate == "none" else self._play,
            reach=reach,
            list_steps=listed,
            draw=draw,
            max_depth=self.max_depth,
            virtual_loss=self.virtual_loss,
            first_values=_zeros if self.unvisited == "zero" else None,
        )

    def _pick(self, tree: MCTSTree, node: int, draw: random.Random) -> int:
        first = tree.firsts[node]
        end = first + tree.counts[node]
        values, visits = tree.values[first:end], tree.visits[first:end]
        if self.unvisited == "first" and 0 in visits:
            fresh = [-math.inf if num else value for num, value in zip(visits, values, strict=True)]
            if (best := max(fresh)) > -math.inf:
                return first + fresh.index(best)
        num = tree.visits[node]
        if self.rule == "uct":
            scores = uct(values, visits, num, exploration=self.exploration)
        else:
            shares = prior_shares(tree, node)
            scores = puct(
                values, visits, num, priors=shares, c_init=self.c_init, c_base=self.c_base
            )
        best = max(scores)
        return first + scores.index(best) if best > -math.inf else -1

    def _play(self, tree: MCTSTree, node: int, draw: random.Random) -> int:
        children: Sequence[int] = tree.children(node)
        first = children[0]
        if LOST in tree.marks[first : first + len(children)]:
            children = [child for child in children if not tree.is_lost(child)]
            if not children:
                return -1
        if self.simulate == "random":
            return draw.choice(children)
        known = priors(tree, node) if self.simulate == "max" else prior_shares(tree, node)
        weights = [known[child - first] for child in children]
        if self.simulate == "max":
            return children[weights.index(max(weights))]
        return draw.choices(children, weights if any(weights) else None)[0]

    def _returns(self, tree: MCTSTree, path: Sequence[int]) -> list[float]:
        """Return what came from each node of `path` on, its last node first."""
        rewards = tree.rewards
        if self.returns == "last":
            return [rewards[path[-1]]] * len(path)
        sums = list(accumulate([rewards[node] for node in reversed(path)]))
        if self.returns == "mean":
            last = len(path) - 1
            return [value / min(i + 1, last or 1) for i, value in enumerate(sums)]
        return sums

    def is_done(self, state: MCTSState) -> bool:
        return state.is_over or state.num_rollouts >= self.num_rollouts

    def found(self, state: MCTSState) -> Found:
        finished = state.candidates
        counted: dict[str, float] = {}
        chosen: Candidate | None = None
        if self.aggregate is not None:
            counted, leaves = answer_votes(state.tree, self.extract, self.aggregate)
            if counted:
                answer = max(counted, key=lambda each: counted[each])
                chosen = max(
                    (self._candidate(state.tree, leaf) for leaf in leaves[answer]),
                    key=lambda each: each.score or 0.0,
                )
        elif self.output not in ("max_reward", "max_iter"):
            chosen = self._output(state)
        fall_back = finished[0] if finished else state.unfinished
        return Found(
            best=chosen or fall_back,
            is_elected=chosen is not None,
            candidates=finished or ((state.unfinished,) if state.unfinished else ()),
            tree=state.tree.view(),
            notes={"votes": dict(counted)} if counted else {},
        )

    def _output(self, state: MCTSState) -> Candidate | None:
        tree = state.tree
        if self.output in ("last_iter", "last_terminal_iter"):
            last = state.last if self.output == "last_iter" else state.last_terminal
            return None if last is None else Candidate(tree.partial(last[0]), last[1], last[0])
        column = tree.rewards if self.output == "follow_max" else tree.visits
        node = 0
        while visited := [child for child in tree.children(node) if tree.visits[child]]:
            node = max(visited, key=lambda child: column[child])
        return self._candidate(tree, node) if node else None

    def _candidate(self, tree: MCTSTree, node: int) -> Candidate:
        return Candidate(tree.partial(node), self._returns(tree, tree.path(node))[-1], node)


def _zeros(tree: MCTSTree, node: int, steps: Sequence[Step]) -> list[float]:
    return [0.0] * len(steps)

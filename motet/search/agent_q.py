"""Agent Q: tree search over actions that a critic ranks, and preference pairs out of the tree."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial as bound
from itertools import accumulate, pairwise
from typing import TypeAlias

from pydantic import JsonValue

from motet.errors import SearchError
from motet.search.algorithm import Found, rng
from motet.search.environment import EnvironmentProblem, EnvironmentTools, Outcome
from motet.search.mcts_state import MCTSState, counted, prior, reach_root
from motet.search.mcts_tree import TERMINAL, MCTSTree, distinct_steps
from motet.search.partials import Candidate, Partial, Step
from motet.search.rollouts import Moves, actions_at, reach_by_action, roll_out
from motet.search.settings import number, whole
from motet.search.spending import Limits, Spend
from motet.search.tools import Lost
from motet.search.tree import Tree
from motet.search.uct import uct


@dataclass(frozen=True, slots=True)
class Choice:
    """What a critic is asked: which of these actions is the best one here."""

    state: JsonValue
    actions: tuple[Step, ...]
    """In an order drawn by chance."""


Chosen: TypeAlias = str | Lost
Criticise: TypeAlias = Callable[[Sequence[Choice]], Awaitable[Sequence[Chosen]] | Sequence[Chosen]]
"""Takes a batch, returns the text of the best action of each; what is none of the texts counts as
the first action of those that are left, in the environment's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticisedProblem(EnvironmentProblem):
    """An environment with a critic; each of the critic's choices counts as a score."""

    criticise: Criticise
    choice_tokens: int = 0
    """The most tokens of one choice."""

    def tools(self, limits: Limits, spend: Spend) -> CriticisedTools:
        """Return the callables as a search sees them."""
        return CriticisedTools(self, limits, spend)


class CriticisedTools(EnvironmentTools):
    """An environment's and its critic's callables while a search runs."""

    def __init__(self, problem: CriticisedProblem, limits: Limits, spend: Spend) -> None:
        super().__init__(problem, limits, spend)
        self._criticise = problem.criticise
        self._choice_tokens = problem.choice_tokens

    async def choose(self, choices: Sequence[Choice]) -> list[str | None]:
        """Return the critic's choices; None where one failed or a limit was reached.

        Raises:
            SearchError: The critic breaks its contract.
        """
        results: list[str | None] = [None] * len(choices)
        asked = choices[: self.may_score(len(choices), tokens=self._choice_tokens)]
        if not asked:
            return results
        for place, text in enumerate(await self.call("criticise", self._criticise, asked)):
            if self.is_lost(text):
                continue
            if not isinstance(text, str):
                raise SearchError(f"criticise gave {text!r}; it must give an action's text")
            results[place] = text
        self.count(scores=len(asked))
        return results


async def rank(
    tools: CriticisedTools, choices: Sequence[Choice], draw: random.Random
) -> list[list[Step]]:
    """Return the actions of each choice with rank scores as priors, 1 / (i + 1) for the i-th best.

    The critic says which is the best, that one is taken out, and so on; the order in which it
    sees the actions is drawn anew each time. Actions with equal texts are one.
    """
    left = [distinct_steps(each.actions) for each in choices]
    ranked: list[list[Step]] = [[] for _ in choices]
    while places := [place for place, actions in enumerate(left) if actions]:
        asked = [place for place in places if len(left[place]) > 1]
        texts = await tools.choose(
            [
                Choice(choices[place].state, tuple(draw.sample(left[place], len(left[place]))))
                for place in asked
            ]
        )
        said = dict(zip(asked, texts, strict=True))
        for place in places:
            actions = left[place]
            best = next((step for step in actions if step.text == said.get(place)), actions[0])
            actions.remove(best)
            ranked[place].append(replace(best, prior=1 / (len(ranked[place]) + 1)))
    return ranked


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentQ:
    """Rollouts in an environment, where a critic's ranks guide the way to what is not tried yet.

    A child is worth `alpha` times the mean of its returns plus `1 - alpha` times its rank score;
    where nobody was, its rank score. Rollouts descend by UCT with 1 + N, and play on by rank.
    Actions must be undoable: the environment says where an action leads without taking it.

    Source: Putta et al. 2024 (Agent Q, arXiv:2408.07199), by its abstract, and
    sentient-engineering/agent-q. Departures: the answer is the finished path
    of highest return; what a critic answers is checked, and falls back to
    the first action left; it sees actions in a drawn order. `alpha` of 0.5 is ours; 1 is the mean
    of the returns alone, as the code has it.
    """

    num_rollouts: int = 10
    width: int = 1
    """Rollouts in a step."""
    max_depth: int = 6
    exploration: float = 1.0
    alpha: float = 0.5
    """The weight of returns against rank scores."""
    step_cost: float = 0.01
    """Taken off the reward of a step that does not end the world."""
    virtual_loss: float = 1.0

    def __post_init__(self) -> None:
        for name in ("num_rollouts", "width", "max_depth"):
            whole(name, getattr(self, name))
        for name in ("exploration", "step_cost", "virtual_loss"):
            number(name, getattr(self, name), 0)
        number("alpha", self.alpha, 0, 1)

    def init(self, seed: int) -> MCTSState:
        return MCTSState(MCTSTree(), seed)

    async def step(self, state: MCTSState, tools: CriticisedTools) -> MCTSState:
        """Take `width` rollouts."""
        tree = state.tree
        tree.check_turn(state.num_rollouts)
        if not tree.marks[0]:
            reach_root(tree, tools)
        if tree.marks[0] == TERMINAL:
            return replace(state, unfinished=Candidate(Partial(), 0.0, 0), is_over=True)
        draw = rng(state.seed, state.num_rollouts)
        moves = Moves(
            pick=self._pick,
            play=_best_ranked,
            reach=bound(self._reach, tools),
            list_steps=bound(self._list_steps, tools, draw),
            draw=lambda place: draw,
            max_depth=self.max_depth,
            virtual_loss=self.virtual_loss,
        )
        width = min(self.width, self.num_rollouts - state.num_rollouts)
        state = counted(state, await roll_out(tree, moves, tools, width), _sums)
        is_over = tree.is_listed(0) and all(map(tree.is_lost, tree.children(0)))
        return replace(state, is_over=True) if is_over else state

    async def _reach(
        self, tools: CriticisedTools, tree: MCTSTree, nodes: Sequence[int]
    ) -> list[Outcome | None]:
        return [
            replace(each, reward=each.reward - self.step_cost)
            if each is not None and not each.is_terminal
            else each
            for each in await reach_by_action(tools, tree, nodes)
        ]

    async def _list_steps(
        self, tools: CriticisedTools, draw: random.Random, tree: MCTSTree, nodes: Sequence[int]
    ) -> list[list[Step] | None]:
        listed = await actions_at(tools, tree, nodes)
        choices = [
            Choice(tree.worlds.get(node), tuple(steps or ()))
            for node, steps in zip(nodes, listed, strict=True)
        ]
        ranked = await rank(tools, choices, draw)
        return [
            None if steps is None else order for steps, order in zip(listed, ranked, strict=True)
        ]

    def _pick(self, tree: MCTSTree, node: int, draw: random.Random) -> int:
        children = [child for child in tree.children(node) if not tree.is_lost(child)]
        if not children:
            return -1
        visits = [tree.visits[child] for child in children]
        values = [
            mixed(
                tree.values[child] if tree.visits[child] else None, prior(tree, child), self.alpha
            )
            for child in children
        ]
        scores = uct(values, visits, tree.visits[node], exploration=self.exploration, added=1)
        return children[scores.index(max(scores))]

    def is_done(self, state: MCTSState) -> bool:
        return state.is_over or state.num_rollouts >= self.num_rollouts

    def found(self, state: MCTSState) -> Found:
        unfinished = () if state.unfinished is None else (state.unfinished,)
        candidates = state.candidates or unfinished
        return Found(
            best=candidates[0] if candidates else None,
            candidates=candidates,
            tree=state.tree.view(),
        )


def mixed(value: float | None, rank_score: float, alpha: float) -> float:
    """Blend the mean of the returns with the critic's rank score; that alone where nobody was."""
    return rank_score if value is None else alpha * value + (1 - alpha) * rank_score


def _sums(tree: MCTSTree, path: Sequence[int]) -> list[float]:
    return list(accumulate(tree.rewards[node] for node in reversed(path)))


def _best_ranked(tree: MCTSTree, node: int, draw: random.Random) -> int:
    children = [child for child in tree.children(node) if not tree.is_lost(child)]
    return max(children, key=lambda child: prior(tree, child), default=-1)


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two actions after the same ones, of which the first is preferred."""

    before: Partial
    chosen: Step
    rejected: Step
    gap: float
    """How much more `chosen` is worth."""


def preference_pairs(
    tree: Tree, best: int, *, alpha: float = 0.5, min_gap: float | None = None
) -> list[PreferencePair]:
    """Return pairs for training: each step of the best path against each of its siblings.

    Args:
        tree: The tree of a search by `AgentQ`.
        best: Where its best path ends: `result.best.node`.
        alpha: The search's.
        min_gap: Keep a pair only where its two differ by more; None keeps all.
    """
    children = tree.children()
    path = tree.path(best)
    pairs = []
    for parent, node in pairwise(path):
        chosen = tree[node].step
        for sibling in children[parent]:
            rejected = tree[sibling].step
            if chosen is None or rejected is None or chosen.text == rejected.text:
                continue
            gap = _worth(tree, node, alpha) - _worth(tree, sibling, alpha)
            if min_gap is None or abs(gap) > min_gap:
                pairs.append(PreferencePair(tree.partial(parent), chosen, rejected, gap))
    return pairs


def _worth(tree: Tree, node: int, alpha: float) -> float:
    step = tree[node].step
    rank_score = 0.0 if step is None or step.prior is None else step.prior
    return mixed(tree[node].value, rank_score, alpha)

"""What a Monte-Carlo search knows between two steps, and how rollouts change it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from motet.errors import SearchError
from motet.search.environment import EnvironmentTools, Outcome
from motet.search.mcts_tree import TERMINAL, MCTSTree
from motet.search.partials import Candidate, Partial
from motet.search.settings import called
from motet.search.tools import Tools

_MAX_CANDIDATES: Final = 16
Returns: TypeAlias = Callable[[MCTSTree, Sequence[int]], list[float]]
"""What came from each node of a path on, its last node first."""


@dataclass(frozen=True, slots=True)
class MCTSState:
    """Used up by a step, which changes its tree; written and read back it can be stepped again."""

    tree: MCTSTree
    seed: int
    num_rollouts: int = 0
    candidates: tuple[Candidate, ...] = ()
    """The best finished solutions so far, best first; the score is the return from the root."""
    unfinished: Candidate | None = None
    """The best rollout that did not end a solution, while none has."""
    last: tuple[int, float] | None = None
    """Where the last rollout ended, and its return."""
    last_terminal: tuple[int, float] | None = None
    is_over: bool = False
    """Whether there is nowhere to go."""


def reach_root(tree: MCTSTree, tools: Tools | EnvironmentTools) -> None:
    """Put the start at the root."""
    if isinstance(tools, EnvironmentTools):
        tree.reach(0, Outcome(tools.start, is_terminal=tools.is_over(tools.start)))
    else:
        is_terminal = tools._problem.is_terminal
        is_over = is_terminal is not None and called("is_terminal", is_terminal, Partial())
        tree.reach(0, Outcome(None, is_terminal=is_over))


def counted(
    state: MCTSState, paths: Sequence[Sequence[int]], returns: Returns, *, is_max: bool = False
) -> MCTSState:
    """Back up the rollouts that took `paths`, and return the state after them."""
    tree = state.tree
    tree.turn = state.num_rollouts + max(len(paths), 1)
    for path in paths:
        values = returns(tree, path)
        tree.back_up(path, values, is_max=is_max)
        state = _noted(state, path[-1], values[-1], tree.turn)
    return state if paths else replace(state, num_rollouts=tree.turn)


def _noted(state: MCTSState, leaf: int, value: float, turn: int) -> MCTSState:
    """Return the state with what a rollout's end says of the best and the last."""
    is_new = state.tree.visits[leaf] == 1
    tree, candidates, unfinished = state.tree, state.candidates, state.unfinished
    is_terminal = tree.marks[leaf] == TERMINAL
    if is_terminal:
        unfinished = None
        worst = candidates[-1].score if len(candidates) >= _MAX_CANDIDATES else None
        if is_new and (worst is None or value > worst):
            new = Candidate(tree.partial(leaf), value, leaf)
            order = sorted((*candidates, new), key=lambda each: -(each.score or 0.0))
            candidates = tuple(order[:_MAX_CANDIDATES])
    elif leaf and not candidates and (unfinished is None or value > (unfinished.score or 0.0)):
        unfinished = Candidate(tree.partial(leaf), value, leaf)
    last = (leaf, value)
    last_terminal = last if is_terminal else state.last_terminal
    return MCTSState(tree, state.seed, turn, candidates, unfinished, last, last_terminal)


def prior(tree: MCTSTree, child: int) -> float:
    """Return the prior of the step to `child`, 0 where it has none."""
    step = tree.steps[child]
    return 0.0 if step is None or step.prior is None else step.prior


def priors(tree: MCTSTree, node: int) -> list[float]:
    """Return the priors of the children of `node`."""
    first = tree.firsts[node]
    steps = tree.steps[first : first + tree.counts[node]]
    return [step.prior or 0.0 for step in steps if step is not None]


def prior_shares(tree: MCTSTree, node: int) -> list[float]:
    """Return the priors of the children of `node`, made to sum to 1; even ones where there is none.

    Raises:
        SearchError: A prior is negative.
    """
    known = priors(tree, node)
    if min(known) < 0:
        raise SearchError(f"the priors of the steps are {known}; as shares they must not be < 0")
    total = sum(known)
    return [each / total if total else 1 / len(known) for each in known]

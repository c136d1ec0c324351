"""rStar: tree search over human-like actions, then a check by a second model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial as bound
from typing import Any, Literal

from motet.errors import ConfigError
from motet.search.algorithm import Found, rng
from motet.search.environment import Outcome
from motet.search.mcts_state import MCTSState, counted
from motet.search.mcts_tree import TERMINAL, MCTSTree
from motet.search.mutual_check import agreed_with
from motet.search.partials import Candidate, Partial, Step
from motet.search.rollouts import Moves, roll_out
from motet.search.rstar_problem import ACTIONS, LEGAL, Action, Move, RStarTools
from motet.search.settings import number, one_of, whole
from motet.search.uct import uct


@dataclass(frozen=True, slots=True)
class Trace:
    """A finished solution."""

    node: int
    group: int
    """Traces of one answer have the same."""
    is_agreed: bool = False
    """Whether the second model came to the same answer."""


@dataclass(frozen=True, slots=True)
class RStarState:
    """Used up by a step, which changes its tree."""

    search: MCTSState
    traces: tuple[Trace, ...] = ()
    is_checked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RStar:
    """Roll out over the actions A1 to A5, then keep what a second model agrees with.

    A rollout goes to a child where nobody was, chosen by chance, or else by UCT; past the leaf it
    goes on by chance. All legal actions are generated at each node on the way. A solution that
    ends is rewarded with the confidence in its answer: the share of votes for it.

    Then parts of each solution's end are hidden, and the second model completes what is left. A
    solution is kept where enough completions come to its answer; the answer with the most reward
    among the kept ones wins, among all where none is kept.

    Source: Qi et al. 2024 (rStar, arXiv:2408.06195), zhentingqi/rStar. Departures: beyond A5 at
    the root only and A4 after A3 the table of legal actions is ours, and so is `min_agreement`;
    where a solution has one step its words are hidden, not its steps.
    """

    num_rollouts: int = 15
    width: int = 1
    """Rollouts in a step."""
    max_depth: int = 5
    n: int = 1
    """Generated for each of A1, A3, A4 and A5 at a node."""
    num_votes: int = 10
    """Direct answers generated for A2; the most frequent one becomes the child."""
    actions: tuple[Action, ...] = ACTIONS
    exploration: float = 2.0
    schedule: Literal["const", "exp", "lin"] = "const"
    """Whether exploration falls to a tenth from the first rollout to the last, and how."""
    num_masked: int = 4
    """Completions for a solution."""
    min_masked: float = 0.2
    """Least share of a solution that is hidden."""
    max_masked: float = 0.5
    min_agreement: float = 0.5
    """Least share of the completions that must agree."""
    criterion: Literal["reward", "freq"] = "reward"
    """What a solution weighs in the vote: its reward, or 1."""
    accept: float = 0.999
    """An answer with this share of the vote is taken without a check."""
    virtual_loss: float = 1.0

    def __post_init__(self) -> None:
        for name in ("num_rollouts", "width", "max_depth", "n", "num_votes", "num_masked"):
            whole(name, getattr(self, name))
        for each in self.actions:
            one_of("actions", each, ACTIONS)
        if not set(self.actions) & set(LEGAL[None]):
            raise ConfigError(f"actions is {self.actions!r}; none of them may come first")
        number("exploration", self.exploration, 0)
        number("virtual_loss", self.virtual_loss, 0)
        one_of("schedule", self.schedule, ("const", "exp", "lin"))
        one_of("criterion", self.criterion, ("reward", "freq"))
        number("max_masked", self.max_masked, 0, 1)
        number("min_masked", self.min_masked, 0, self.max_masked)
        number("min_agreement", self.min_agreement, 0, 1)
        number("accept", self.accept, 0)

    def init(self, seed: int) -> RStarState:
        return RStarState(MCTSState(MCTSTree(), seed))

    async def step(self, state: RStarState, tools: RStarTools) -> RStarState:
        """Take `width` rollouts, or have the solutions checked."""
        search = state.search
        search.tree.check_turn(search.num_rollouts)
        if not self._is_grown(search):
            return await self._rolled_out(state, tools)
        return await self._checked(state, tools)

    def _is_grown(self, search: MCTSState) -> bool:
        return search.is_over or search.num_rollouts >= self.num_rollouts

    async def _rolled_out(self, state: RStarState, tools: RStarTools) -> RStarState:
        search, tree = state.search, state.search.tree
        if not tree.marks[0]:
            tree.reach(0, Outcome(None))
        weight = exploration_at(
            self.exploration, self.schedule, search.num_rollouts, self.num_rollouts
        )
        moves = Moves(
            pick=bound(_pick, weight),
            play=_play,
            reach=bound(self._reach, tools),
            list_steps=bound(self._list_steps, tools),
            draw=lambda place: rng(search.seed, search.num_rollouts, place),
            max_depth=self.max_depth,
            virtual_loss=self.virtual_loss,
        )
        width = min(self.width, self.num_rollouts - search.num_rollouts)
        paths = await roll_out(tree, moves, tools, width)
        search = counted(search, paths, _leaf_rewards)
        if tree.is_listed(0) and all(map(tree.is_lost, tree.children(0))):
            search = replace(search, is_over=True)
        known = {trace.node for trace in state.traces}
        new = sorted({p[-1] for p in paths if tree.marks[p[-1]] == TERMINAL} - known)
        traces = state.traces
        for node in new:
            traces = self._with_trace(tree, traces, node, tools)
        return replace(state, search=search, traces=traces)

    def _with_trace(
        self, tree: MCTSTree, traces: tuple[Trace, ...], node: int, tools: RStarTools
    ) -> tuple[Trace, ...]:
        answer = tools.answer(tree.partial(node).text)
        if answer is None:
            return traces
        for other in traces:
            if tools.is_same(tools.answer(tree.partial(other.node).text), answer):
                return (*traces, Trace(node, other.group))
        return (*traces, Trace(node, node))

    async def _list_steps(
        self, tools: RStarTools, tree: MCTSTree, nodes: Sequence[int]
    ) -> list[list[Step] | None]:
        """Generate what every legal action gives at each node; note the actions at the node."""
        moves = [
            (node, Move(tree.partial(node), action, self.num_votes if action == "A2" else self.n))
            for node in nodes
            for action in LEGAL[action_of(tree, node)]
            if action in self.actions
        ]
        found: dict[int, dict[str, tuple[Step, Action]]] = {node: {} for node in nodes}
        results = await tools.propose([move for _, move in moves])
        for (node, move), steps in zip(moves, results, strict=True):
            kept = _direct(move.partial, steps, tools) if move.action == "A2" else steps
            for step in kept:
                found[node].setdefault(step.text, (step, move.action))
        for node in nodes:
            tree.worlds[node] = [action for _, action in found[node].values()]
        return [[step for step, _ in found[node].values()] or None for node in nodes]

    async def _reach(
        self, tools: RStarTools, tree: MCTSTree, nodes: Sequence[int]
    ) -> list[Outcome | None]:
        """Reward solutions that ended with the confidence in them; ask for votes where it lacks."""
        partials = {node: tree.partial(node) for node in nodes}
        lacking = [
            node
            for node, partial in partials.items()
            if partial.is_finished and partial.steps[-1].prior is None
        ]
        before = [Partial(partials[node].steps[:-1]) for node in lacking]
        found = await tools.propose([Move(each, "A2", self.num_votes) for each in before])
        shares = {
            node: _share(tools, tools.answer(partials[node].text), partial, steps)
            for node, partial, steps in zip(lacking, before, found, strict=True)
        }
        outcomes: list[Outcome | None] = []
        for node, partial in partials.items():
            if not partial.is_finished:
                outcomes.append(Outcome(None))
                continue
            share = shares.get(node, partial.steps[-1].prior)
            outcomes.append(None if share is None else Outcome(None, share, is_terminal=True))
        return outcomes

    async def _checked(self, state: RStarState, tools: RStarTools) -> RStarState:
        """Let the second model complete all traces with hidden ends, in one batch."""
        search = state.search
        groups = self._groups(state.traces, search.tree)
        total = sum(groups.values())
        is_clear = bool(total) and max(groups.values()) >= self.accept * total
        if not tools.has_checker or not state.traces or is_clear:
            return replace(state, is_checked=True)
        agreed = await agreed_with(
            tools,
            [search.tree.partial(trace.node) for trace in state.traces],
            [rng(search.seed, -1, trace.node) for trace in state.traces],
            num_masked=self.num_masked,
            shares=(self.min_masked, self.max_masked),
            min_agreement=self.min_agreement,
        )
        traces = tuple(
            replace(trace, is_agreed=each) for trace, each in zip(state.traces, agreed, strict=True)
        )
        return replace(state, traces=traces, is_checked=True)

    def _groups(self, traces: Sequence[Trace], tree: MCTSTree) -> dict[int, float]:
        """Return what the traces of each answer weigh together."""
        groups: dict[int, float] = {}
        for trace in traces:
            weight = tree.rewards[trace.node] if self.criterion == "reward" else 1.0
            groups[trace.group] = groups.get(trace.group, 0.0) + weight
        return groups

    def is_done(self, state: RStarState) -> bool:
        return state.is_checked

    def found(self, state: RStarState) -> Found:
        tree = state.search.tree
        kept = [trace for trace in state.traces if trace.is_agreed] or state.traces
        groups = self._groups(kept, tree)
        view = tree.view()
        if not groups:
            best = state.search.unfinished
            return Found(best=best, candidates=(best,) if best else (), tree=view)
        winner = max(groups, key=lambda group: groups[group])
        candidates = tuple(
            Candidate(tree.partial(trace.node), tree.rewards[trace.node], trace.node)
            for trace in sorted(
                state.traces,
                key=lambda each: (each not in kept, each.group != winner, -tree.rewards[each.node]),
            )
        )
        return Found(
            best=candidates[0],
            is_elected=True,
            candidates=candidates,
            tree=view,
            notes={
                "confidence": groups[winner] / len(kept),
                "num_agreed": sum(trace.is_agreed for trace in state.traces),
            },
        )


def exploration_at(start: float, schedule: str, rollout: int, num_rollouts: int) -> float:
    """Return the weight of exploration at a rollout; it ends at a tenth unless `const`."""
    done = rollout / num_rollouts
    if schedule == "exp":
        return float(start * 0.1**done)
    return start * (1 - 0.9 * done) if schedule == "lin" else start


def action_of(tree: MCTSTree, node: int) -> Action | None:
    """Return the action that led to `node`; None at the root."""
    if not node:
        return None
    parent = tree.parents[node]
    actions: Any = tree.worlds[parent]
    action: Action = actions[node - tree.firsts[parent]]
    return action


def _direct(partial: Partial, steps: Sequence[Step], tools: RStarTools) -> list[Step]:
    """Return the first of the direct answers that agree with most, with their share as prior."""
    answers = [tools.answer(partial.then(step).text) for step in steps]
    votes = [sum(tools.is_same(own, other) for other in answers) for own in answers]
    if not any(votes):
        return []
    place = votes.index(max(votes))
    return [replace(steps[place], is_last=True, prior=votes[place] / len(steps))]


def _share(
    tools: RStarTools, answer: str | None, partial: Partial, steps: Sequence[Step]
) -> float | None:
    """Return the share of `steps` behind `partial` that come to `answer`; None where there is none."""
    same = [tools.is_same(tools.answer(partial.then(step).text), answer) for step in steps]
    return sum(same) / len(same) if same else None


def _pick(weight: float, tree: MCTSTree, node: int, draw: random.Random) -> int:
    children = [child for child in tree.children(node) if not tree.is_lost(child)]
    if fresh := [child for child in children if not tree.visits[child]]:
        return draw.choice(fresh)
    if not children:
        return -1
    values = [tree.values[child] for child in children]
    visits = [tree.visits[child] for child in children]
    scores = uct(values, visits, tree.visits[node], exploration=weight)
    return children[scores.index(max(scores))]


def _play(tree: MCTSTree, node: int, draw: random.Random) -> int:
    children = [child for child in tree.children(node) if not tree.is_lost(child)]
    return draw.choice(children) if children else -1


def _leaf_rewards(tree: MCTSTree, path: Sequence[int]) -> list[float]:
    """A rollout returns what its leaf is worth, 0 where it did not come to an end."""
    return [tree.rewards[path[-1]]] * len(path)

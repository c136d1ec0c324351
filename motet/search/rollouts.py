"""Rollouts through a tree: descend, go on past the leaf, all of a step in one batch."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from motet.search.algorithm import Metered
from motet.search.environment import EnvironmentTools, Outcome
from motet.search.mcts_tree import LOST, TERMINAL, MCTSTree
from motet.search.partials import Step
from motet.search.tools import Ask, Tools

Pick: TypeAlias = Callable[[MCTSTree, int, random.Random], int]
"""Chooses a child of a node that has some; -1 where none can be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """How rollouts go through a tree."""

    pick: Pick
    """Down to the leaf."""
    play: Pick | None
    """Past the leaf; None ends a rollout there."""
    reach: Callable[[MCTSTree, Sequence[int]], Awaitable[Sequence[Outcome | None]]]
    """Says where the steps to these nodes led; None where that failed."""
    list_steps: Callable[[MCTSTree, Sequence[int]], Awaitable[Sequence[Sequence[Step] | None]]]
    """Says which steps go on from these nodes; None where that failed."""
    draw: Callable[[int], random.Random]
    """Returns the generator of a rollout, by its number in the batch."""
    max_depth: int
    virtual_loss: float = 1.0
    first_values: Callable[[MCTSTree, int, Sequence[Step]], Sequence[float]] | None = None
    """What new children are worth; None is their priors."""

    def values(self, tree: MCTSTree, node: int, steps: Sequence[Step]) -> Sequence[float] | None:
        """Return what the new children of `node` are worth; None is their priors."""
        return None if self.first_values is None else self.first_values(tree, node, steps)


async def roll_out(
    tree: MCTSTree, moves: Moves, tools: Metered, width: int, *, start: Sequence[int] = (0,)
) -> list[list[int]]:
    """Take up to `width` rollouts from the end of the path `start`; return the paths they took.

    They are selected together: one under way counts as a visit that returns `virtual_loss` less
    than its nodes are worth, and one that comes to the unknown leaf of another is dropped. Where
    a step failed, the rollout ends at the node before if that is new, or is dropped.
    """
    if width == 1:
        draw = moves.draw(0)
        return await _roll_out_one(tree, moves, tools, _descend(tree, moves, draw, start), draw)
    draws = [moves.draw(place) for place in range(width)]
    going = list(zip(draws, select(tree, moves, draws, start), strict=False))
    done: list[list[int]] = []
    while going:
        unknown = dict.fromkeys([path[-1] for _, path in going if not tree.marks[path[-1]]])
        if unknown:
            nodes = list(unknown)
            for node, outcome in zip(nodes, await moves.reach(tree, nodes), strict=True):
                if outcome is not None:
                    tree.reach(node, outcome)
                elif not tools.is_spent:
                    tree.lose(node)
        going, failed = [], going
        for draw, path in failed:
            if tree.is_reached(path[-1]):
                going.append((draw, path))
            elif len(path) > 1 and not tree.visits[path[-2]]:
                done.append(path[:-1])
        open_nodes = dict.fromkeys(
            [
                path[-1]
                for _, path in going
                if not tree.firsts[path[-1]] and not _is_end(tree, path, moves)
            ]
        )
        if open_nodes:
            await _list_all(tree, moves, tools, list(open_nodes))
        onward = []
        for draw, path in going:
            child = -1
            if moves.play is not None and tree.counts[path[-1]] and len(path) <= moves.max_depth:
                child = moves.play(tree, path[-1], draw)
            if child < 0:
                done.append(path)
            else:
                path.append(child)
                onward.append((draw, path))
        going = onward
    return done


async def _roll_out_one(
    tree: MCTSTree, moves: Moves, tools: Metered, path: list[int], draw: random.Random
) -> list[list[int]]:
    """Go on from the end of `path` as `roll_out` does, without the sets that part several."""
    marks, counts, play, max_depth = tree.marks, tree.counts, moves.play, moves.max_depth
    node = path[-1]
    while True:
        if not marks[node]:
            [outcome] = await moves.reach(tree, [node])
            if outcome is not None:
                tree.reach(node, outcome)
            elif not tools.is_spent:
                tree.lose(node)
        if not 0 < marks[node] < LOST:
            return [path[:-1]] if len(path) > 1 and not tree.visits[path[-2]] else []
        is_deep = len(path) > max_depth
        if not tree.firsts[node] and not is_deep and marks[node] != TERMINAL:
            await _list_all(tree, moves, tools, [node])
        if play is None or is_deep or not counts[node]:
            return [path]
        node = play(tree, node, draw)
        if node < 0:
            return [path]
        path.append(node)


def _is_end(tree: MCTSTree, path: Sequence[int], moves: Moves) -> bool:
    return tree.marks[path[-1]] == TERMINAL or len(path) > moves.max_depth


async def _list_all(tree: MCTSTree, moves: Moves, tools: Metered, nodes: list[int]) -> None:
    for node, steps in zip(nodes, await moves.list_steps(tree, nodes), strict=True):
        if steps is None and tools.is_spent:
            continue
        found = steps or ()
        tree.list_children(node, found, moves.values(tree, node, found))


def select(
    tree: MCTSTree, moves: Moves, draws: Sequence[random.Random], start: Sequence[int]
) -> list[list[int]]:
    """Return a path for each of `draws`, each to another leaf unless the leaf is known."""
    if len(draws) == 1:
        return [_descend(tree, moves, draws[0], start)]
    held: dict[int, tuple[int, float]] = {}
    paths, leaves = [], set()
    for draw in draws:
        path = _descend(tree, moves, draw, start)
        for node in path:
            visits, value = held.setdefault(node, (tree.visits[node], tree.values[node]))
            tree.visits[node] += 1
            under_way = tree.visits[node] - visits
            tree.values[node] = value - moves.virtual_loss * under_way / tree.visits[node]
        leaf = path[-1]
        if leaf not in leaves or (tree.marks[leaf] and _is_end(tree, path, moves)):
            paths.append(path)
        leaves.add(leaf)
    for node, (visits, value) in held.items():
        tree.visits[node], tree.values[node] = visits, value
    return paths


def _descend(tree: MCTSTree, moves: Moves, draw: random.Random, start: Sequence[int]) -> list[int]:
    path = list(start)
    node = path[-1]
    while tree.counts[node] and len(path) <= moves.max_depth:
        node = moves.pick(tree, node, draw)
        if node < 0:
            break
        path.append(node)
    return path


async def reach_by_score(
    tools: Tools, tree: MCTSTree, nodes: Sequence[int]
) -> list[Outcome | None]:
    """Reward partial solutions with their scores; one ends where its last step says so."""
    partials = [tree.partial(node) for node in nodes]
    return [
        None if score is None else Outcome(None, score, partial.is_finished)
        for partial, score in zip(partials, await tools.score(partials), strict=True)
    ]


async def propose_at(
    tools: Tools, tree: MCTSTree, nodes: Sequence[int], n: int, temperature: float | None
) -> list[list[Step] | None]:
    """Propose `n` steps behind each node; None where there is none."""
    asks = [Ask(tree.partial(node), n, temperature=temperature) for node in nodes]
    return [steps or None for steps in await tools.propose(asks)]


async def reach_by_action(
    tools: EnvironmentTools, tree: MCTSTree, nodes: Sequence[int]
) -> list[Outcome | None]:
    """Take the actions that lead to `nodes`."""
    pairs = [
        (tree.worlds.get(tree.parents[node]), step)
        for node in nodes
        if (step := tree.steps[node]) is not None
    ]
    return await tools.advance(pairs)


async def actions_at(
    tools: EnvironmentTools, tree: MCTSTree, nodes: Sequence[int]
) -> list[list[Step] | None]:
    """List the actions that the environment has at each node."""
    return await tools.list_actions([tree.worlds.get(node) for node in nodes])

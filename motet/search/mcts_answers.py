"""Votes for answers over a whole tree."""

from __future__ import annotations

from typing import Literal

from motet.search.mcts_tree import TERMINAL, MCTSTree
from motet.search.selection import Extract, answer_of

Weights = Literal["edge", "edge_inverse_depth", "uniform"]


def answer_votes(
    tree: MCTSTree, extract: Extract, weights: Weights
) -> tuple[dict[str, float], dict[str, list[int]]]:
    """Return each answer's votes, and the terminal nodes that gave it.

    A terminal node votes for its answer with its reward (`edge`), its reward by its depth
    (`edge_inverse_depth`) or 1 (`uniform`). With the first two every inner node votes too, once
    for each answer below it, with its own reward, for the second by the mean depth of the terminal
    nodes below it that gave this answer.

    Source: MCTSAggregation of maitrix-org/llm-reasoners.
    """
    votes: dict[str, float] = {}
    leaves: dict[str, list[int]] = {}
    below: dict[int, dict[str, tuple[int, int]]] = {}
    for node in range(len(tree) - 1, 0, -1):
        reward, parent = tree.rewards[node], tree.parents[node]
        held: dict[str, tuple[int, int]] = below.pop(node, {})
        if tree.marks[node] == TERMINAL:
            answer = answer_of(tree.partial(node).text, extract)
            if answer is None:
                continue
            held = {answer: (len(tree.path(node)) - 1, 1)}
            leaves.setdefault(answer, []).insert(0, node)
            if weights == "uniform":
                votes[answer] = votes.get(answer, 0.0) + 1.0
        for answer, (depths, num) in held.items():
            if weights != "uniform":
                weight = reward if weights == "edge" else reward * num / depths
                votes[answer] = votes.get(answer, 0.0) + weight
            total, count = below.setdefault(parent, {}).get(answer, (0, 0))
            below[parent][answer] = (total + depths, count + num)
    order = sorted(leaves, key=lambda answer: leaves[answer][0])
    return {answer: votes[answer] for answer in order}, leaves

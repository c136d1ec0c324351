"""Votes for answers over a tree."""

import pytest

from motet.search.environment import Outcome
from motet.search.mcts_answers import answer_votes
from motet.search.mcts_tree import MCTSTree
from motet.search.partials import Step


def grown() -> MCTSTree:
    """Root -> p (.5) -> x (1), y (2); root -> x (.25); root -> q, unreached."""
    tree = MCTSTree()
    tree.reach(0, Outcome("start"))
    tree.list_children(0, [Step("p"), Step("x"), Step("q")])
    tree.reach(1, Outcome("p", 0.5))
    tree.reach(2, Outcome("x", 0.25, is_terminal=True))
    tree.list_children(1, [Step("x"), Step("y"), Step("none")])
    tree.reach(4, Outcome("px", 1.0, is_terminal=True))
    tree.reach(5, Outcome("py", 2.0, is_terminal=True))
    tree.reach(6, Outcome("pn", 9.0, is_terminal=True))
    return tree


def last_letter(text: str) -> str | None:
    return None if text.endswith("none") else text[-1]


@pytest.mark.parametrize(
    ("weights", "votes"),
    [
        ("edge", {"x": 0.25 + 1.0 + 0.5, "y": 2.0 + 0.5}),
        ("edge_inverse_depth", {"x": 0.25 + 0.5 + 0.25, "y": 1.0 + 0.25}),
        ("uniform", {"x": 2.0, "y": 1.0}),
    ],
)
def test_votes_are_as_defined(weights, votes):
    """Ends vote for their answers, inner nodes once for each answer below; no answer has no vote."""
    counted, leaves = answer_votes(grown(), last_letter, weights)

    assert counted == pytest.approx(votes)
    assert leaves == {"x": [2, 4], "y": [5]}


def test_an_inner_node_votes_once_for_an_answer():
    """Two ends of one answer below it do not double its own reward; their depths are averaged."""
    tree = MCTSTree()
    tree.reach(0, Outcome("start"))
    tree.list_children(0, [Step("p")])
    tree.reach(1, Outcome("p", 0.6))
    tree.list_children(1, [Step("ax"), Step("m")])
    tree.reach(2, Outcome("", 0.0, is_terminal=True))
    tree.reach(3, Outcome("", 0.0))
    tree.list_children(3, [Step("x"), Step("n")])
    tree.reach(4, Outcome("", 0.0, is_terminal=True))

    assert answer_votes(tree, last_letter, "edge")[0] == pytest.approx({"x": 0.6})
    depths = answer_votes(tree, last_letter, "edge_inverse_depth")[0]
    assert depths == pytest.approx({"x": 0.6 / 2.5})

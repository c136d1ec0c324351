"""The columns of a Monte-Carlo tree."""

import json
import math
import tracemalloc

import pytest
from pydantic import TypeAdapter, ValidationError

from motet.errors import SearchError
from motet.search.environment import Outcome
from motet.search.mcts_tree import MCTSTree
from motet.search.partials import Step


def tree_of(*texts: str) -> MCTSTree:
    tree = MCTSTree()
    tree.reach(0, Outcome("start"))
    tree.list_children(0, [Step(text, prior=i / 10) for i, text in enumerate(texts)])
    return tree


def test_equal_texts_are_one_child_the_first():
    """A proposer without temperature repeats itself."""
    tree = MCTSTree()

    tree.list_children(0, [Step("a", prior=0.1), Step("b"), Step("a", prior=0.9)])

    assert [(tree.steps[c].text, tree.values[c]) for c in tree.children(0)] == [
        ("a", 0.1),
        ("b", 0.0),
    ]


def test_a_node_without_children_is_listed_all_the_same():
    """It is not asked for again."""
    tree = MCTSTree()

    tree.list_children(0, [])

    assert tree.is_listed(0)
    assert list(tree.children(0)) == []


@pytest.mark.parametrize("prior", [math.nan, math.inf])
def test_a_prior_that_is_no_number_is_refused(prior):
    """It would poison every choice after it."""
    with pytest.raises(SearchError, match="finite"):
        MCTSTree().list_children(0, [Step("a", prior=prior)])


def test_backing_up_means_and_maxima():
    """A node is worth the mean of its returns, or the greatest."""
    mean, most = tree_of("a"), tree_of("a")

    for value in (1.0, 0.0, 1.0):
        mean.back_up([0, 1], [value, value], is_max=False)
        most.back_up([0, 1], [-1 - value, -1 - value], is_max=True)

    assert mean.values[1] == pytest.approx(2 / 3)
    assert (most.values[1], most.visits[1]) == (-1.0, 3)


def test_a_tree_reads_back_as_it_was_written():
    """Also a node that cannot be reached, and worlds."""
    tree = tree_of("a", "b", "c")
    tree.reach(1, Outcome({"at": [1]}, 0.1 + 0.2))
    tree.reach(2, Outcome("end", 1.0, is_terminal=True))
    tree.lose(3)
    tree.list_children(1, [Step("d")])
    tree.back_up([0, 1], [0.3, 0.3], is_max=False)
    tree.turn = 5
    adapter = TypeAdapter(MCTSTree)

    read = adapter.validate_python(json.loads(json.dumps(adapter.dump_python(tree, mode="json"))))

    assert read == tree
    assert read.is_lost(3)
    assert read.steps[2].is_last


@pytest.mark.parametrize(
    "damage",
    [
        {"parents": [-1, 0, 1]},
        {"visits": [0]},
        {"firsts": [0, 1, 0]},
        {"counts": [1, 0, 0]},
        {"steps": [], "parents": []},
    ],
)
def test_damaged_columns_are_refused(damage):
    """Columns that are no tree do not become one."""
    adapter = TypeAdapter(MCTSTree)
    data = adapter.dump_python(tree_of("a", "b"), mode="json") | damage

    with pytest.raises(ValidationError):
        adapter.validate_python(data)


def test_trees_differ_where_a_figure_does():
    """Equality looks at every column."""
    one, other = tree_of("a"), tree_of("a")
    assert one == other

    other.back_up([0], [0.5], is_max=False)

    assert one != other


def test_a_state_of_an_earlier_turn_is_refused():
    """Its tree has gone on; the message says what to do."""
    tree = tree_of("a")
    tree.turn = 2

    with pytest.raises(SearchError, match="turn 1.*turn 2.*write"):
        tree.check_turn(1)


def test_the_view_shows_the_tree():
    """Ids, parents, rewards, visits and means are those of the columns."""
    tree = tree_of("a", "b")
    tree.reach(2, Outcome("x", 0.5))
    tree.list_children(2, [Step("c")])
    tree.back_up([0, 2], [0.5, 0.5], is_max=False)

    view = tree.view()

    assert [(node.parent, node.depth, node.visits) for node in view] == [
        (None, 0, 1),
        (0, 1, 0),
        (0, 1, 1),
        (2, 2, 0),
    ]
    assert (view[2].score, view[2].value, view[1].score, view[1].value) == (0.5, 0.5, None, None)
    assert view.partial(3).text == tree.partial(3).text == "bc"


def test_a_view_keeps_its_size():
    """What is added later does not show."""
    tree = tree_of("a")
    view = tree.view()

    tree.list_children(1, [Step("b")])

    assert [node.id for node in view] == [0, 1]
    assert view.grown([(1, Step("z"), None)])[0][2].step == Step("z")


def test_a_node_takes_less_than_a_kilobyte():
    """So a million of them stay within a gigabyte, each with a step and a world of its own."""
    tracemalloc.start()
    tree = MCTSTree()
    for node in range(2000):
        tree.reach(node, Outcome(f"world {node}", 0.5))
        tree.list_children(node, [Step(f"action {i} of {node}", prior=i / 10) for i in range(10)])
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(tree) == 20001
    assert used / len(tree) < 400

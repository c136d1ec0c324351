"""The tree of a search."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from motet.search.mcts_tree import _LateTree
from motet.search.partials import Partial, Step
from motet.search.tree import Node, Tree


@st.composite
def trees(draw) -> Tree:
    tree = Tree()
    for place in range(draw(st.integers(0, 12))):
        parent = draw(st.integers(0, place))
        score = draw(st.none() | st.floats(allow_nan=False))
        tree, _ = tree.grown([(parent, Step(draw(st.text(max_size=3))), score)])
    return tree


@given(trees())
def test_a_tree_is_read_back_as_it_was_written(tree):
    """Scores keep every bit and infinities, texts every character."""
    adapter = TypeAdapter(Tree)

    written = json.dumps(adapter.dump_python(tree, mode="json"))

    assert adapter.validate_python(json.loads(written)) == tree


@given(trees(), trees())
def test_trees_are_equal_where_their_nodes_are(one, other):
    """Equality is of content, whether or not they share it."""
    assert (one == other) == (list(one) == list(other))
    assert one != list(one)


@given(trees(), st.lists(st.text(max_size=2), min_size=1, max_size=3))
def test_growing_leaves_the_tree_as_it_was(tree, texts):
    """Two trees that are grown out of one know nothing of each other."""
    before = list(tree)

    one, [first] = tree.grown([(0, Step("one"), None)])
    other, ids = tree.grown([(0, Step(text), 0.5) for text in texts])

    assert list(tree) == before
    assert one[first].step == Step("one")
    assert [other[each].step.text for each in ids] == texts
    assert len(one) == len(tree) + 1


def test_a_child_that_has_no_parent_leaves_the_tree_whole():
    """What was appended before the error is not seen, and is not in the way later."""
    tree, _ = Tree().grown([(0, Step("a"), None)])

    with pytest.raises(IndexError, match="no node 7"):
        tree.grown([(1, Step("b"), None), (7, Step("c"), None)])

    grown, ids = tree.grown([(1, Step("d"), None)])
    assert (len(tree), len(grown), ids) == (2, 3, [2])
    assert grown.partial(2) == Partial((Step("a"), Step("d")))


def test_children_may_hang_on_each_other_in_one_call():
    """A parent may be added in the call that adds its child."""
    tree, ids = Tree().grown([(0, Step("a"), None), (1, Step("b"), None)])

    assert ids == [1, 2]
    assert tree.path(2) == [0, 1, 2]
    assert tree.children() == {0: [1], 1: [2]}
    assert [node.depth for node in tree] == [0, 1, 2]


@pytest.mark.parametrize("node", [-1, 1])
def test_a_node_that_is_not_there_is_an_index_error(node):
    """A negative id does not count from the end."""
    with pytest.raises(IndexError, match=f"no node {node}"):
        Tree()[node]


_ROOT = Node(0, None, 0, None)


@pytest.mark.parametrize(
    "nodes",
    [
        [],
        [Node(1, None, 0, None)],
        [_ROOT, Node(1, None, 1, Step("a"))],
        [_ROOT, Node(1, 1, 1, Step("a"))],
        [_ROOT, Node(1, -1, 1, Step("a"))],
        [_ROOT, Node(1, 0, 2, Step("a"))],
        [_ROOT, Node(1, 0, 1, None)],
        [Node(0, None, 0, Step("a"))],
    ],
)
def test_what_is_no_tree_is_refused(nodes):
    """No root, a wrong place, parent or depth, a node without its step."""
    with pytest.raises(ValueError):
        Tree.of(nodes)
    with pytest.raises(ValidationError):
        TypeAdapter(Tree).validate_python(TypeAdapter(list[Node]).dump_python(nodes, mode="json"))


@given(trees(), trees())
def test_trees_are_the_same_input_where_they_are_equal(one, other):
    """Their identity is what they hold, not their size; a tree that is made late has it too."""
    assert (one.identity == other.identity) == (one == other)
    nodes = list(one)
    assert _LateTree(len(nodes), lambda: nodes).identity == one.identity

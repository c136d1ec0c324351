"""Trees as graphs, JSON, SVG and text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError
from motet.search.drawing import from_json, to_graph, to_json, to_svg, to_text
from motet.search.partials import Step
from motet.search.tree import Node, Tree

SVG = "{http://www.w3.org/2000/svg}"


@st.composite
def trees(draw) -> Tree:
    tree = Tree()
    for place in range(draw(st.integers(0, 14))):
        step = Step(draw(st.text(st.characters(), max_size=60)), is_last=draw(st.booleans()))
        score = draw(st.none() | st.floats(allow_nan=False, allow_infinity=False))
        tree, _ = tree.grown([(draw(st.integers(0, place)), step, score)])
    return tree


tree_and_best = trees().flatmap(
    lambda tree: st.tuples(st.just(tree), st.none() | st.integers(0, len(tree) - 1))
)


def small() -> Tree:
    return Tree.of(
        [
            Node(0, None, 0, None),
            Node(1, 0, 1, Step("left\n  <b>&"), 0.25, visits=3, value=0.5),
            Node(2, 0, 1, Step("right"), 1.0),
            Node(3, 2, 2, Step("", is_last=True), 0.123456),
            Node(4, 1, 2, Step("under left")),
        ]
    )


def boxes(svg: str) -> list[tuple[float, float, str]]:
    found = ET.fromstring(svg).iter(f"{SVG}rect")
    return [(float(b.get("x")), float(b.get("y")), b.get("class")) for b in found if b.get("class")]


@given(trees())
def test_json_brings_back_the_tree(tree):
    """Nothing is left out."""
    assert from_json(to_json(tree)) == tree


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"nodes": []}', '{"nodes": [1]}', "[" * 99999])
def test_what_is_no_tree_is_a_search_error(text):
    """A text from elsewhere is read with care."""
    with pytest.raises(SearchError, match="no tree"):
        from_json(text)


def test_data_that_is_no_json_is_a_search_error():
    """It cannot be written."""
    tree, _ = Tree().grown([(0, Step("x", data=object()), None)])

    with pytest.raises(SearchError, match="cannot be written"):
        to_json(tree)


@given(trees())
def test_a_graph_has_the_nodes_and_edges_of_the_tree(tree):
    """It is a tree to networkx, too."""
    import networkx as nx

    graph = to_graph(tree)

    assert nx.is_arborescence(graph)
    for node in tree:
        assert graph.nodes[node.id]["score"] == node.score
        assert graph.nodes[node.id]["text"] == (node.step.text if node.step else "")
        assert list(graph.predecessors(node.id)) == ([node.parent] if node.id else [])


def test_a_tree_as_text():
    """One line a node, the best path marked, line ends and empty texts visible."""
    assert to_text(small(), best=3).splitlines() == [
        "* (root)",
        "|- left <b>&  [score 0.25, visits 3, value 0.5]",
        "|  `- under left",
        "`- * right  [score 1]",
        "   `- * (empty)  [score 0.123, end]",
    ]


def test_what_is_left_out_is_counted():
    """The best path is shown first; each parent says how many are missing below it."""
    assert to_text(small(), best=4, max_nodes=3).splitlines() == [
        "* (root)",
        "|- * left <b>&  [score 0.25, visits 3, value 0.5]",
        "|  `- * under left",
        "`- ... 2 more",
    ]


@given(tree_and_best, st.integers(1, 16))
def test_shown_and_counted_nodes_make_the_tree(drawn, max_nodes):
    """In text and picture alike, whatever is left out."""
    tree, best = drawn
    lines = to_text(tree, best=best, max_nodes=max_nodes).splitlines()
    more = [
        int(each)
        for each in re.findall(r"^[|` -]*\.\.\. (\d+) more$", "\n".join(lines), re.MULTILINE)
    ]
    svg = to_svg(tree, best=best, max_nodes=max_nodes)
    drawn_more = [each for each in boxes(svg) if each[2] == "more"]

    assert len(lines) - len(more) == min(max_nodes, len(tree))
    assert len(lines) - len(more) + sum(more) == len(tree)
    assert len(boxes(svg)) == len(lines)
    assert len(drawn_more) == len(more)


@given(tree_and_best, st.integers(1, 16))
def test_a_picture_is_xml_with_boxes_apart(drawn, max_nodes):
    """Any text stays text; boxes lie in the picture, do not overlap, and hold their text."""
    tree, best = drawn

    root = ET.fromstring(to_svg(tree, best=best, max_nodes=max_nodes))

    places = boxes(ET.tostring(root).decode())
    _, _, width, height = map(float, root.get("viewBox").split())
    for i, (x, y, _) in enumerate(places):
        assert 0 <= x <= width - 210
        assert 0 <= y <= height - 40
        for other_x, other_y, _ in places[:i]:
            assert abs(x - other_x) >= 210 or abs(y - other_y) >= 40
    for text in root.iter(f"{SVG}text"):
        assert len(text.text) * 6.7 <= 190
    num_best = sum("best" in kind for _, _, kind in places)
    wanted = len(tree.path(best)[:max_nodes]) if best is not None else 0
    assert num_best == wanted


def test_text_of_a_model_is_data():
    """Markup, entities and control characters do nothing in a picture or a terminal."""
    evil = "</text><script>alert(1)</script>&lt;\x1b[31m\x00\ud800\u202e"
    tree, _ = Tree().grown([(0, Step(evil), None)])

    svg = to_svg(tree)
    root = ET.fromstring(svg)

    assert "<script" not in svg
    assert not list(root.iter(f"{SVG}script"))
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert titles[-1] == "</text><script>alert(1)</script>&lt;\\x1b[31m\\x00\\xd800\\x202e"
    assert "\x1b" not in to_text(tree)
    to_text(tree).encode()
    svg.encode()


@given(st.text(st.characters(), max_size=300), st.integers(40, 120))
def test_a_line_is_as_wide_as_it_may_be(text, width):
    """A long text is cut, its figures are not."""
    tree, _ = Tree().grown([(0, Step(text), 0.5)])

    line = to_text(tree, width=width).splitlines()[1]

    assert len(line) <= width
    assert line.endswith("  [score 0.5]")


def test_wide_characters_take_two_columns():
    """A text of them is cut at half the length."""
    tree, _ = Tree().grown([(0, Step("\u5b57" * 40), None)])

    texts = [text.text for text in ET.fromstring(to_svg(tree)).iter(f"{SVG}text")]

    assert texts[2] == "\u5b57" * 12 + "..."


def test_a_deep_tree_is_drawn():
    """Depth is no recursion."""
    tree = Tree()
    for depth in range(3000):
        tree, _ = tree.grown([(depth, Step("x"), None)])

    assert to_text(tree, best=3000, max_nodes=4000).count("\n") == 3000
    assert len(boxes(to_svg(tree, max_nodes=4000))) == 3001


@pytest.mark.parametrize("settings", [{"max_nodes": 0}, {"width": 39}])
def test_a_drawing_without_room_is_refused(settings):
    """The error names the setting."""
    with pytest.raises(ConfigError, match=next(iter(settings))):
        to_text(small(), **settings)


@pytest.mark.parametrize("draw", [to_svg, to_text])
def test_a_best_node_that_is_not_there_is_refused(draw):
    """Nothing is marked by guess; the error says how many there are."""
    with pytest.raises(ConfigError, match="best is 9; .* at most 4"):
        draw(small(), best=9)


def test_trees_that_search_keeps_are_drawn_with_their_figures():
    """Visits and values stand beside the score."""
    tree = Tree.of([replace(node, visits=2) for node in small()])

    assert "visits 2" in to_svg(tree)

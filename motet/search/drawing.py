"""Trees as graphs, JSON, SVG and text for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from motet.errors import SearchError
from motet.search.settings import whole
from motet.search.tree import Node, Tree

_BOX = (210, 40)
_GAP = (40, 12)
_MARGIN = 16
_CHARACTER = 6.7
"""Width of a character of 11 px monospace type, with some to spare."""
_STYLE = (
    "text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:#1d2433}"
    ".score{fill:#5b6475}.box{fill:#fff;stroke:#aab2c0}.best{stroke:#0b6e4f;stroke-width:2.5}"
    ".last{fill:#eef6f2}.more{fill:none;stroke:#aab2c0;stroke-dasharray:3 3}"
    ".edge{fill:none;stroke:#aab2c0}.edge.best{stroke:#0b6e4f}"
)


def to_graph(tree: Tree) -> Any:
    """Return the tree as a `networkx.DiGraph`; its nodes have the fields of `Node` and `text`."""
    import networkx as nx

    graph = nx.DiGraph()
    for node in tree:
        graph.add_node(
            node.id,
            text=node.step.text if node.step is not None else "",
            is_last=node.step is not None and node.step.is_last,
            depth=node.depth,
            score=node.score,
            visits=node.visits,
            value=node.value,
        )
        if node.parent is not None:
            graph.add_edge(node.parent, node.id)
    return graph


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Tree]:
    return TypeAdapter(Tree)


def to_json(tree: Tree) -> str:
    """Write all of a tree.

    Raises:
        SearchError: A step's data is no JSON.
    """
    try:
        return json.dumps({"nodes": _adapter().dump_python(tree, mode="json")})
    except (PydanticSerializationError, TypeError, ValueError) as exc:
        raise SearchError(f"the tree cannot be written: {exc}") from exc


def from_json(text: str) -> Tree:
    """Read what `to_json` wrote.

    Raises:
        SearchError: It is no tree.
    """
    try:
        return _adapter().validate_python(json.loads(text)["nodes"])
    except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise SearchError(f"the text is no tree: {exc}") from exc


@dataclass(frozen=True, slots=True)
class _Row:
    """A node that is shown, or how many are not."""

    node: Node | None
    depth: int
    place: int
    """Of the node, or of the parent of those that are not shown."""
    num_hidden: int = 0
    is_last_child: bool = True


def _rows(tree: Tree, best: int | None, max_nodes: int) -> list[_Row]:
    """Return the shown part, a parent before its children: the best path, then the first nodes.

    Below each node stands how many are left out there.
    """
    if best is not None:
        whole("best", best, 0, len(tree) - 1)
    shown = set((tree.path(best) if best is not None else [0])[:max_nodes])
    for node in tree:
        if len(shown) >= max_nodes:
            break
        if node.parent is None or node.parent in shown:
            shown.add(node.id)
    num_hidden = [0] * len(tree)
    """Of each shown node: those below it and below no shown one in between."""
    nearest = [0] * len(tree)
    for node in tree:
        nearest[node.id] = node.id if node.id in shown else nearest[node.parent or 0]
        num_hidden[nearest[node.id]] += node.id not in shown
    children = tree.children()
    rows: list[_Row] = []
    waiting = [(0, True)]
    while waiting:
        place, is_last_child = waiting.pop()
        if place < 0:
            parent = ~place
            rows.append(_Row(None, tree[parent].depth + 1, parent, num_hidden[parent]))
            continue
        rows.append(_Row(tree[place], tree[place].depth, place, 0, is_last_child))
        below = [child for child in children.get(place, ()) if child in shown]
        if num_hidden[place]:
            below.append(~place)
        waiting += [(child, child == below[-1]) for child in reversed(below)]
    return rows


def to_text(tree: Tree, *, best: int | None = None, max_nodes: int = 100, width: int = 100) -> str:
    """Return the tree as lines for a terminal; `*` marks the path to the node `best`.

    Args:
        tree: What to draw.
        best: A node, `SearchResult.best.node` say.
        max_nodes: How many are shown; the path to `best` goes first. The others are counted.
        width: Characters of a line, at least 40; what a deep node is indented is not among them.

    Raises:
        ConfigError: `max_nodes` is below 1, `width` below 40, or there is no node `best`.
    """
    whole("max_nodes", max_nodes)
    whole("width", width, 40)
    rows = _rows(tree, best, max_nodes)
    path = set(tree.path(best)) if best is not None else set()
    lines = []
    bars: list[str] = []
    for row in rows:
        del bars[max(row.depth - 1, 0) :]
        indent = "".join(bars)
        branch = ("`- " if row.is_last_child else "|- ") if row.depth else ""
        bars += ["   " if row.is_last_child else "|  "] if row.depth else []
        if row.node is None:
            lines.append(f"{indent}{branch}... {row.num_hidden} more")
            continue
        mark = "* " if row.place in path else ""
        figures = _figures(row.node)
        behind = f"  [{figures}]" if figures else ""
        room = max(width - len(indent) - len(branch) - len(mark) - len(behind), 12)
        lines.append(f"{indent}{branch}{mark}{_cut(_said(row.node), room)}{behind}")
    return "\n".join(lines)


def to_svg(tree: Tree, *, best: int | None = None, max_nodes: int = 100) -> str:
    """Return the tree as an SVG picture, the root at the left; the path to `best` is green.

    Args:
        tree: What to draw.
        best: A node, `SearchResult.best.node` say.
        max_nodes: How many are shown; the path to `best` goes first. The others are counted.

    Raises:
        ConfigError: `max_nodes` is below 1, or there is no node `best`.
    """
    whole("max_nodes", max_nodes)
    rows = _rows(tree, best, max_nodes)
    path = set(tree.path(best)) if best is not None else set()
    heights = _heights(rows)
    step_x, step_y = _BOX[0] + _GAP[0], _BOX[1] + _GAP[1]
    corners = [
        (_MARGIN + row.depth * step_x, _MARGIN + height * step_y)
        for row, height in zip(rows, heights, strict=True)
    ]
    where = {row.place: at for row, at in zip(rows, corners, strict=True) if row.node is not None}
    width = max(x for x, _ in corners) + _BOX[0] + _MARGIN
    height = max(y for _, y in corners) + _BOX[1] + _MARGIN
    edges: list[str] = []
    boxes: list[str] = []
    for row, (x, y) in zip(rows, corners, strict=True):
        is_best = row.node is not None and row.place in path
        parent = row.place if row.node is None else row.node.parent
        if parent is not None:
            edges.append(_edge(where[parent], (x, y), is_best=is_best))
        boxes += _box(row, x, y, is_best=is_best)
    size = f'width="{width:g}" height="{height:g}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" {size}>',
            f"<title>Search tree of {len(tree)} nodes</title>",
            f"<style>{_STYLE}</style>",
            f'<rect {size} fill="#fbfbfc"/>',
            *edges,
            *boxes,
            "</svg>",
        ]
    )


def _heights(rows: list[_Row]) -> list[float]:
    """Return each row's height in boxes: leaves one below the other, a parent amid its children."""
    heights = [0.0] * len(rows)
    spans: dict[int, list[float]] = {}
    num_leaves = 0
    is_leaf = [after.depth <= row.depth for row, after in pairwise(rows)]
    for i, leaf in enumerate([*is_leaf, True]):
        if leaf:
            heights[i] = num_leaves
            num_leaves += 1
    for i in reversed(range(len(rows))):
        depth = rows[i].depth
        below = spans.pop(depth + 1, [])
        if below:
            heights[i] = (min(below) + max(below)) / 2
        spans.setdefault(depth, []).append(heights[i])
    return heights


def _edge(parent: tuple[float, float], child: tuple[float, float], *, is_best: bool) -> str:
    x0, y0 = parent[0] + _BOX[0], parent[1] + _BOX[1] / 2
    x1, y1 = child[0], child[1] + _BOX[1] / 2
    middle = (x0 + x1) / 2
    kind = "edge best" if is_best else "edge"
    return f'<path class="{kind}" d="M{x0:g} {y0:g}C{middle:g} {y0:g} {middle:g} {y1:g} {x1:g} {y1:g}"/>'


def _box(row: _Row, x: float, y: float, *, is_best: bool) -> Iterator[str]:
    if row.node is None:
        yield (
            f'<rect class="more" x="{x:g}" y="{y:g}" width="{_BOX[0]}" height="{_BOX[1]}" rx="6"/>'
        )
        yield f'<text class="score" x="{x + 10:g}" y="{y + 24:g}">... {row.num_hidden} more</text>'
        return
    step = row.node.step
    kinds = ["box", *(["last"] if step and step.is_last else []), *(["best"] if is_best else [])]
    most = int((_BOX[0] - 20) / _CHARACTER)
    said, figures = _said(row.node), _cut(_figures(row.node) or f"node {row.place}", most)
    yield "<g>"
    yield f"<title>{escape(_cut(said, 400))}</title>"
    yield (
        f'<rect class="{" ".join(kinds)}" x="{x:g}" y="{y:g}" '
        f'width="{_BOX[0]}" height="{_BOX[1]}" rx="6"/>'
    )
    yield f'<text x="{x + 10:g}" y="{y + 16:g}">{escape(_cut(said, most))}</text>'
    yield f'<text class="score" x="{x + 10:g}" y="{y + 32:g}">{escape(figures)}</text>'
    yield "</g>"


def _said(node: Node) -> str:
    """Return a node's text in one line that nothing can act on: no controls, no line ends."""
    if node.step is None:
        return "(root)"
    text = " ".join(node.step.text.split()) or "(empty)"
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


def _cut(text: str, most: int) -> str:
    """Cut `text` to columns, of which a wide character takes two."""
    columns = list(accumulate(1 + (east_asian_width(each) in "WF") for each in text))
    if not text or columns[-1] <= most:
        return text
    return f"{text[: sum(each <= most - 3 for each in columns)]}..."


def _figures(node: Node) -> str:
    figures = [f"score {node.score:.3g}"] if node.score is not None else []
    if node.visits:
        figures.append(f"visits {node.visits}")
    if node.value is not None:
        figures.append(f"value {node.value:.3g}")
    if node.step is not None and node.step.is_last:
        figures.append("end")
    return ", ".join(figures)

"""`motet plan`: what a program will do, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.cli.calling import read_invocation
from motet.cli.failures import OK, USAGE
from motet.cli.run import settings_from
from motet.cli.terminal import fitted, note, one_line, write

if TYPE_CHECKING:
    from motet.cli.loading import Found
    from motet.graph import Graph, GraphNode

_MOST_LINES = 200


def plan_command(found: Found, values: dict[str, Any]) -> int:
    """Show the graph; exit with 2 where a run would be refused."""
    from motet.runtime.planning import plan

    invocation = read_invocation(found, values)
    settings = settings_from(values)
    graph = plan(invocation.ref(settings), model=settings.make_model(settings.model))
    if values["as_json"]:
        write(graph.to_json(), raw=True)
    elif values["mermaid"]:
        write(graph.to_mermaid().rstrip("\n"))
    elif values["dot"]:
        write(graph.to_dot().rstrip("\n"))
    else:
        for line in [*tree_lines(graph), "", *estimate_lines(graph)]:
            write(fitted(line))
    for problem in graph.problems:
        note(f"problem: {type(problem).__name__}: {problem}")
    for unused in graph.unused:
        note(f"unused: {unused} is made, but nothing uses it; it will not run")
    return USAGE if graph.problems else OK


def tree_lines(graph: Graph) -> list[str]:
    """Return the graph as lines, users above their inputs; a call shown above is only named."""
    nodes = {n.id: n for n in graph.nodes}
    number = {n.id: i for i, n in enumerate(graph.nodes, start=1)}
    lines: list[str] = []
    shown: set[str] = set()
    stack = [(graph.root_id, "", "")]
    while stack and len(lines) < _MOST_LINES:
        node_id, guide, indent = stack.pop()
        node = nodes[node_id]
        if node_id in shown:
            lines.append(f"{guide}#{number[node_id]} {one_line(node.label, 60)} (above)")
            continue
        shown.add(node_id)
        lines.append(f"{guide}#{number[node_id]} {_label(node)}")
        for place in reversed(range(len(node.inputs))):
            is_last = place == len(node.inputs) - 1
            mark = "└─ " if is_last else "├─ "
            stack.append(
                (node.inputs[place], indent + mark, indent + ("   " if is_last else "│  "))
            )
    if len(shown) < len(nodes) and stack:
        lines.append(f"... {len(nodes) - len(shown)} more calls; --json shows all")
    return lines


def _label(node: GraphNode) -> str:
    parts = [one_line(node.label, 60)]
    if node.kind == "prompt":
        parts.append(f"about {node.prompt_tokens:,} + at most {node.completion_tokens:,} tokens")
    elif node.kind != "collect":
        parts.append(node.kind)
    if node.is_growing:
        parts.append("grows as it runs")
    return "  ".join(parts)


def _calls(count: int) -> str:
    return f"{count} call" if count == 1 else f"{count} calls"


def estimate_lines(graph: Graph) -> list[str]:
    """Return what the run will take, a line each."""
    found = graph.estimate
    bound = "at least" if found.is_open else "at most"
    at_least = "at least " if found.is_open else ""
    names = {n.id: n.label for n in graph.nodes}
    path = " > ".join(one_line(names[i], 40) for i in found.critical_path)
    cost = "unknown: a model has no price; see --price-prompt"
    if found.cost is not None:
        cost = f"at most {found.cost:.6g}"
    lines = [
        f"model calls    {at_least}{found.calls}",
        f"prompt tokens  {at_least}about {found.prompt_tokens:,}",
        f"completion     {bound} {found.completion_tokens:,} tokens",
        f"cost           {cost if not found.is_open or found.cost is None else 'open'}",
        f"critical path  {_calls(len(found.critical_path))}{': ' + path if path else ''}",
    ]
    if found.is_open:
        lines.append("the graph grows as it runs, so these are lower bounds")
    return lines

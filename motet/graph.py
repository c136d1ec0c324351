"""Graphs: what a program will do, and what it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motet.engine import Usage
from motet.errors import MotetError

if TYPE_CHECKING:
    import networkx as nx

    from motet.calls import State
    from motet.events import CallKind
    from motet.refs import Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """One call of a graph."""

    id: str
    operation: str
    kind: CallKind
    parent_id: str | None
    inputs: tuple[str, ...]
    """Ids of the calls whose values it takes."""
    place: str
    """`file:line` in the user's code."""
    model: str | None = None
    samples: int = 1
    is_growing: bool = False
    """Whether it makes calls that only running it will show."""
    is_answered_by_program: bool = False
    """Whether its model is a program, whose calls are among `inputs`."""
    prompt_tokens: int = 0
    """Estimate; texts not known yet count as the most that their makers may write."""
    completion_tokens: int = 0
    """At most."""
    cost: float | None = 0.0
    """At most; None where the model has no price."""
    state: State = "waiting"
    usage: Usage | None = None
    """What it used; None before it ran."""
    duration_s: float | None = None

    @property
    def short_name(self) -> str:
        return self.operation.rpartition(":")[2].rpartition(".")[2]

    @property
    def is_model_call(self) -> bool:
        """Whether an engine answers it."""
        return self.kind == "prompt" and not self.is_answered_by_program

    @property
    def label(self) -> str:
        parts = [self.short_name]
        if self.samples > 1:
            parts[0] += f" x{self.samples}"
        if self.model is not None:
            parts.append(f"on {self.model}")
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a graph will take, before it runs."""

    calls: int
    """Model calls."""
    prompt_tokens: int
    completion_tokens: int
    """At most."""
    cost: float | None
    """At most; None where a model has no price."""
    critical_path: tuple[str, ...]
    """Ids of the model calls on the longest chain by completion tokens, first to last."""
    is_open: bool
    """Whether the graph grows as it runs, so that all of this is a lower bound."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The calls of a program as a DAG, inputs before users."""

    nodes: tuple[GraphNode, ...]
    root_id: str
    problems: tuple[MotetError, ...] = ()
    """What is wrong with the program; a run would refuse it."""
    unused: tuple[str, ...] = ()
    """Calls that a static program makes and does not use: `name at place`. They do not run."""
    root: Ref[Any] | None = field(default=None, repr=False, compare=False)

    def __iter__(self) -> Iterator[GraphNode]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __str__(self) -> str:
        """One line a call: its number, what it does, and whose values it takes."""
        number = {n.id: i for i, n in enumerate(self.nodes, start=1)}
        lines = []
        for node in self.nodes:
            taken = ", ".join(f"#{number[i]}" for i in node.inputs)
            lines.append(
                f"#{number[node.id]} {_plain(node.label)}" + (f"  <- {taken}" if taken else "")
            )
        lines.extend(f"unused: {entry}" for entry in self.unused)
        lines.extend(f"problem: {problem}" for problem in self.problems)
        return "\n".join(lines)

    @property
    def estimate(self) -> Estimate:
        prompts = [n for n in self.nodes if n.is_model_call]
        costs = [n.cost for n in prompts]
        return Estimate(
            calls=len(prompts),
            prompt_tokens=sum(n.prompt_tokens for n in prompts),
            completion_tokens=sum(n.completion_tokens for n in prompts),
            cost=None if None in costs else sum(c for c in costs if c is not None),
            critical_path=self._critical_path(),
            is_open=any(n.is_growing for n in self.nodes),
        )

    @property
    def usage(self) -> Usage:
        """What the calls have used."""
        return sum((n.usage for n in self.nodes if n.usage is not None), Usage())

    def _critical_path(self) -> tuple[str, ...]:
        by_id = {n.id: n for n in self.nodes}
        longest: dict[str, tuple[int, str | None]] = {}
        for node in self.nodes:
            before = max(
                ((longest[i][0], i) for i in node.inputs if i in longest), default=(0, None)
            )
            weight = max(1, node.completion_tokens) if node.is_model_call else 0
            longest[node.id] = (before[0] + weight, before[1])
        path: list[str] = []
        at: str | None = self.root_id
        while at is not None and at in longest:
            if by_id[at].is_model_call:
                path.append(at)
            at = longest[at][1]
        return tuple(reversed(path))

    def check(self) -> None:
        """Raise the first problem, if there is one."""
        if self.problems:
            raise self.problems[0]

    def to_networkx(self) -> nx.DiGraph[str]:
        """Return a `networkx.DiGraph` of call ids; nodes carry the fields of `GraphNode`."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        for node in self.nodes:
            shown = {name: getattr(node, name) for name in GraphNode.__slots__ if name != "id"}
            graph.add_node(node.id, **shown)
        for node in self.nodes:
            graph.add_edges_from((before, node.id) for before in node.inputs)
        return graph

    def to_mermaid(self) -> str:
        """Return the graph as a mermaid flowchart."""
        lines = ["flowchart TD"]
        shapes = {"prompt": ("([", "])"), "step": ("[", "]"), "program": ("[[", "]]")}
        number = {n.id: f"n{i}" for i, n in enumerate(self.nodes)}
        for node in self.nodes:
            opened, closed = shapes.get(node.kind, ("{{", "}}"))
            text = _plain(node.label + (" ..." if node.is_growing else ""))
            lines.append(f'    {number[node.id]}{opened}"{text}"{closed}')
        for node in self.nodes:
            lines.extend(f"    {number[before]} --> {number[node.id]}" for before in node.inputs)
        return "\n".join(lines) + "\n"

    def to_dot(self) -> str:
        """Return the graph in Graphviz's language."""
        lines = ["digraph motet {", "    rankdir=TB;"]
        shapes = {"prompt": "ellipse", "step": "box", "program": "box3d"}
        number = {n.id: f"n{i}" for i, n in enumerate(self.nodes)}
        for node in self.nodes:
            shape = shapes.get(node.kind, "hexagon")
            lines.append(f'    {number[node.id]} [label="{_plain(node.label)}", shape={shape}];')
        for node in self.nodes:
            lines.extend(f"    {number[before]} -> {number[node.id]};" for before in node.inputs)
        return "\n".join([*lines, "}"]) + "\n"

    def to_json(self) -> str:
        """Return a form that `motet.graph_files.load_graph` reads."""
        from motet.graph_files import dump_graph

        return dump_graph(self)


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text.translate(_QUOTES))


_QUOTES = str.maketrans({"\\": "/", '"': "'", "<": "(", ">": ")", "`": "'"})

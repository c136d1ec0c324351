"""Graphs: estimates, drawings, and the graph of a finished run."""

from typing import Any

import networkx as nx
import pytest

import motet
from motet import Model, Price, Ref, Sampling, Usage, program, prompt, step
from motet.errors import UnboundModelError
from motet.testing import ScriptedEngine


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@step
def join(parts: list[str]) -> str:
    return " ".join(parts)


def diamond(model: Any) -> Ref[Any]:
    @program
    def whole() -> Any:
        top = ask.on(model, max_tokens=10)("x" * 40)
        left = ask.on(model, max_tokens=100)(top)
        right = ask.on(model, max_tokens=5).samples(3)(top)
        return join([left, right[0]])

    return whole()


def test_nodes_stand_inputs_first() -> None:
    """The graph is a DAG in topological order, its root last."""
    graph = motet.plan(diamond(ScriptedEngine()))

    place = {node.id: i for i, node in enumerate(graph)}
    assert all(place[i] < place[n.id] for n in graph for i in n.inputs)
    assert graph.nodes[-1].id == graph.root_id
    assert len(graph) == len(graph.nodes) == 6


def test_the_estimate_of_a_diamond_is_exact() -> None:
    """Calls, tokens and money by hand: a text not known yet counts as its maker's most."""
    model = Model(ScriptedEngine(), price=Price(prompt=1.0, completion=10.0))

    estimate = motet.plan(diamond(model)).estimate

    assert estimate.calls == 3
    assert estimate.completion_tokens == 10 + 100 + 3 * 5
    assert estimate.prompt_tokens == (10 + 4) + 2 * (10 + 4)
    assert estimate.cost == pytest.approx((42 * 1.0 + 125 * 10.0) / 1e6)
    assert not estimate.is_open


def test_the_critical_path_is_the_longest_chain_of_tokens() -> None:
    """The left side of the diamond."""
    graph = motet.plan(diamond(ScriptedEngine()))

    by_id = {n.id: n for n in graph}
    path = [by_id[i].completion_tokens for i in graph.estimate.critical_path]

    assert path == [10, 100]


def test_a_model_without_a_price_has_no_cost() -> None:
    """Unknown is not 0."""
    model = ScriptedEngine()

    assert motet.plan(diamond(model)).estimate.cost is None
    assert motet.plan(join(["a"])).estimate.cost == 0


def test_a_growing_graph_is_marked_open() -> None:
    """Its estimate is a lower bound."""

    @program
    async def growing() -> str:
        return await ask("q")

    graph = motet.plan(join([growing()]))

    assert graph.estimate.is_open
    assert [n.is_growing for n in graph] == [True, False]
    assert not motet.plan(join(["a"])).estimate.is_open


def test_a_finished_runs_graph_holds_what_was_used() -> None:
    """Grown to its full size, with usage and states."""
    engine = ScriptedEngine(lambda r: "one two three")

    @program
    async def growing() -> str:
        first = await ask.on(engine)("a b")
        return await ask.on(engine)(first)

    result = motet.run(join([growing()]), store=None)

    graph = result.graph
    assert [n.kind for n in graph].count("prompt") == 2
    assert {n.state for n in graph} == {"finished"}
    assert graph.usage == result.usage == Usage(5, 6, 0, 2)
    by_id = {n.id: n for n in graph}
    parents = {by_id[n.parent_id].short_name for n in graph if n.kind == "prompt" and n.parent_id}
    assert parents == {"growing"}


def test_check_raises_the_first_problem() -> None:
    """A graph without problems passes."""
    motet.plan(join(["a"])).check()
    with pytest.raises(UnboundModelError):
        motet.plan(ask("q")).check()


def test_networkx_has_every_node_and_edge() -> None:
    """The view is a DAG with the same edges and attributes."""
    graph = motet.plan(diamond(ScriptedEngine()))

    view = graph.to_networkx()

    assert nx.is_directed_acyclic_graph(view)
    assert set(view.nodes) == {n.id for n in graph}
    assert set(view.edges) == {(i, n.id) for n in graph for i in n.inputs}
    assert view.nodes[graph.root_id]["operation"] == graph.nodes[-1].operation


def test_drawings_show_every_node_and_edge() -> None:
    """Golden texts: mermaid and dot."""
    engine = ScriptedEngine(name="m")
    graph = motet.plan(join([ask.on(Model(engine, "tiny")).samples(2)("q")[0], "b"]))

    assert graph.to_mermaid() == (
        "flowchart TD\n"
        '    n0(["ask x2 on tiny"])\n'
        '    n1{{"item"}}\n'
        '    n2["join"]\n'
        "    n0 --> n1\n"
        "    n1 --> n2\n"
    )
    assert graph.to_dot() == (
        "digraph motet {\n"
        "    rankdir=TB;\n"
        '    n0 [label="ask x2 on tiny", shape=ellipse];\n'
        '    n1 [label="item", shape=hexagon];\n'
        '    n2 [label="join", shape=box];\n'
        "    n0 -> n1;\n"
        "    n1 -> n2;\n"
        "}\n"
    )


def test_quotes_in_a_models_name_do_not_end_a_label() -> None:
    """A label is text, whatever it holds."""
    graph = motet.plan(ask.on(Model(ScriptedEngine(), 'a"];evil\\'))("q"))

    for drawing in (graph.to_mermaid(), graph.to_dot()):
        line = next(line for line in drawing.splitlines() if "evil" in line)
        assert line.count('"') == 2
        assert "\\" not in line


def test_planned_and_run_graphs_have_one_root() -> None:
    """A static program's plan and its run name the same calls."""
    ref = diamond(ScriptedEngine(lambda r: "a"))

    planned = motet.plan(ref)
    ran = motet.run(ref, store=None).graph

    assert [n.id for n in planned] == [n.id for n in ran]
    assert planned.root_id == ran.root_id
    assert {n.state for n in planned} == {"waiting"}


def test_an_estimate_is_never_below_what_is_used() -> None:
    """With the engine's own count of tokens, the plan's most is a most."""
    engine = ScriptedEngine(lambda r: "w " * 1000)
    model = Model(engine, sampling=Sampling(max_tokens=7))

    @program
    def chain() -> Any:
        value: Any = "start here"
        parts = []
        for _ in range(4):
            value = lenient.on(model)(value)
            parts.append(value)
        return join(parts)

    ref = chain()

    estimate = motet.plan(ref).estimate
    usage = motet.run(ref, store=None).usage

    assert usage.completion_tokens == estimate.completion_tokens == 28
    assert usage.prompt_tokens <= estimate.prompt_tokens


@prompt(user="{{ question }}", keep_cut_off=True)
def lenient(question: str) -> str:
    raise NotImplementedError

"""Graphs as files."""

from __future__ import annotations

import json

import pytest

import motet
from motet import Message, Model, prompt, step
from motet.errors import CycleError, GraphFileError, ProgramError, UnknownNameError
from motet.graph_files import load_graph
from motet.programs import best_of_n, mixture_of_agents, solve
from motet.programs.best_of_n import answer, best, rate, scored
from motet.programs.mixture_of_agents import aggregate, propose

SMOL = Model("local:smollm2")


@step
def join(parts: list[str], by: tuple[str, int]) -> str:
    return by[0].join(parts)


@step
def make(i: int) -> str:
    return str(i)


def test_a_graph_comes_back_equal():
    """Written, loaded and written again, a graph is the same text."""
    ref = mixture_of_agents("why?", proposers=[SMOL, SMOL], aggregator=SMOL)

    text = motet.plan(ref).to_json()
    again = load_graph(text, operations=[propose, aggregate])

    assert motet.plan(again).to_json() == text


def test_a_loaded_graph_runs_as_the_program_does():
    """Steps, lists, tuples and items give the same value from a file."""
    parts = [make(i) for i in range(3)]
    ref = join([parts[0], "x", parts[2]], ("-", 1))
    text = motet.plan(ref).to_json()

    loaded = load_graph(text, operations=[join, make])

    assert motet.run(loaded, store=None).value == motet.run(ref, store=None).value == "0-x-2"


def test_a_growing_part_is_kept_as_one_call():
    """A map over a ref stays one call, with its operation by name."""
    ref = best_of_n("why?", model=SMOL, n=2, judge=SMOL)

    again = load_graph(motet.plan(ref).to_json(), operations=[answer, rate, scored, best])

    assert [n.operation for n in motet.plan(again)][-2:] == [best.name, "motet:structure"]


def test_an_operation_that_was_not_allowed_is_refused():
    """A file cannot name what its reader did not allow, so nothing is imported for it."""
    text = motet.plan(make(1)).to_json().replace(make.name, "os:system")

    with pytest.raises(UnknownNameError, match="os:system"):
        load_graph(text, operations=[make])


def test_a_call_used_before_it_is_made_is_a_cycle():
    """Calls come in order, so that a cycle cannot be written."""
    shape = json.loads(motet.plan(join([make(1)], ("-", 1))).to_json())
    shape["calls"].reverse()

    with pytest.raises(CycleError):
        load_graph(json.dumps(shape), operations=[join, make])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"motet_graph": 99, "root": "a", "calls": []}',
        "\udcff",
        '"x"',
        "null",
        '{"motet_graph": 1, "root": "n0", "calls": [{"id": "n0"}]}',
        '{"motet_graph": 1, "root": "n0", "calls": []}',
    ],
)
def test_what_is_no_graph_is_refused(text):
    """A malformed file is a typed error, whatever is wrong with it."""
    with pytest.raises(GraphFileError):
        load_graph(text)


def test_what_json_cannot_say_is_refused_with_its_place():
    """An engine object cannot be written; the error says where it stands."""

    @prompt(user="{{ text }}")
    def ask(text: str) -> str: ...

    from motet.testing import ScriptedEngine

    with pytest.raises(ProgramError, match="test_graph_files.py"):
        motet.plan(ask.on(Model(ScriptedEngine()))("x")).to_json()


def test_messages_and_models_travel():
    """A chat and a model with a price come back as they were."""

    @prompt(chat=lambda chat: chat)
    def ask(chat: list[Message]) -> str: ...

    model = Model("http://127.0.0.1:1/v1#m", price=motet.Price(prompt=1, completion=2))
    ref = ask.on(model, temperature=0.5).samples(3)([Message.user("{{ 1 }}")])

    again = load_graph(motet.plan(ref).to_json(), operations=[ask])

    assert again.arguments == ref.arguments
    assert again.operation.binding == ref.operation.binding


def test_a_default_that_json_cannot_say_is_left_to_the_program():
    """A search written to a file comes back with its limits; one whose default is gone is refused."""
    ref = solve("why?", algorithm="best-of-n(n=2)", model=SMOL)

    text = motet.plan(ref).to_json()
    again = load_graph(text, operations=[solve])

    assert again.arguments == ref.arguments
    assert motet.plan(again).to_json() == text
    with pytest.raises(GraphFileError, match="'question'"):
        load_graph(text.replace('"limits"', '"question"'), operations=[solve])

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from motet.engine import Constraint
from motet.errors import RequestRejectedError
from motet.serving.local import LocalEngine
from tests.serving.local.conftest import request

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "kind": {"enum": ["a", "b"]},
        "sizes": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["name", "kind", "sizes"],
    "additionalProperties": False,
}
CHOICES = ("yes", "no", "no way", 'a.b*[]{}()|^$ \\d "q" #&~-/', "€ü\n")


def _texts(engine: LocalEngine, constraint: Constraint, n: int = 50) -> list[str]:
    reply = asyncio.run(
        engine.complete(
            request("Say:", n=n, temperature=1.5, seed=1, max_tokens=120, constraint=constraint)
        )
    )
    assert {c.finish_reason for c in reply.completions} == {"stop"}
    return [c.text for c in reply.completions]


def test_json_follows_its_schema_without_free_whitespace(tiny: LocalEngine) -> None:
    for text in _texts(tiny, Constraint("json_schema", SCHEMA)):
        value = json.loads(text)
        assert list(value) == ["name", "kind", "sizes"]
        assert value["kind"] in ("a", "b")
        assert len(value["name"]) <= 8
        assert all(isinstance(size, bool) for size in value["sizes"])
        assert re.search(r'":[^ ]', text)


def test_a_choice_is_one_of_the_texts(tiny: LocalEngine) -> None:
    texts = set(_texts(tiny, Constraint("choice", CHOICES)))

    assert texts <= set(CHOICES)
    assert len(texts) > 1


@pytest.mark.parametrize("choice", CHOICES)
def test_each_choice_can_be_said(tiny: LocalEngine, choice: str) -> None:
    assert _texts(tiny, Constraint("choice", (choice,)), n=1) == [choice]


def test_a_regular_expression_is_matched_whole(tiny: LocalEngine) -> None:
    for text in _texts(tiny, Constraint("regex", "[a-c]{2,4}-[0-9]{1,3}(x|yz)")):
        assert re.fullmatch("[a-c]{2,4}-[0-9]{1,3}(x|yz)", text)


def test_a_grammar_is_followed(tiny: LocalEngine) -> None:
    grammar = 'start: sum\nsum: NUM ("+" NUM){1,3}\nNUM: /[0-9]{1,2}/'

    for text in _texts(tiny, Constraint("grammar", grammar)):
        assert re.fullmatch(r"[0-9]{1,2}(\+[0-9]{1,2}){1,3}", text)


def test_a_greedy_completion_stops_when_nothing_may_follow(tiny: LocalEngine) -> None:
    asked = request("x", constraint=Constraint("regex", "abc"), max_tokens=50)

    [completion] = asyncio.run(tiny.complete(asked)).completions

    assert (completion.text, completion.finish_reason) == ("abc", "stop")


def test_a_completion_that_max_tokens_cuts_is_a_beginning(tiny: LocalEngine) -> None:
    asked = request("x", constraint=Constraint("regex", "abcdef"), max_tokens=3)

    [completion] = asyncio.run(tiny.complete(asked)).completions

    assert (completion.text, completion.finish_reason) == ("abc", "length")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("json_schema", {"type": "nothing"}),
        ("json_schema", "{not json"),
        ("json_schema", {"type": "integer", "minimum": 3, "maximum": 2}),
        ("json_schema", False),
        ("choice", ()),
        ("choice", ("",)),
        ("choice", (1, 2)),
        ("choice", "yes"),
        ("choice", None),
        ("regex", "(a"),
        ("regex", r"[^\s\S]"),
        ("regex", 3),
        ("grammar", "start: missing"),
        ("grammar", "%%%"),
    ],
)
def test_what_is_no_constraint_is_refused_before_any_work(
    tiny: LocalEngine, kind: Any, value: Any
) -> None:
    assert tiny.stats is not None
    steps = tiny.stats.num_steps

    with pytest.raises(RequestRejectedError) as caught:
        asyncio.run(tiny.complete(request("x", constraint=Constraint(kind, value))))

    assert caught.value.status == 400
    assert kind in str(caught.value)
    assert tiny.stats.num_steps == steps

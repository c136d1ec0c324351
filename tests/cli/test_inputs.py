import dataclasses
import inspect
import json
from collections.abc import Callable
from typing import Any, Literal

import pydantic.dataclasses
import pytest
from hypothesis import given
from hypothesis import strategies as st

import motet
from motet import Chat, Model, programs
from motet.cli.failures import CommandError
from motet.cli.inputs import argument_docs, bind, inputs_of
from motet.observers.escaping import escaped, one_line


@motet.program
def many(
    question: str | Chat,
    *,
    models: list[Model] | list[list[Model]],
    judge: Model | None = None,
    pick: Literal["x", "y"] | Callable[[str], str] = "x",
    numbers: list[int] = [],  # noqa: B006
    rate: float | None = None,
    anything: Any = None,
) -> Any:
    """Take many inputs.

    Args:
        question: A text,
            on two lines.
        judge: Scores.

    Raises:
        ConfigError: never.
    """
    return question


@dataclasses.dataclass
class Spot:
    x: int = 0


@pydantic.dataclasses.dataclass(config=pydantic.ConfigDict(extra="allow"))
class Open:
    x: int = 0


@motet.program
def placed(
    text: str,
    *,
    spot: Spot | str = "",
    table: dict[str, int] | Spot | None = None,
    anything: Open | None = None,
) -> str:
    return text


def make_model(text):
    return Model(text)


def test_kinds_follow_the_annotations():
    """Each annotation gives its kind of option."""
    found = {i.name: i for i in inputs_of(many)}

    assert {name: i.kind for name, i in found.items()} == {
        "question": "text", "models": "model", "judge": "model", "pick": "choice",
        "numbers": "whole", "rate": "number", "anything": "text",
    }  # fmt: skip
    assert [name for name, i in found.items() if i.is_list] == ["models", "numbers"]
    assert [name for name, i in found.items() if i.takes_function] == ["pick"]
    assert found["models"].default is inspect.Parameter.empty


def test_args_of_a_docstring_are_read():
    """Texts of the Args section are joined and end with the section."""
    assert argument_docs(many.__doc__ or "") == {
        "question": "A text, on two lines.",
        "judge": "Scores.",
    }


def test_json_values_become_typed_values():
    """Chats, nested models and lists have their types behind `bind`."""
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    given = {"question": turns, "models": [["local:a"], ["local:b"]], "numbers": [1, 2]}

    values = bind(inputs_of(many), given, make_model)

    assert values["question"] == (motet.Message.system("s"), motet.Message.user("u"))
    assert values["models"] == [[Model("local:a")], [Model("local:b")]]
    assert values["numbers"] == [1, 2]


def test_a_conversation_that_no_text_stands_for_is_written_as_json():
    """Where an input takes chats and no text, its option reads turns; plain words are no chat."""
    inputs = {each.name: each for each in inputs_of(programs.compare_conversations)}
    entry = inputs["conversation_a"]
    turns = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]

    given = entry.plain(json.dumps(turns))

    assert bind([entry], {entry.name: given}, make_model) == {
        entry.name: (motet.Message.user("u"), motet.Message.assistant("a"))
    }
    assert inputs["reference"].plain("none") is None
    with pytest.raises(CommandError, match="conversation_a is 'some words'"):
        entry.plain("some words")


@given(st.text())
def test_escaped_text_holds_no_control_character(text):
    """What is shown moves no cursor; what is plain stays as it is."""
    shown = escaped(text)

    assert all(c in "\n\t" or (ord(c) >= 32 and not 0x7F <= ord(c) < 0xA0) for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    assert shown.encode("utf-8").decode("utf-8") == shown
    if text.isascii() and text.isprintable():
        assert shown == text


@given(st.text(), st.integers(8, 50))
def test_one_line_is_one_line(text, most):
    """A text on one line has no line end and is not longer than asked."""
    shown = one_line(text, most)

    assert len(shown) <= most
    assert len(shown.splitlines()) <= 1


def test_keys_stay_where_another_type_takes_them():
    """A mapping beside the dataclass, and pydantic's own dataclasses, take keys of any name."""
    values = bind(
        inputs_of(placed), {"text": "t", "table": {"y": 1}, "anything": {"y": 1}}, make_model
    )

    assert values["table"] == {"y": 1}
    assert values["anything"].y == 1


def test_a_text_that_is_an_object_stands_for_one():
    """Of a text or a dataclass, JSON gives the dataclass; any other text stays as it is."""
    spot = {i.name: i for i in inputs_of(placed)}["spot"]

    assert bind(inputs_of(placed), {"text": "t", "spot": spot.plain('{"x": 3}')}, make_model) == {
        "text": "t",
        "spot": Spot(3),
    }
    assert spot.plain("{x}") == "{x}"
    assert {i.name: i.plain('{"x": 3}') for i in inputs_of(placed)}["text"] == '{"x": 3}'

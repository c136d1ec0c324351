"""Outputs: constraints, reading replies, and which type fits where."""

import collections.abc
import dataclasses
import enum
import json
import re
import typing
from typing import Annotated, Any, Literal, NewType, Protocol, TypedDict, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from motet import Completion, Message, Ref
from motet.errors import (
    CutOffReplyError,
    EmptyReplyError,
    OutcomeError,
    ParseError,
    RefusalError,
)
from motet.outputs import Output, describe, dump_value, element_type, fits, load_value


class City(BaseModel):
    name: str
    people: int = 0


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int


class Table(TypedDict):
    a: int


class Measured(Protocol):
    def measure(self) -> int: ...


UserId = NewType("UserId", str)
T = TypeVar("T")


def parse(annotation: Any, text: str, **settings: Any) -> Any:
    return Output(annotation).parse(Completion(text, **settings))


GOOD = [
    (str, " text\n", " text\n"),
    (Any, "text", "text"),
    (int, " 42\n", 42),
    (int, "-7", -7),
    (float, "3.5", 3.5),
    (float, "7", 7.0),
    (bool, "true", True),
    (bool, "False.", False),
    (bool, '"True"', True),
    (Literal["yes", "no"], "yes", "yes"),
    (Literal["yes", "no"], "no.", "no"),
    (Literal[1, 2], "2", 2),
    (Literal["a", 1], "1", 1),
    (list[int], "[1, 2]", [1, 2]),
    (list[str], '```json\n["a"]\n```', ["a"]),
    (list[int], "[]", []),
    (City, '{"name": "Ulm"}', City(name="Ulm")),
    (list[City], '[{"name": "Ulm", "people": 2}]', [City(name="Ulm", people=2)]),
    (int | None, "null", None),
    (int | None, "3", 3),
    (typing.Optional[City], "null", None),  # noqa: UP045
    (dict[str, int], '{"a": 1}', {"a": 1}),
    (Colour, '"red"', Colour.RED),
    (Point, '{"x": 1}', Point(1)),
    (tuple[int, str], '[1, "a"]', (1, "a")),
    (Ref[int], "5", 5),
]


@pytest.mark.parametrize(("annotation", "text", "expected"), GOOD)
def test_a_reply_is_read_as_its_declared_type(annotation: Any, text: str, expected: Any) -> None:
    """Each kind of output has its own exact reading."""
    value = parse(annotation, text)

    assert value == expected
    assert type(value) is type(expected)


BAD = [
    (int, "4.5"),
    (int, "forty"),
    (int, "42 apples"),
    (int, "9" * 5000),
    (float, "nan"),
    (float, "inf"),
    (float, "1e999"),
    (float, "1,5"),
    (bool, "yes"),
    (bool, "true or false"),
    (bool, "1"),
    (Literal["yes", "no"], "maybe"),
    (Literal["yes", "no"], "yes, because"),
    (Literal["yes", "no"], "YES"),
    (Literal[1, 2], "3"),
    (list[int], "[1, 'a']"),
    (list[int], '["a"]'),
    (list[int], "1, 2"),
    (list[int], "[1"),
    (City, "{}"),
    (City, "Ulm"),
    (City, '{"name": "Ulm"} and more'),
    (int | None, "none"),
    (dict[str, int], "[]"),
    (Colour, '"blue"'),
    (list[Any], "[" * 100_000),
    (list[str], '["\ud800"]'),
    (int, "\x00"),
]


@pytest.mark.parametrize(("annotation", "text"), BAD)
def test_a_reply_of_another_type_is_a_parse_error(annotation: Any, text: str) -> None:
    """Nothing is guessed: what does not have the type fails, and keeps the completion."""
    completion = Completion(text)

    with pytest.raises(ParseError) as caught:
        Output(annotation).parse(completion)

    assert caught.value.completion is completion
    assert describe(annotation) in str(caught.value)


@pytest.mark.parametrize(
    "annotation",
    [
        int,
        bool,
        Literal["a"],
        list[int],
        City,
        float,
    ],
)
def test_the_message_of_a_parse_error_stays_short(annotation: Any) -> None:
    """A reply of a megabyte makes no error of a megabyte."""
    with pytest.raises(ParseError) as caught:
        parse(annotation, "x" * 1_000_000)

    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "annotation", [int, float, bool, Literal["a"], list[int], City], ids=describe
)
def test_the_message_of_a_parse_error_holds_no_control_characters(annotation: Any) -> None:
    """A reply cannot paint on a terminal through an error."""
    with pytest.raises(ParseError) as caught:
        parse(annotation, "\x1b[31mred\x07")

    assert "\x1b" not in str(caught.value)
    assert "\x07" not in str(caught.value)


@pytest.mark.parametrize("option", ["a.", "it's'", "'quoted'", '"'])
def test_every_option_of_a_literal_can_be_answered(option: str) -> None:
    """The exact text of an option is always that option."""
    annotation = Literal[option, "other"]  # type: ignore[valid-type]

    assert parse(annotation, option) == option


KINDS = [str, int, float, bool, Literal["a"], list[int], City, int | None, Any]


@pytest.mark.parametrize("annotation", KINDS, ids=describe)
@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_an_empty_reply_is_its_own_outcome(annotation: Any, text: str) -> None:
    """No type reads an empty reply as a value."""
    with pytest.raises(EmptyReplyError):
        parse(annotation, text)


@pytest.mark.parametrize("annotation", KINDS, ids=describe)
@pytest.mark.parametrize("reason", ["length", "abort"])
def test_a_cut_off_reply_is_its_own_outcome(annotation: Any, reason: Any) -> None:
    """A reply that is not whole is no value, even where its text would parse."""
    with pytest.raises(CutOffReplyError):
        parse(annotation, "1", finish_reason=reason)


@pytest.mark.parametrize("annotation", KINDS, ids=describe)
def test_a_refusal_is_its_own_outcome(annotation: Any) -> None:
    """A refusal comes before emptiness and parsing."""
    with pytest.raises(RefusalError, match="cannot help"):
        parse(annotation, "", finish_reason="refusal", refusal="cannot help")


def test_keep_cut_off_takes_what_is_there() -> None:
    """With keep_cut_off a cut reply is read as far as it goes, but never an empty one."""
    output = Output(str, keep_cut_off=True)

    assert output.parse(Completion("half", "length")) == "half"
    with pytest.raises(EmptyReplyError):
        output.parse(Completion("", "length"))


@pytest.mark.parametrize("reason", ["stop", "length", "refusal", "abort", "tool_calls"])
def test_a_completion_is_given_as_it_is(reason: Any) -> None:
    """`-> Completion` judges nothing."""
    completion = Completion("", reason)

    assert Output(Completion).parse(completion) is completion


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from([int, float, bool, Literal["a", "b"], list[int], City, int | None]),
    st.text(st.characters(exclude_categories=()), max_size=40),
)
def test_any_text_is_a_value_of_the_type_or_an_outcome_error(annotation: Any, text: str) -> None:
    """No reply makes a foreign error."""
    try:
        value = parse(annotation, text)
    except OutcomeError:
        return

    assert load_value(annotation, dump_value(annotation, value)) == value


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=()), min_size=1))
def test_text_passes_unchanged(text: str) -> None:
    """`-> str` is the identity on texts that are not blank."""
    if not text.strip():
        return

    assert parse(str, text) == text


CONSTRAINTS = [
    (str, None),
    (Completion, None),
    (Any, None),
    (bool, ("choice", ("true", "false"))),
    (Literal["yes", 1, True], ("choice", ("yes", "1", "true"))),
]


@pytest.mark.parametrize(("annotation", "expected"), CONSTRAINTS)
def test_free_text_is_unconstrained_and_choices_are_choices(annotation: Any, expected: Any) -> None:
    """The engine is asked to hold exactly the declared type."""
    constraint = Output(annotation).constraint

    shown = None if constraint is None else (constraint.kind, constraint.value)
    assert shown == expected


@settings(deadline=None, max_examples=200)
@given(st.integers(-(10**17), 10**17))
def test_the_constraint_of_an_int_admits_what_reads_as_that_int(number: int) -> None:
    """Decoding within the constraint always gives a value."""
    constraint = Output(int).constraint
    assert constraint is not None

    assert re.fullmatch(constraint.value, str(number))
    assert parse(int, str(number)) == number


@settings(deadline=None, max_examples=200)
@given(st.from_regex(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?", fullmatch=True))
def test_what_the_constraint_of_a_float_admits_reads_as_a_float(text: str) -> None:
    """Every text within the constraint is a finite number."""
    constraint = Output(float).constraint
    assert constraint is not None

    assert re.fullmatch(constraint.value, text)
    assert parse(float, text) == float(text)


@pytest.mark.parametrize("annotation", [list[int], City, int | None, dict[str, int], Colour, Point])
def test_structures_are_constrained_by_their_schema(annotation: Any) -> None:
    """Everything else is JSON of a schema, which templates may show."""
    output = Output(annotation)

    assert output.constraint is not None
    assert output.constraint.kind == "json_schema"
    assert json.loads(output.schema) == output.constraint.value


FITS = [
    (str, str),
    (int, float),
    (bool, int),
    (str, Any),
    (Any, int),
    (str, object),
    (str, str | None),
    (str | None, str),
    (str, typing.Union[int, str]),  # noqa: UP007
    (None | str, typing.Optional[str]),  # noqa: UP045
    (Literal["a"], str),
    (Literal["a"], Literal["a", "b"]),
    (Literal["a", "b"], Literal["b", "c"]),
    (str, Literal["a"]),
    (Literal[1, 2], float),
    (list[str], list[str]),
    (list[int], list[float]),
    (list, list[str]),
    (list[str], list),
    (list[str], collections.abc.Sequence[str]),
    (list[str], collections.abc.Iterable),
    (list[Any], list[int]),
    (tuple[str, ...], list[str]),
    (list[Message], tuple[Message, ...]),
    (dict[str, int], collections.abc.Mapping[str, float]),
    (City, BaseModel),
    (UserId, str),
    (str, UserId),
    (Annotated[str, "x"], str),
    (int, Annotated[float, "x"]),
    (Ref[str], str),
    (T, str),
    ("Unresolved", int),
    (type(None), None | int),
    (Table, dict[str, Any]),
    (list[str | None], list[str]),
]


@pytest.mark.parametrize(("produced", "expected"), FITS, ids=str)
def test_what_may_be_right_fits(produced: Any, expected: Any) -> None:
    """Only what is surely wrong is refused."""
    assert fits(produced, expected)


def test_a_truth_value_fits_a_float() -> None:
    """As Python and its checkers have it, a bool is an int is a float."""
    assert fits(bool, float)


MISFITS = [
    (str, int),
    (int, str),
    (float, int),
    (str, list[str]),
    (str, collections.abc.Sequence[str]),
    (str, collections.abc.Iterable[str]),
    (list[str], str),
    (list[str], list[int]),
    (list[str], set[str]),
    (list[list[str]], list[str]),
    (City, str),
    (str, City),
    (City, Point),
    (type(None), str),
    (int | str, list[int]),
    (str, int | None),
    (Literal["a"], Literal["b"]),
    (Literal["a"], int),
    (dict[str, str], dict[str, int]),
    (Completion, str),
    (str, Colour),
]


@pytest.mark.parametrize(("produced", "expected"), MISFITS, ids=str)
def test_what_is_surely_wrong_does_not_fit(produced: Any, expected: Any) -> None:
    """A value that cannot be what the parameter asks is refused."""
    assert not fits(produced, expected)


@pytest.mark.parametrize("expected", [Table, Measured])
@pytest.mark.parametrize("produced", [dict, City])
def test_types_that_python_cannot_compare_are_not_refused(produced: Any, expected: Any) -> None:
    """TypedDicts and protocols are unknown, and unknown types fit."""
    assert fits(produced, expected)


ELEMENTS = [
    (list[str], str),
    (collections.abc.Sequence[int], int),
    (tuple[int, ...], int),
    (tuple[int, str], Any),
    (list[str] | None, str),
    (str | list[str], str),
    (list[str] | list[int], Any),
    (list, Any),
    (str, Any),
    (Any, Any),
    (Ref[list[str]], str),
]


@pytest.mark.parametrize(("annotation", "expected"), ELEMENTS, ids=str)
def test_the_type_of_elements_is_known_where_it_is_sure(annotation: Any, expected: Any) -> None:
    """A list's elements are checked only where there is one possible type."""
    assert element_type(annotation) == expected


ROUND_TRIPS: list[tuple[Any, Any]] = [
    (Any, None),
    (Any, [1, 2.5, "a", None, True]),
    (Any, {"a": {"b": []}}),
    (str, "\ud800\x00"),
    (list[City], [City(name="Ulm")]),
    (Colour, Colour.RED),
    (Point, Point(1)),
    (tuple[int, ...], (1, 2)),
    (set[int], {1, 2}),
    (int | None, None),
    (Completion, Completion("a", "length")),
    (tuple[Message, ...], (Message.user("a"),)),
]


@pytest.mark.parametrize(("annotation", "value"), ROUND_TRIPS, ids=str)
def test_values_come_back_as_they_are(annotation: Any, value: Any) -> None:
    """What is written is ASCII JSON, and reads back equal and of the same type."""
    data = dump_value(annotation, value)

    loaded = load_value(annotation, data)

    assert data.isascii()
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, {1, 2}, b"a", [object()], City(name="a"), [b""]])
def test_what_would_not_come_back_is_refused(value: Any) -> None:
    """Without an annotation only plain JSON can be journaled."""
    with pytest.raises(TypeError):
        dump_value(Any, value)


@pytest.mark.parametrize(
    ("annotation", "value"), [(float, 3), (list[float], [3, 2.5]), (list[int], ["a"]), (str, None)]
)
def test_plain_json_that_is_not_quite_of_its_type_comes_back_as_it_is(
    annotation: Any, value: Any
) -> None:
    """A step that returns 3 for a float has returned 3, on resume too."""
    loaded = load_value(annotation, dump_value(annotation, value))

    assert repr(loaded) == repr(value)


@pytest.mark.parametrize(("annotation", "value"), [(int, City(name="a")), (list[int], [{1}])])
def test_a_value_of_another_type_than_annotated_is_refused(annotation: Any, value: Any) -> None:
    """A wrong annotation is found when the value is written, not when a resume reads it."""
    with pytest.raises(TypeError):
        dump_value(annotation, value)


def test_types_are_named_shortly() -> None:
    """Messages name types as a person writes them."""
    assert describe(str) == "str"
    assert describe(Any) == "anything"
    assert describe(list[str]) == "list[str]"
    assert describe(typing.Literal["a"]) == "Literal['a']"

"""Digests: equal values have equal encodings, different ones different encodings."""

import dataclasses
import datetime as dt
import decimal
import enum
import os
import pathlib
import re
import subprocess
import sys
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from motet import Message, Model, step
from motet.digest import digest_bytes, encode
from motet.errors import UnboundInputError
from motet.testing import ScriptedEngine


@step
def one() -> int:
    return 1


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class First(BaseModel):
    value: Any = None


class Second(BaseModel):
    value: Any = None


@dataclasses.dataclass
class Third:
    value: Any = None


def encoded(value: Any, ids: dict[Any, str] | None = None) -> bytes:
    out: list[bytes] = []
    encode(value, out, lambda ref: (ids or {})[ref])
    return b"".join(out)


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=()), max_size=8)
    | st.binary(max_size=8)
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.frozensets(ATOMS, max_size=3)
        | inner.map(lambda v: First(value=v))
        | inner.map(lambda v: Second(value=v))
        | inner.map(lambda v: Third(v))
    ),
    max_leaves=10,
)


def shape(value: Any) -> Any:
    """Return a form in which values are equal only where their types are, too."""
    if isinstance(value, (First, Second, Third)):
        return (type(value).__name__, shape(value.value))
    if isinstance(value, list):
        return ("list", tuple(shape(v) for v in value))
    if isinstance(value, dict):
        return ("dict", tuple((k, shape(v)) for k, v in value.items()))
    if isinstance(value, frozenset):
        return ("set", frozenset(shape(v) for v in value))
    if isinstance(value, float):
        return ("float", value.hex())
    return (type(value).__name__, value)


@settings(deadline=None, max_examples=400)
@given(VALUES, VALUES)
def test_encodings_are_equal_exactly_where_values_and_types_are(a: Any, b: Any) -> None:
    """There is no collision between values, nor between types."""
    same = encoded(a) == encoded(b)

    assert same == (shape(a) == shape(b))


@settings(deadline=None, max_examples=200)
@given(st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=4))
def test_encodings_are_prefix_free(a: list[Any], b: list[Any]) -> None:
    """Arguments cannot run into one another."""
    first = b"".join(encoded(v) for v in a)
    second = b"".join(encoded(v) for v in b)

    assert (first == second) == (shape(a) == shape(b))


PAIRS = {
    "1, True": (1, True),
    "1, 1.0": (1, 1.0),
    "1, '1'": (1, "1"),
    "'a', b'a'": ("a", b"a"),
    "0.0, -0.0": (0.0, -0.0),
    "None, 'None'": (None, "None"),
    "[], {}": ([], {}),
    "[[1], 2], [[1, 2]]": ([[1], 2], [[1, 2]]),
    "'ab' 'c', 'a' 'bc'": (["ab", "c"], ["a", "bc"]),
    "enum, its value": (Colour.RED, "red"),
    "int enum, int": (Number.ONE, 1),
    "models": (First(value=1), Second(value=1)),
    "model, dict": (First(value=1), {"value": 1}),
    "set, list": ({1}, [1]),
    "date, text": (dt.date(2024, 1, 1), "2024-01-01"),
    "path, text": (pathlib.Path("a"), "a"),
    "decimals": (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
    "messages": (Message.user("a"), Message.system("a")),
    "models of one engine": (
        Model(ScriptedEngine(name="a")),
        Model(ScriptedEngine(name="b")),
    ),
    "functions": (len, max),
}


@pytest.mark.parametrize(("a", "b"), PAIRS.values(), ids=PAIRS.keys())
def test_values_that_look_alike_are_told_apart(a: Any, b: Any) -> None:
    """A type is part of the encoding."""
    assert encoded(a) != encoded(b)


def test_a_ref_counts_by_its_id() -> None:
    """Equal ids encode equally, different ones differently."""
    a, b = one(), one()

    assert encoded([a], {a: "x"}) == encoded([b], {b: "x"})
    assert encoded([a], {a: "x"}) != encoded([a], {a: "y"})
    assert encoded([a], {a: "x"}) != encoded(["x"])


def test_a_list_and_a_tuple_count_as_one() -> None:
    """JSON knows lists only, so a value read back from the journal keeps its id."""
    assert encoded([1, (2, 3)]) == encoded((1, [2, 3]))


def test_subclasses_of_text_count_as_text() -> None:
    """A str subclass is its text."""

    class Special(str):
        __slots__ = ()

    assert encoded(Special("a")) == encoded("a")


def test_an_identity_stands_for_the_whole_object() -> None:
    """Objects may name themselves."""

    class Tool:
        def __init__(self, name: str) -> None:
            self.identity = name

    assert encoded(Tool("a")) == encoded(Tool("a"))
    assert encoded(Tool("a")) != encoded(Tool("b"))


def test_an_object_without_identity_is_refused() -> None:
    """A default repr shows an address, which is no identity."""
    with pytest.raises(UnboundInputError, match="identity"):
        encoded(object())


ADDRESSES = {
    "generator": lambda: (x for x in [1]),
    "lock": threading.Lock,
    "list of generators": lambda: [(x for x in [1])],
}


@pytest.mark.parametrize("make", ADDRESSES.values(), ids=ADDRESSES.keys())
def test_an_object_whose_own_repr_shows_an_address_is_refused(make: Any) -> None:
    """No id depends on where an object lies in memory."""
    with pytest.raises(UnboundInputError):
        encoded(make())


def test_lambdas_with_other_constants_differ() -> None:
    """`lambda x: x > 1` changed to `x > 2` is another input; a resume must notice."""
    first, second = (lambda x: x > 1), (lambda x: x > 2)

    assert encoded(first) != encoded(second)


def test_long_patterns_differ_in_their_ends() -> None:
    """A regular expression counts by its whole source."""
    first, second = re.compile("a" * 300 + "1"), re.compile("a" * 300 + "2")

    assert encoded(first) != encoded(second)


def test_a_data_field_named_identity_does_not_hide_the_others() -> None:
    """A pydantic model is all of its fields, whatever they are called."""

    class Person(BaseModel):
        identity: str
        age: int

    assert encoded(Person(identity="a", age=1)) != encoded(Person(identity="a", age=2))


@pytest.mark.parametrize("text", ["\ud800", "\x00", "é", "e\u0301", "\U0001f600", ""])
def test_any_text_can_be_encoded(text: str) -> None:
    """Lone surrogates, controls and composed forms are kept apart."""
    others = ["\ud801", "\x01", "\u00e8", "a"]

    assert all(encoded(text) != encoded(other) for other in others)


def test_digests_are_32_hexadecimal_characters() -> None:
    """The digest is a fixed function: this golden value never changes."""
    assert digest_bytes(b"") == "cae66941d9efbd404e4d88758ea67670"
    assert len(digest_bytes(b"x" * 1000)) == 32


_SCRIPT = """
import motet
from motet.calls import Calls
from motet.testing import ScriptedEngine

engine = ScriptedEngine()

@motet.prompt(user="{{ q }}")
def ask(q: str) -> str:
    raise NotImplementedError

@motet.step
def join(parts: object, **options: object) -> str:
    return str(parts)

@motet.program
def whole():
    refs = [ask.on(engine, stop=("a", "b"))(f"q{i}") for i in range(3)]
    return join({"b": refs[0], "a": {1, "x", "y", "zz"}, "s": {refs[1], refs[2]}}, z=1, y={"k": refs})

calls = Calls()
calls.add(whole())
print(sorted(c.id for c in calls.by_ref.listed))
print(calls.by_ref and [c.id for c in calls.by_ref.listed if c.ref.operation.kind == "program"])
"""


def test_ids_do_not_depend_on_the_process() -> None:
    """Two processes with other hash seeds give one program the same ids."""
    shown = set()

    for seed in ("0", "1", "42"):
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        shown.add(done.stdout)

    assert len(shown) == 1
    assert "[]" not in shown.pop()


def test_methods_differ_by_what_they_are_bound_to() -> None:
    """`"a".startswith` and `"b".startswith` are two functions; one of an unknown object is its name."""

    class Bare:
        def method(self) -> int:
            return 1

    assert encoded("a".startswith) == encoded("a".startswith)
    assert encoded("a".startswith) != encoded("b".startswith)
    assert encoded("a".__eq__) != encoded("b".__eq__)
    assert encoded(Bare().method) == encoded(Bare().method)
    assert encoded(First(value=1).model_dump) != encoded(First(value=2).model_dump)
    assert encoded(len) == encoded(len)

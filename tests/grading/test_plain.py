"""Plain values go over as they are, and nothing else comes out."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.grading.inside.plain import UnsendableError, decode, encode

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
_keys = st.none() | st.booleans() | st.integers() | st.text() | st.tuples(st.integers(), st.text())
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(_keys, inner)
        | st.sets(_keys)
        | st.frozensets(_keys)
    ),
    max_leaves=30,
)
_numbers = st.lists(
    st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.integers(-5, 5), min_size=10
)


@given(
    _values | _numbers | st.lists(st.integers(), min_size=16) | st.lists(st.floats(), min_size=9)
)
def test_what_is_sent_arrives(value: Any) -> None:
    """Values, their order, their classes and the signs of zeros are the same afterwards."""
    assert _shown(decode(encode(value))) == _shown(value)


def _shown(value: Any) -> str:
    """The text of a value; of a set in one order, since it has none of its own."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__} {sorted(map(_shown, value))}"
    if isinstance(value, dict):
        return f"dict {[(_shown(key), _shown(each)) for key, each in value.items()]}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} {[_shown(each) for each in value]}"
    return repr(value)


@given(st.binary(max_size=60))
def test_bytes_of_anybody_are_a_value_or_an_error(data: bytes) -> None:
    """No other exception leaves the reader."""
    try:
        decode(data)
    except UnsendableError:
        pass


@given(_values, st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_a_value_or_an_error(value: Any, at: int, byte: int) -> None:
    """Nor where the bytes are almost right."""
    data = bytearray(encode(value))
    data[at % len(data)] = byte
    try:
        decode(bytes(data))
    except UnsendableError:
        pass


def test_classes_of_the_sender_become_builtins() -> None:
    """What a subclass says of itself is not asked."""

    class Liar(int):
        def __index__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    class Hoard(list[int]):
        def __iter__(self) -> Any:
            return iter([9, 9])

        def __len__(self) -> int:
            return 2

    found = decode(encode([Liar(3), Hoard([1])]))

    assert repr(found) == "[3, [1]]"
    assert [type(value) for value in found] == [int, list]


def test_what_is_not_plain_cannot_be_sent() -> None:
    """An object, a value in a circle and a value too deep are errors of one class."""
    circle: list[Any] = []
    circle.append(circle)
    for value in (object(), circle, print, {1: {2: object}}):
        with pytest.raises(UnsendableError):
            encode(value)


def test_a_number_that_is_none_arrives_as_such() -> None:
    """NaN in a packed list and alone."""
    value = decode(encode([math.nan] * 20 + [1]))

    assert [math.isnan(number) for number in value] == [True] * 20 + [False]
    assert type(value[-1]) is int


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"int 1 ",
        b"int 99999999999 x",
        b"list 12 999999999999",
        b"list 1 1" * 500,
        b"set 1 1list 1 0",
        b"ref 6 kept 0",
        b"what 1 1",
        b"mixed 3 abc",
        b"floats 3 abc",
        b"none 0 none 0 ",
    ],
)
def test_malformed_bytes_are_an_error(data: bytes) -> None:
    """Counts that are too large take no memory."""
    with pytest.raises(UnsendableError):
        decode(data)

"""Python literals by value and type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import DataError
from motet.grading.literals import literal


@pytest.mark.parametrize(
    ("text", "gold", "verdict"),
    [
        ("[1,2]", "[1, 2]", "right"),
        ('"UppEr"', "'UppEr'", "right"),
        ("zejrohaj", "'zejrohaj'", "right"),
        ("[4]", "'[4]'", "right"),
        ("{'b': 1, 'a': 2}", "{'a': 2, 'b': 1}", "right"),
        ("{2, 1}", "{1, 2}", "right"),
        ("8.50", "8.5", "right"),
        ("1", "True", "wrong"),
        ("1.0", "1", "wrong"),
        ("[1]", "(1,)", "wrong"),
        ("{1: True}", "{1: 1}", "wrong"),
        ("{[]}", "1", "wrong"),
        ("len('abc')", "3", "wrong"),
        ("9**9**9**9", "3", "wrong"),
        ("'a\\d'", "'a\\\\d'", "right"),
        (r"['a\d']", r"['a\\d']", "right"),
        (r"t\nA", r"'t\nA'", "right"),
        ('"t\nA"', r"'t\nA'", "right"),
        ("t\nB", r"'t\nA'", "wrong"),
        ("'{'w': 3}'", "{'w': 3}", "right"),
        ("'b'1''", "\"b'1'\"", "right"),
        ('"{}"', "{}", "wrong"),
        ("'20'", "20", "wrong"),
        ("'", "'x'", "wrong"),
        ("", "''", "no answer"),
    ],
)
def test_literals(text: str, gold: str, verdict: str) -> None:
    """Spelling does not count, types do, and nothing is called or worked out."""
    assert literal(text, [gold]).verdict == verdict


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(_VALUES, _VALUES)
def test_written_values_are_equal_just_where_they_are(a: object, b: object) -> None:
    """`repr` of two values is right exactly where it says that they are the same."""
    assert literal(repr(a), [repr(a)]).verdict == "right"
    if not isinstance(b, str):
        is_right = literal(repr(a), [repr(b)]).verdict == "right"
        assert is_right == (repr(a) == repr(b) or (a == b and isinstance(a, dict)))


def test_golds_are_needed() -> None:
    """An empty gold can be equalled by nothing."""
    with pytest.raises(DataError):
        literal("1", [])

"""How one expression is read."""

import pytest

from motet.search.algebra import TooLargeError
from motet.search.expressions import Reader, UnreadableError

PLAIN = [
    ("1 + 2 * 3", "7"),
    ("2 ^ 3 x", "8*x"),
    ("1 / 2 x", "1/2*x"),
    ("- 2 ^ 2", "-4"),
    ("2 * - 3", "-6"),
    ("2 \\frac { 1 } { 3 }", "7/3"),
    ("2 \\frac 13", "7/3"),
    ("2 \\frac { x } { 3 }", "2/3*x"),
    ("2 1 / 3", "7/3"),
    ("\\frac 35", "3/5"),
    ("\\sqrt 12", "2*3^(1/2)"),
    ("\\sqrt [ 3 ] { 8 }", "2"),
    ("0.1 \\overline { 6 }", "1/6"),
    ("4 !", "24"),
    ("\\binom { 4 } { 2 }", "6"),
    ("| 2 - 5 |", "3"),
    ("\\sin ^ 2 x", "sin(x)^2"),
    ("\\log _ 2 3", "log_2(3)"),
    ("x _ 1 + x _ { 12 }", "x_12+x_1"),
    ("12 _ 5", "12_5"),
    ("\\exp ( 2 )", "e^2"),
]


@pytest.mark.parametrize(("text", "form"), PLAIN)
def test_golden_expressions(text: str, form: str) -> None:
    """Precedence, arguments without braces, mixed numbers, functions and subscripts."""
    assert str(Reader(text.split()).value()) == form


@pytest.mark.parametrize(
    "text", ["", "1 +", "( 1", "1 2", "\\frac 1", "2 ^", "\\sqrt [ x ] 2", "5 x 2"]
)
def test_broken_expressions_are_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UnreadableError):
        Reader(text.split()).value()


def test_nesting_is_bounded() -> None:
    """Deeper than any answer is."""
    with pytest.raises(TooLargeError):
        Reader(["("] * 99 + ["1"] + [")"] * 99).value()

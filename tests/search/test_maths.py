"""How an answer as a whole is read: lists, sets, intervals, relations, matrices, words."""

import pytest

from motet.search.maths import canonical_maths


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("(-2,1)", "(-2,1)"),
        (r"\left(\frac35,\frac83\right]", "(3/5,8/3]"),
        ("3, 1, 2", "{1,2,3}"),
        (r"\{\}", "{}"),
        (r"\{5\}", "{5}"),
        ("1,234", "1234"),
        ("(1,234)", "(1,234)"),
        ("1,2345", "{1,2345}"),
        ("x = 1 or x = 2", "{1,2}"),
        ("x=1, y=2", "{x=1,y=2}"),
        ("f(x) = 2x", "2*x"),
        (r"-1 < x \le 2", "-1<x<=2"),
        (r"2 \ge x > -1", "-1<x<=2"),
        (r"x \ne 3", "x!=3"),
        ("a+b=c", "c-b-a=0"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "matrix(1,2;3,4)"),
        (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "vmatrix(1,2;3,4)"),
        (r"\text{East}", "east"),
        ("an odd number", "an odd number"),
        ("(C)", "C"),
        ("12 inches", "12"),
        (r"5\pi", "5*pi"),
    ],
)
def test_golden_forms(answer: str, form: str) -> None:
    """One text for each kind of answer."""
    assert canonical_maths(answer) == form


@pytest.mark.parametrize(
    "answer",
    ["", "(1,2", "1)", r"\begin{pmatrix}1\end{bmatrix}", r"\begin{cases}1\end{cases}", "3:4", "1 2",
     "2^3^4", "x == 2", r"\foo", "12 apples and 3 pears", "5 million", r"5\text{ million}", r"2\text{ if }x>0", "1/0", "x" * 501],
)  # fmt: skip
def test_what_is_not_understood_has_no_form(answer: str) -> None:
    """It is left to be compared as text."""
    assert canonical_maths(answer) is None

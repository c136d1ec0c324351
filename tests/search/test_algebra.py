"""Exact arithmetic: one normal form, and an end to what is too large."""

from fractions import Fraction

import pytest

from motet.search.algebra import Ratio, TooLargeError

X, Y, IMAGINARY = Ratio.atom("x"), Ratio.atom("y"), Ratio.atom("i")
ONE = Ratio.of(1)


def root(number: int, degree: int = 2) -> Ratio:
    return Ratio.of(number).root(degree)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Ratio.of(Fraction(6, -4)), "-3/2"),
        (X - X, "0"),
        (root(72), "6*2^(1/2)"),
        (ONE / root(2), "1/2*2^(1/2)"),
        (root(2) * root(3) * root(6), "6"),
        (root(-16, 3), "-2*2^(1/3)"),
        (root(-4), "2*i"),
        (IMAGINARY * IMAGINARY, "-1"),
        (ONE / (ONE + IMAGINARY), "-1/2*i+1/2"),
        (ONE / (root(2) + root(3)), "3^(1/2)-2^(1/2)"),
        ((X * X - ONE) / (X - ONE), "x+1"),
        ((X * X * Y - Y) / (X - ONE), "y+x*y"),
        (ONE / (X * Y), "x^-1*y^-1"),
        (X / (Ratio.of(2) * X + Ratio.of(2)), "(1/2*x)/(x+1)"),
        ((X + Y).power(Ratio.of(2)), "y^2+x^2+2*x*y"),
        (X.root(2) * X.root(2), "x"),
        ((X * X).root(2), "root(2,x^2)"),
        (Ratio.of(2).power(X), "power(2,x)"),
        (Ratio.of(8).power(Ratio.of(Fraction(-2, 3))), "1/4"),
    ],
)
def test_values_have_their_normal_form(value: Ratio, text: str) -> None:
    """Roots are taken out and cleared from below the line, factors are cancelled, terms sorted."""
    assert str(value) == text


def test_the_root_of_a_square_is_no_variable() -> None:
    """The root of x^2 is not x, nor is that of x y the product of two roots: signs may differ."""
    assert str((X * X).root(2)) != str(X)
    assert str((X * Y).root(2)) != str(X.root(2) * Y.root(2))


@pytest.mark.parametrize(
    "compute",
    [
        lambda: ONE / Ratio.of(0),
        lambda: ONE / (X - X),
        lambda: Ratio.of(0).power(Ratio.of(0)),
        lambda: Ratio.of(10).power(Ratio.of(10**6)),
        lambda: (X + ONE).power(Ratio.of(99)).power(Ratio.of(99)),
        lambda: Ratio.of(10**18 + 9).root(2),
        lambda: Ratio.of(2).power(Ratio.of(Fraction(1, 99))),
    ],
)
def test_what_has_no_value_or_is_too_large_is_refused(compute: object) -> None:
    """Division by zero and work without bound raise, at once."""
    with pytest.raises(TooLargeError):
        compute()  # type: ignore[operator]

"""Read one mathematical expression, in LaTeX or plain notation, as an exact value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from math import comb, factorial

from motet.search.algebra import Ratio, TooLargeError

MAX_DEPTH = 40
_MAX_EXPONENT = 400
FUNCTIONS = frozenset(
    ["sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "ln", "log", "exp"]
)
_GREEK = frozenset(
    [
        r"\alpha",
        r"\beta",
        r"\gamma",
        r"\delta",
        r"\epsilon",
        r"\theta",
        r"\lambda",
        r"\mu",
        r"\phi",
        r"\varphi",
        r"\omega",
        r"\sigma",
        r"\rho",
        r"\tau",
        r"\psi",
        r"\eta",
        r"\kappa",
        r"\nu",
        r"\xi",
        r"\zeta",
        r"\Delta",
        r"\Omega",
        r"\Phi",
    ]
)


class UnreadableError(ValueError):
    """The answer is no expression that is known here."""


class Reader:
    """A recursive-descent reader of one expression."""

    def __init__(self, tokens: Sequence[str], depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise TooLargeError
        self._tokens = tokens
        self._at = 0
        self._depth = depth
        """Of arguments and brackets that are open."""

    def value(self) -> Ratio:
        found = self._sum()
        if self._at < len(self._tokens):
            raise UnreadableError
        return found

    @property
    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        mark = self._next
        if not mark:
            raise UnreadableError
        self._at += 1
        return mark

    def _sum(self) -> Ratio:
        found = self._product()
        while self._next in {"+", "-"}:
            sign = self._take()
            term = self._product()
            found = found + term if sign == "+" else found - term
        return found

    def _product(self) -> Ratio:
        sign = 1
        while self._next in {"+", "-"}:
            sign = -sign if self._take() == "-" else sign
        found = Ratio.of(sign) * self._power()
        while self._next and self._next not in {"+", "-", "=", ",", ")", "]", "}", "|"}:
            mark = self._next
            if mark in {"*", r"\cdot", r"\times"}:
                self._take()
                found *= self._factor()
            elif mark in {"/", r"\div"}:
                self._take()
                found /= self._factor()
            elif _is_digit(mark) and self._tokens[self._at - 1] not in {")", "}", "!"}:
                raise UnreadableError
            else:
                found *= self._power()
        return found

    def _factor(self) -> Ratio:
        """Read a factor behind an operator; it may have a sign."""
        sign = 1
        while self._next in {"+", "-"}:
            sign = -sign if self._take() == "-" else sign
        return Ratio.of(sign) * self._power()

    def _power(self) -> Ratio:
        base = self._primary()
        while self._next in {"^", "!"}:
            if self._take() == "!":
                number = base.number
                if number is None or number.denominator != 1 or not 0 <= number <= 200:
                    raise UnreadableError
                base = Ratio.of(factorial(int(number)))
            else:
                base = base.power(self._argument())
                if self._next == "^":
                    raise UnreadableError
        return base

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        """Count what is read inside of something else, so that its depth has an end."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooLargeError
        yield
        self._depth -= 1

    def _argument(self) -> Ratio:
        """Read `{...}`, or the one mark that LaTeX takes: a digit, a letter, a command."""
        with self._deeper():
            return self._one()

    def _one(self) -> Ratio:
        if self._next == "{":
            return self._primary()
        if self._next in {"-", "+"}:
            return self._factor()
        mark = self._take()
        if _is_digit(mark) or mark == "(":
            self._at -= 1
            return self._primary()
        if mark in {r"\frac", r"\sqrt"}:
            self._at -= 1
        else:
            return _named(mark)
        return self._primary()

    def _digits(self) -> Ratio:
        """Read an argument of `\\frac`: of a number that stands without braces the first digit."""
        mark = self._next
        if mark.isdigit() and len(mark) > 1:
            self._tokens = [
                *self._tokens[: self._at],
                mark[0],
                mark[1:],
                *self._tokens[self._at + 1 :],
            ]
            self._take()
            return Ratio.of(int(mark[0]))
        return self._argument()

    def _inside(self, close: str) -> Ratio:
        """Read up to the bracket that closes."""
        start, depth = self._at, 0
        opens = {")": "(", "]": "[", "}": "{", "|": ""}[close]
        while self._at < len(self._tokens):
            mark = self._tokens[self._at]
            if mark == close and depth == 0:
                inner = self._tokens[start : self._at]
                self._at += 1
                return Reader(inner, self._depth + 1).value()
            depth += (mark == opens) - (mark == close)
            self._at += 1
        raise UnreadableError

    def _primary(self) -> Ratio:
        mark = self._take()
        if _is_digit(mark):
            return self._number(mark)
        if mark in {"(", "[", "{"}:
            return self._inside({"(": ")", "[": "]", "{": "}"}[mark])
        if mark == "|":
            return _function("abs", self._inside("|"))
        if mark == r"\frac":
            above = self._digits()
            return above / self._digits()
        if mark == r"\binom":
            return _chosen(self._digits(), self._digits())
        if mark == r"\sqrt":
            degree = Ratio.of(2)
            if self._next == "[":
                self._take()
                degree = self._inside("]")
            number = degree.number
            if number is None or number.denominator != 1 or not 2 <= number <= 24:
                raise UnreadableError
            return self._argument().root(int(number))
        if mark.startswith("\\") and mark[1:] in FUNCTIONS:
            with self._deeper():
                return self._applied(mark[1:])
        name = mark
        if self._next == "_":
            self._take()
            return Ratio.atom(f"{name}_{self._argument()}")
        return _named(name)

    def _number(self, mark: str) -> Ratio:
        exponent = re.sub(r"[^eE]*", "", mark, count=1)[1:]
        if len(mark) >= 60 or abs(int(exponent or 0)) > _MAX_EXPONENT:
            raise TooLargeError
        value = Fraction(mark + "0" if mark.endswith(".") else mark)
        if value.numerator.bit_length() > 1_000:
            raise TooLargeError
        if self._next == "_":
            self._take()
            return Ratio.atom(f"{mark}_{self._argument()}")
        if self._next == r"\overline" and "." in mark and not exponent:
            return self._repeating(mark)
        if not mark.isdigit():
            return Ratio.of(value)
        return Ratio.of(value + (self._mixed() or 0))

    def _mixed(self) -> Fraction | None:
        """Read the fraction of a mixed number, `\\frac{1}{2}` or `1/2`, where one stands here."""
        rest = "".join(self._tokens[self._at : self._at + 7])
        found = re.match(r"\\frac(?:\{(\d+)\}|(\d))(?:\{(\d+)\}|(\d)(?!\d))", rest)
        if found:
            above, below = int(found[1] or found[2]), int(found[3] or found[4])
            behind = [] if not found[2] else self._tokens[self._at + 1]
            width = 1 + (3 if found[1] else 1) + (3 if found[3] else 1)
            if found[2] and found[4] and behind == found[2] + found[4]:
                width = 2
        else:
            part = self._tokens[self._at : self._at + 3]
            if len(part) < 3 or part[1] != "/" or not (part[0].isdigit() and part[2].isdigit()):
                return None
            above, below, width = int(part[0]), int(part[2]), 3
        if not 0 < above < below:
            return None
        self._at += width
        return Fraction(above, below)

    def _repeating(self, mark: str) -> Ratio:
        self._take()
        digits = self._tokens[self._at + 1] if self._next == "{" else self._next
        if not digits.isdigit() or len(digits) > 20:
            raise UnreadableError
        self._at += 3 if self._next == "{" else 1
        places = len(mark.partition(".")[2])
        start = Fraction(mark + "0")
        return Ratio.of(start + Fraction(int(digits), (10 ** len(digits) - 1) * 10**places))

    def _applied(self, name: str) -> Ratio:
        """Read a function's base or power and its argument."""
        power: Ratio | None = None
        if self._next == "_":
            self._take()
            name = f"{name}_{self._argument()}"
        if self._next == "^":
            self._take()
            power = self._argument()
        if self._next in {"(", "{"}:
            value = self._primary()
        else:
            value = self._power()
            while self._next.isalpha() or self._next in _GREEK or self._next == r"\pi":
                value *= self._power()
        found = _function(name, value)
        return found if power is None else found.power(power)


def _is_digit(mark: str) -> bool:
    return mark[:1].isdigit() or (mark[:1] == "." and len(mark) > 1)


def _named(mark: str) -> Ratio:
    if mark == r"\pi":
        return Ratio.atom("pi")
    if mark in _GREEK or mark == r"\infty" or (len(mark) == 1 and mark.isalpha()):
        return Ratio.atom(mark.lstrip("\\"))
    raise UnreadableError


def _function(name: str, value: Ratio) -> Ratio:
    number = value.number
    if name == "abs" and number is not None:
        return Ratio.of(abs(number))
    if name == "exp":
        return Ratio.atom("e").power(value)
    return Ratio.atom(f"{name}({value})")


def _chosen(above: Ratio, below: Ratio) -> Ratio:
    n, k = above.number, below.number
    if n is None or k is None:
        return Ratio.atom(f"binom({above},{below})")
    if n.denominator != 1 or k.denominator != 1 or not 0 <= k <= n <= 200:
        raise UnreadableError
    return Ratio.of(comb(int(n), int(k)))

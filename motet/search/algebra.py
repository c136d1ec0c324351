"""Exact arithmetic on closed expressions, in one normal form: equal forms have equal text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Final, TypeAlias

Monomial: TypeAlias = tuple[tuple[str, Fraction], ...]
"""Atoms with their powers, sorted by name; the empty one is 1."""
Sum: TypeAlias = dict[Monomial, Fraction]
"""Coefficients, none of them 0."""

_MAX_TERMS = 400
_MAX_DEGREE = 64
_MAX_BITS = 4_000
_MAX_FACTOR = 100_000
_MAX_NAME = 1_000
_ONE: Final[Monomial] = ()


class TooLargeError(ValueError):
    """The expression takes more work than is spent on one, or has no value."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A quotient of sums of products of rational numbers, roots, constants and variables.

    It is kept reduced: numbers have no root below the line, and common factors of one variable
    are cancelled. Quotients by sums of several variables are not cancelled, and roots of sums are
    left as they are; two equal ones of those may differ in text, two of different value never
    have the same.
    """

    above: Sum
    below: Sum

    @classmethod
    def of(cls, value: Fraction | int) -> Ratio:
        return cls({_ONE: Fraction(value)} if value else {}, {_ONE: Fraction(1)})

    @classmethod
    def atom(cls, name: str) -> Ratio:
        """Return a variable, a constant, or a function of something, by its name.

        Raises:
            TooLargeError: The name is too long: those of functions of functions grow without end.
        """
        if len(name) > _MAX_NAME:
            raise TooLargeError
        return cls({((name, Fraction(1)),): Fraction(1)}, {_ONE: Fraction(1)})

    def __add__(self, other: Ratio) -> Ratio:
        if self.below == other.below:
            return _reduced(_plus(self.above, other.above), self.below)
        above = _plus(_times(self.above, other.below), _times(other.above, self.below))
        return _reduced(above, _times(self.below, other.below))

    def __neg__(self) -> Ratio:
        return Ratio({m: -c for m, c in self.above.items()}, self.below)

    def __sub__(self, other: Ratio) -> Ratio:
        return self + -other

    def __mul__(self, other: Ratio) -> Ratio:
        return _reduced(_times(self.above, other.above), _times(self.below, other.below))

    def __truediv__(self, other: Ratio) -> Ratio:
        return _reduced(_times(self.above, other.below), _times(self.below, other.above))

    @property
    def number(self) -> Fraction | None:
        """The value of a rational number; None of anything else."""
        if not self.above:
            return Fraction(0)
        is_plain = set(self.above) == {_ONE} and set(self.below) == {_ONE}
        return self.above[_ONE] / self.below[_ONE] if is_plain else None

    def power(self, exponent: Ratio) -> Ratio:
        """Return this to `exponent`; a power that has no exact form is an atom of its own."""
        by = exponent.number
        if by is None:
            return Ratio.atom(f"power({self},{exponent})")
        if not self.above and by <= 0:
            raise TooLargeError
        if by.denominator > 24 or abs(by.numerator) > _MAX_BITS:
            raise TooLargeError
        base = self if by.denominator == 1 else self.root(by.denominator)
        if by < 0:
            base = Ratio.of(1) / base
        found = Ratio.of(1)
        for bit in f"{abs(by.numerator):b}":
            found *= found
            found = found * base if bit == "1" else found
        return found

    def root(self, degree: int) -> Ratio:
        """Return the principal root; of negative numbers the real one where `degree` is odd."""
        if not self.above:
            return self
        if len(self.above) > 1 or set(self.below) != {_ONE}:
            return self._unrooted(degree)
        [(monomial, coefficient)] = self.above.items()
        free = [(name, by) for name, by in monomial if not _is_positive(name)]
        sign = Ratio.of(1)
        if coefficient < 0 and not free and (degree == 2 or degree % 2):
            sign = Ratio.atom("i") if degree == 2 else Ratio.of(-1)
            coefficient = -coefficient
        if coefficient < 0 or len(free) > 1 or any(not 0 < by <= 1 for _, by in free):
            return self._unrooted(degree)
        if any(name == "i" for name, _ in free):
            return self._unrooted(degree)
        powers = {name: by / degree for name, by in monomial}
        for prime, count in _factors(coefficient).items():
            powers[str(prime)] = powers.get(str(prime), Fraction(0)) + Fraction(count, degree)
        carried, factor = _carried(powers)
        return sign * Ratio({carried: factor}, {_ONE: Fraction(1)})

    def _unrooted(self, degree: int) -> Ratio:
        """Return the root as an atom, with the rational factor of what is below it taken out."""
        content = _content(self.above)
        if content == 1:
            return Ratio.atom(f"root({degree},{self})")
        return Ratio.of(content).root(degree) * (self / Ratio.of(content)).root(degree)

    def __str__(self) -> str:
        above = _text(self.above)
        return above if set(self.below) == {_ONE} else f"({above})/({_text(self.below)})"


def _is_positive(name: str) -> bool:
    return name.isdigit() or name in {"pi", "e"}


def _plus(one: Sum, other: Sum) -> Sum:
    found = dict(one)
    for monomial, coefficient in other.items():
        found[monomial] = found.get(monomial, Fraction(0)) + coefficient
    return _checked(found)


def _times(one: Sum, other: Sum) -> Sum:
    if len(one) * len(other) > _MAX_TERMS:
        raise TooLargeError
    found: Sum = {}
    for left, a in one.items():
        for right, b in other.items():
            powers = dict(left)
            for name, by in right:
                powers[name] = powers.get(name, Fraction(0)) + by
            monomial, factor = _carried(powers)
            found[monomial] = found.get(monomial, Fraction(0)) + a * b * factor
    return _checked(found)


def _checked(terms: Sum) -> Sum:
    kept = {monomial: c for monomial, c in terms.items() if c}
    for c in kept.values():
        if c.numerator.bit_length() + c.denominator.bit_length() > _MAX_BITS:
            raise TooLargeError
    return kept


def _carried(powers: Mapping[str, Fraction]) -> tuple[Monomial, Fraction]:
    """Return the monomial of `powers`, and the number that whole powers of its numbers make."""
    factor = Fraction(1)
    kept: list[tuple[str, Fraction]] = []
    for name, by in sorted(powers.items()):
        rest = by
        if name.isdigit():
            if abs(by) * int(name).bit_length() > _MAX_BITS:
                raise TooLargeError
            factor *= Fraction(int(name)) ** (by.numerator // by.denominator)
            rest = by - by.numerator // by.denominator
        elif name == "i" and by.denominator == 1:
            factor *= -1 if by.numerator % 4 >= 2 else 1
            rest = Fraction(by.numerator % 2)
        if rest:
            kept.append((name, rest))
    return tuple(kept), factor


def _reduced(above: Sum, below: Sum) -> Ratio:
    if not below:
        raise TooLargeError
    if not above:
        return Ratio.of(0)
    while len(below) > 1 and (name := _surd(below)) is not None:
        conjugate = {m: -c if name in dict(m) else c for m, c in below.items()}
        above, below = _times(above, conjugate), _times(below, conjugate)
        if not below:
            raise TooLargeError
    if len(below) > 1:
        above, below = _cancelled(above, below)
    common = _common(below)
    scale = below[max(below)]
    inverse = {
        monomial: factor / scale
        for monomial, factor in [_carried({name: -by for name, by in common})]
    }
    return Ratio(_times(above, inverse), _times(below, inverse))


def _common(terms: Sum) -> Monomial:
    """Return the largest monomial that divides every term."""
    if len(terms) == 1:
        return next(iter(terms))
    powers = [dict(monomial) for monomial in terms]
    least = {
        name: min(each.get(name, Fraction(0)) for each in powers)
        for name in {name for each in powers for name in each}
    }
    return tuple(sorted((name, by) for name, by in least.items() if by))


def _surd(terms: Sum) -> str | None:
    """Return a square root (or i) of a sum of numbers; None where there is anything else."""
    names = {each for monomial in terms for each in monomial}
    if any(not (name.isdigit() and by == Fraction(1, 2)) and name != "i" for name, by in names):
        return None
    return max((name for name, _ in names), default=None)


def _cancelled(above: Sum, below: Sum) -> tuple[Sum, Sum]:
    """Cancel the common factor of a sum of one variable; others stay as they are."""
    names = {each for monomial in below for each, _ in monomial}
    if len(names) != 1:
        return above, below
    [name] = names
    groups: dict[Monomial, dict[Fraction, Fraction]] = {}
    for monomial, c in above.items():
        rest = tuple(each for each in monomial if each[0] != name)
        groups.setdefault(rest, {})[dict(monomial).get(name, Fraction(0))] = c
    divisor = {dict(monomial).get(name, Fraction(0)): c for monomial, c in below.items()}
    exponents = [by for each in (*groups.values(), divisor) for by in each]
    if any(by.denominator != 1 for by in exponents) or max(map(abs, exponents)) > _MAX_DEGREE:
        return above, below
    low = min(divisor)
    common = _dense(divisor, low)
    rows = {rest: (min(each), _dense(each, min(each))) for rest, each in groups.items()}
    for _, row in rows.values():
        common = _gcd(common, row)
    reduced = {
        _with(rest, name, start + place): c
        for rest, (start, row) in rows.items()
        for place, c in enumerate(_divided(row, common)[0])
        if c
    }
    kept = _divided(_dense(divisor, low), common)[0]
    return reduced, {_with(_ONE, name, low + place): c for place, c in enumerate(kept) if c}


def _with(rest: Monomial, name: str, by: Fraction) -> Monomial:
    return tuple(sorted((*rest, (name, by)))) if by else rest


def _dense(terms: Mapping[Fraction, Fraction], start: Fraction) -> list[Fraction]:
    return [terms.get(start + i, Fraction(0)) for i in range(int(max(terms) - start) + 1)]


def _gcd(one: list[Fraction], other: list[Fraction]) -> list[Fraction]:
    while other:
        if any(c.numerator.bit_length() > _MAX_BITS for c in other):
            raise TooLargeError
        one, other = other, _divided(one, other)[1]
        other = [c / other[-1] for c in other] if other else other
    return one


def _divided(row: list[Fraction], divisor: list[Fraction]) -> tuple[list[Fraction], list[Fraction]]:
    """Return quotient and rest of two polynomials, coefficients from the constant on."""
    rest = list(row)
    quotient = [Fraction(0)] * max(len(row) - len(divisor) + 1, 0)
    for place in range(len(quotient) - 1, -1, -1):
        quotient[place] = rest[place + len(divisor) - 1] / divisor[-1]
        for offset, c in enumerate(divisor):
            rest[place + offset] -= quotient[place] * c
    while rest and not rest[-1]:
        rest.pop()
    return quotient, rest


def _content(terms: Sum) -> Fraction:
    above = gcd(*(c.numerator for c in terms.values()))
    below = 1
    for c in terms.values():
        below = below * c.denominator // gcd(below, c.denominator)
    return Fraction(above, below)


def _factors(value: Fraction) -> dict[int, int]:
    """Return the primes of a positive number with their powers, negative below the line."""
    found: dict[int, int] = {}
    for whole, sign in ((value.numerator, 1), (value.denominator, -1)):
        rest, prime = whole, 2
        while prime * prime <= rest:
            if prime > _MAX_FACTOR:
                raise TooLargeError
            while rest % prime == 0:
                found[prime] = found.get(prime, 0) + sign
                rest //= prime
            prime += 1 if prime == 2 else 2
        if rest > 1:
            found[rest] = found.get(rest, 0) + sign
    return found


def _text(terms: Sum) -> str:
    if not terms:
        return "0"
    return "+".join(_products(sorted(terms.items(), reverse=True))).replace("+-", "-")


def _products(terms: Iterable[tuple[Monomial, Fraction]]) -> Iterable[str]:
    for monomial, c in terms:
        powers = "*".join(
            name if by == 1 else f"{name}^{by}" if by.denominator == 1 else f"{name}^({by})"
            for name, by in monomial
        )
        if not powers:
            yield str(c)
        else:
            yield powers if c == 1 else f"-{powers}" if c == -1 else f"{c}*{powers}"

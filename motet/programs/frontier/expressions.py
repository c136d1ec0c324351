"""Answers of number games: sums over given numbers, read and checked exactly."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from motet.search.answers import extract_answer
from motet.search.numbers_game import NumbersGame

_MAX_LENGTH = 200
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"})
_LATEX = ((r"\\times|\\cdot", "*"), (r"\\div", "/"), (r"\\left|\\right|\\[,;! ]|\$", ""))
_EXPRESSION = re.compile(r"[\d\s()+*/-]+")
_EQUATION = re.compile(r"([\d()+*/ -]{3,200})=\s*(-?\d{1,20}(?:/[1-9]\d{0,19})?)(?!\d|\.\d)")


def game_answer(text: str) -> str | None:
    """Return the sum that `text` states as its answer, without spaces; None where it states none.

    Where no answer is stated as such, the last line that has an operator between numbers counts.
    """
    stated = extract_answer(text, "final")
    if stated is not None:
        return _expression(stated)
    for line in reversed(text.splitlines()):
        found = _expression(line)
        if found is not None:
            return found
    return None


def _expression(text: str) -> str | None:
    found = _EXPRESSION.findall(_plain(text))
    pieces = [re.sub(r"\s+", " ", piece).strip() for piece in found]
    pieces = [piece for piece in pieces if value_of(piece) is not None]
    return max(pieces, key=len).replace(" ", "") if pieces else None


def makes_target(expression: str, game: Mapping[str, Any]) -> bool:
    """Whether a sum has the game's target as its value and uses its numbers as they may be used."""
    numbers, is_all = tuple(game["numbers"]), game["is_all"]
    return NumbersGame(numbers, game["target"], is_all).verify(expression)


def can_still_win(text: str, game: Mapping[str, Any]) -> bool:
    """Whether the target can be reached behind the steps that `text` has; exact.

    A step is an equation with an operator, such as `5 * 4 = 20`: it takes the numbers on its left,
    which must be at hand, and puts back what they make. Nothing can be reached behind a step that
    is false or takes what is not at hand, or behind an answer, since that is the end.
    """
    if extract_answer(text, "final") is not None:
        return False
    rules = NumbersGame(tuple(game["numbers"]), game["target"], game["is_all"])
    pool = [value for value, _ in rules.start]
    for line in _plain(text).splitlines():
        for found in _EQUATION.finditer(line):
            right = Fraction(found[2])
            step = _step_of(found[1], right)
            if step is None:
                continue  # a number on its own: `x = 5 = 5`
            is_true, taken = step
            if not is_true or Counter(taken) - Counter(pool):
                return False
            pool = [*(Counter(pool) - Counter(taken)).elements(), right]
    return rules.is_solvable(tuple(sorted((value, str(value)) for value in pool)))


def _plain(text: str) -> str:
    for pattern, by in _LATEX:
        text = re.sub(pattern, by, text)
    return text.translate(_SIGNS)


def value_of(expression: str) -> Fraction | None:
    """Return the exact value of a sum; None where it is none, or divides by zero."""
    found = _read(expression, is_signed=False)
    return found[0] if found is not None else None


def _step_of(left: str, right: Fraction) -> tuple[bool, list[Fraction]] | None:
    """Whether an equation is true, and the numbers that it takes; None where it is no step.

    Its left side may begin with the dash of a list.
    """
    found = _read(left, is_signed=True)
    if found is None or found[0] != right:
        found = _read(left.lstrip(" -+*/"), is_signed=True) or found
    return (found[0] == right, found[1]) if found is not None else None


def _read(expression: str, *, is_signed: bool) -> tuple[Fraction, list[Fraction]] | None:
    """Return a sum's value and its numbers, which may be negative where `is_signed`."""
    if len(expression) > _MAX_LENGTH:
        return None
    numbers: list[Fraction] = []
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        if not isinstance(tree, ast.BinOp):
            return None
        return _value(tree, numbers, is_signed), numbers
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr, numbers: list[Fraction], is_signed: bool) -> Fraction:
    sign = 1
    if is_signed and isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    if isinstance(node, ast.Constant) and type(node.value) is int:
        numbers.append(Fraction(sign * node.value))
        return numbers[-1]
    if isinstance(node, ast.BinOp) and sign == 1:
        left, right = (_value(each, numbers, is_signed) for each in (node.left, node.right))
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
    raise ValueError("no sum of numbers")

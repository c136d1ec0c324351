"""Answers of number games: sums over given numbers, read and checked exactly."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from motet.search.answers import extract_answer
from motet.search.numbers_game import NumbersGame

_MAX_LENGTH = 200
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"})
_LATEX = ((r"\\times|\\cdot", "*"), (r"\\div", "/"), (r"\\left|\\right|\\[,;! ]|\$", ""))
_EXPRESSION = re.compile(r"[\d\s()+*/-]+")


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
    for pattern, by in _LATEX:
        text = re.sub(pattern, by, text)
    found = _EXPRESSION.findall(text.translate(_SIGNS))
    pieces = [re.sub(r"\s+", " ", piece).strip() for piece in found]
    pieces = [piece for piece in pieces if value_of(piece) is not None]
    return max(pieces, key=len).replace(" ", "") if pieces else None


def makes_target(expression: str, game: Mapping[str, Any]) -> bool:
    """Whether a sum has the game's target as its value and uses its numbers as they may be used."""
    numbers, is_all = tuple(game["numbers"]), game["is_all"]
    return NumbersGame(numbers, game["target"], is_all).verify(expression)


def value_of(expression: str) -> Fraction | None:
    """Return the exact value of a sum; None where it is none, or divides by zero."""
    if len(expression) > _MAX_LENGTH:
        return None
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        return _value(tree) if isinstance(tree, ast.BinOp) else None
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Fraction(node.value)
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
    raise ValueError("no sum of numbers")

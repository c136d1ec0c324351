"""Compare Python literals, for tasks that ask what a function returns."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from typing import Any

from motet.grading.exact_match import checked_golds
from motet.grading.grade import Grade, answered, no_answer

_MAX_LENGTH = 20_000
_UNREADABLE = object()


def literal(text: str, golds: Sequence[str]) -> Grade:
    """Say whether `text` is a Python literal of the value and type of one of `golds`.

    Quotes around a string may be missing, and may stand around what is no string. `True` is not `1`, and `1.0` is not `1`. Nothing is
    evaluated but literals.

    Raises:
        DataError: `golds` is empty or holds an empty text.
    """
    checked_golds(golds)
    answer = text.strip()
    if not answer:
        return no_answer("empty")
    return answered(answer, is_right=any(_is_same(text, gold) for gold in golds))


def _is_same(text: str, gold: str) -> bool:
    said = text.strip()
    if said == gold.strip():
        return True
    wanted = _value(gold)
    if wanted is _UNREADABLE:
        return False
    if isinstance(wanted, str) and wanted in (text, said, *_quoted(said)):
        return True
    value = _value(said)
    if value is _UNREADABLE and said[0] == said[-1] and said[0] in "'\"":
        inner = said[1:-1]
        value = inner if inner == wanted else _value(inner)
    return value is not _UNREADABLE and _typed(value) == _typed(wanted)


def _quoted(text: str) -> list[Any]:
    """Return what `text` would stand for between quotes, or is where a line ends within them."""
    line = text.replace("\n", "\\n")
    return [_value(each) for each in (f"'{line}'", f'"{line}"', line)]


def _value(text: str) -> Any:
    if len(text) > _MAX_LENGTH:
        return _UNREADABLE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _UNREADABLE


def _typed(value: Any) -> Any:
    """Return the value with its types, so that equality distinguishes 1, 1.0 and True."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return kind, frozenset((_typed(k), _typed(v)) for k, v in value.items())
    if isinstance(value, (set, frozenset)):
        return kind, frozenset(map(_typed, value))
    if isinstance(value, (list, tuple)):
        return kind, tuple(map(_typed, value))
    return kind, value

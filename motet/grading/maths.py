"""Say whether two final answers of mathematics have the same value."""

from __future__ import annotations

import re
from collections.abc import Sequence

from motet.grading.exact_match import checked_golds
from motet.grading.grade import Grade, answered, no_answer
from motet.search.answers import canonical, extract_answer

_MAX_LENGTH = 1_000
"""Longer answers are compared as texts."""
_MAX_BARE = 300
"""Characters of one line that is taken for an answer though nothing says that it is one."""
_MARKS = re.compile(r"\\?\$|\\(?:left|right)(?![A-Za-z])\s*\.?|(?<!\\)\\[()\[\]!]")
_BOLD_NUMBER = re.compile(r"\\(?:text|math)(?:bf|rm|it)?\s*\{\s*\(?([-\d.,/ ]+)\)?\s*\}")
_BESIDE_MARKS = re.compile(r" (?=[^\w ])|(?<=[^\w ]) ")
_PERCENT = re.compile(r"[^%\\]+\\?%")


def maths(text: str, golds: Sequence[str]) -> Grade:
    """Grade the final answer that `text` states, or is where it is one short line.

    Right is what equals one of `golds` by `equivalent`.

    Raises:
        DataError: `golds` is empty or holds an empty text.
    """
    checked_golds(golds)
    answer = extract_answer(text, "final")
    line = text.strip()
    if answer is None and "\n" not in line and len(line) <= _MAX_BARE:
        answer = line
    if not answer:
        return no_answer("unreadable" if line else "empty")
    return answered(answer, is_right=any(equivalent(answer, gold) for gold in golds))


def number(text: str, golds: Sequence[str]) -> Grade:
    """Grade the number that `text` states, or else the last one in it.

    For word problems, of which the answer is a number with or without words around it.

    Raises:
        DataError: `golds` is empty or holds an empty text.
    """
    checked_golds(golds)
    answer = extract_answer(text, "number")
    if answer is None:
        return no_answer("unreadable" if text.strip() else "empty")
    return answered(answer, is_right=any(equivalent(answer, gold) for gold in golds))


def equivalent(answer: str, other: str) -> bool:
    """Say whether two answers have the same value, however they are written.

    Reflexive and symmetric. Values are exact and read by `motet.search.answers.canonical`, whose
    work is bounded by the size of the answer: nothing is evaluated as code, and no power is worked
    out that would not fit. Units do not count. `50%` equals both `50` and `0.5`, which do not
    equal each other. What is not understood is compared as text, of which
    spaces beside marks do not count.
    """
    bare, other_bare = _bare(answer), _bare(other)
    if _BESIDE_MARKS.sub("", bare) == _BESIDE_MARKS.sub("", other_bare):
        return True
    return bool(_values(bare) & _values(other_bare))


def _bare(answer: str) -> str:
    bare = " ".join(_MARKS.sub("", answer).split())
    number_in_words = _BOLD_NUMBER.fullmatch(bare)
    return number_in_words[1].strip() if number_in_words else bare


def _values(bare: str) -> frozenset[str]:
    if len(bare) > _MAX_LENGTH:
        return frozenset()
    values = {canonical(bare)}
    if _PERCENT.fullmatch(bare):
        share = bare.rstrip("%").rstrip("\\").strip()
        values.add(canonical(f"({share})/100"))
    return frozenset(value for value in values if value is not None)

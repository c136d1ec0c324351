"""Read the answer that a text ends with, and fold what does not change it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

from motet.search.maths import canonical_maths

Extraction = Literal["final", "number", "choice", "text"]

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")
_CHOICE = re.compile(r"(?:^|[^A-Za-z])\(?([A-J])\)?(?![A-Za-z'])")
_ANSWER_IS = re.compile(r"answer\s*(?:is|:|=)\s*:?[ \t]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_HASHES = re.compile(r"####\s*(.+)")
_LONGEST_REMEMBERED: Final = 1_000
"""Characters. Answers are short; a longer text is a whole reply, which must not stay in memory."""


def extract_answer(text: str, extraction: Extraction) -> str | None:
    """Return the answer that `text` ends with, normalised; None where it states none.

    Args:
        text: A completion.
        extraction: `final`: what stands in the last `\\boxed{}`, behind `####`, or behind "the
            answer is"; `number`: of that, or else of the whole text, the last number; `choice`:
            likewise the last letter A to J that stands alone; `text`: the whole text.
    """
    if extraction == "text":
        return normalised(text) or None
    stated = _stated(text)
    if extraction == "final":
        return normalised(stated) or None if stated is not None else None
    pattern = _NUMBER if extraction == "number" else _CHOICE
    for where in (stated, text):
        found = pattern.findall(where) if where is not None else []
        if found:
            return normalised(found[-1])
    return None


def _stated(text: str) -> str | None:
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    hashed: list[str] = _HASHES.findall(text)
    if hashed:
        return hashed[-1]
    said = list(_ANSWER_IS.finditer(text))
    if not said:
        return None
    statement = text[said[-1].end() :]
    end = _SENTENCE_END.search(statement)
    return statement[: end.start()] if end is not None else statement


def _last_boxed(text: str) -> str | None:
    """Content of the last `\\boxed{...}`, braces balanced; None where it does not close."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for at in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start + 7 : at]
    return None


def normalised(answer: str) -> str:
    """Fold what does not change an answer: spaces, final stops, `$`, commas and zeros in numbers."""
    folded = " ".join(answer.split()).strip("$*`\"' ").rstrip(".!").strip("$*`\"' ")
    number = folded.replace(",", "")
    if re.fullmatch(r"-?\d+(\.\d+)?", number):
        whole, _, fraction = number.partition(".")
        fraction = fraction.rstrip("0")
        whole = re.sub(r"^(-?)0+(?=\d)", r"\1", whole)
        return f"{whole}.{fraction}" if fraction else whole
    return folded


def maths_answer(text: str) -> str | None:
    """Return the answer that `text` states, in the one form of its value; None where there is none.

    For `extract` of a search over mathematical problems: solutions whose answers have the same
    value vote together, however they write it.
    """
    stated = _stated(text)
    return canonical(stated) if stated is not None else None


def canonical(answer: str) -> str | None:
    """Return one text for all ways to write the value of a mathematical answer.

    Equal texts mean equal answers, so that equality is symmetric and transitive. Fractions,
    decimals, roots, powers, polynomials, quotients of one variable, tuples, intervals, sets,
    matrices and relations are exact; words are folded. Units, per cent, degree and currency signs
    do not count, a list is a set, and `x = 5` is 5. What is not understood stands for itself, its
    spaces folded.

    Returns:
        None for an empty answer.
    """
    return _remembered(answer) if len(answer) <= _LONGEST_REMEMBERED else _canonical(answer)


def _canonical(answer: str) -> str | None:
    folded = normalised(answer)
    return canonical_maths(answer) or folded if folded else None


_remembered = lru_cache(maxsize=4096)(_canonical)

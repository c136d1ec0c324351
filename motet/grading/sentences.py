"""Count the sentences of a text by a rule."""

from __future__ import annotations

import re
from typing import Final

_CLOSERS: Final = "\"'”’»)]}*_`"
_ENDS: Final = ".!?…。！？।"
_ABBREVIATIONS: Final = frozenset(
    ["mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "inc", "ltd", "co", "jr", "sr", "no", "fig",
     "e.g", "i.e", "a.m", "p.m", "u.s", "u.k", "dept", "est"]
)  # fmt: skip
_ORDINAL = re.compile(r"\d{1,3}\.")


def count_sentences(text: str) -> int:
    """Count what ends with a stop, a question or an exclamation mark, and an unended rest.

    A stop behind a known abbreviation, a single letter, or the number that begins a line ends
    nothing, unless the text ends there.
    """
    count = 0
    is_open = False
    for line in text.split("\n"):
        for place, word in enumerate(line.split()):
            bare = word.strip("*_`#").rstrip(_CLOSERS)
            if not any(letter.isalnum() for letter in bare) and not (is_open and bare):
                continue
            is_open = True
            if bare[-1:] and bare[-1] in _ENDS and not _goes_on(bare, is_first=place == 0):
                count += 1
                is_open = False
    return count + is_open


def _goes_on(word: str, *, is_first: bool) -> bool:
    if is_first and _ORDINAL.fullmatch(word):
        return True
    stem = word.removesuffix(".").lstrip("(\"'“‘[")
    is_initial = len(stem) == 1 and stem.isalpha() and stem.isupper() and stem != "I"
    return word.endswith(".") and (is_initial or stem.casefold() in _ABBREVIATIONS)

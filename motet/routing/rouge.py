"""ROUGE-L: how much of two texts is one common sequence of words."""

from __future__ import annotations

import re
from typing import Final

_WORD: Final = re.compile(r"\w+")


def rouge_l(candidate: str, reference: str) -> float:
    """Return the F1 of the longest common subsequence of words, 0 to 1; 1 for identical texts.

    Case is folded and nothing is stemmed. Exact, by machine words of 30 bits: texts of 100 kB take
    a second or less.

    Source: Lin 2004, ROUGE-L of whole texts, with beta 1 as in Google's rouge_score; the length by
    Hyyro 2004. Departure: words of any script instead of a-z and digits.
    """
    if candidate == reference:
        return 1.0
    one, other = words(candidate), words(reference)
    if not one or not other:
        return 0.0
    return 2 * common_length(one, other) / (len(one) + len(other))


def words(text: str) -> list[str]:
    """Return the words of a text, with case folded."""
    return _WORD.findall(text.casefold())


def common_length(one: list[str], other: list[str]) -> int:
    """Return the length of the longest common subsequence."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    mask = (1 << len(one)) - 1
    row = mask
    for word in other:
        met = row & places.get(word, 0)
        row = ((row + met) | (row - met)) & mask
    return len(one) - row.bit_count()

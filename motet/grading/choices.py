"""Read the letter of a multiple-choice answer from free text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from motet.errors import DataError
from motet.grading.exact_match import squad_form
from motet.grading.grade import Grade, answered, no_answer

_MARK = re.compile(r"\s*\(?([A-Za-z])[).:]\s*")
_BOXED = re.compile(r"\\boxed\s*\{(?:\\text\s*\{)?\s*\(?([A-Za-z])\)?\s*\}")
_STATED = re.compile(r"\b(?:answer|choice|option)(?:\s+is|\s*:|\s*=)[\s*_]*", re.IGNORECASE)
_SENTENCE = re.compile(r"[^\n]{0,400}")
_ALONE = re.compile(r"[^\w]*([A-Za-z])[^\w]*")
_LEADING = re.compile(
    r"[\s*_\"'$:\[]*(?:(?:option|choice)\s+)?(?:\(([A-Za-z])\)|([A-Z])(?![A-Za-z0-9'’]))",
    re.IGNORECASE,
)
_OTHER = re.compile(r"(?:\bor\b|\band\b|/|,|&)\s*(?:option\s+)?\(?([A-Z])(?![A-Za-z0-9'’])\)?")
_FIRST_LINE = re.compile(r"[\s*_\"'\[]*(?:\(([A-Z])\)|([A-Z])[).:*\]])")
_MENTION = re.compile(r"\(([A-Z])\)|\b(?:[Oo]ption|[Cc]hoice)\s+\(?([A-Z])(?![A-Za-z0-9'’])")
_ARTICLE = re.compile(
    r"[\s*_\"'$:\[]*[AI]\s+(?!(?:because|since|as|for|is|which|with|and|or)\b)[a-z]"
)


def multiple_choice(text: str, gold: str, options: Sequence[str]) -> Grade:
    """Say whether the letter that `text` settles on is `gold`.

    Args:
        gold: A capital letter, A for the first option.
        options: Texts of the options, with or without a mark such as `(A)`.

    Raises:
        DataError: `gold` is no letter of an option, or there are not 2 to 26 options.
    """
    letters = _letters(options)
    if gold not in letters:
        raise DataError(f"gold is {gold!r}; it must be one of the letters {', '.join(letters)}")
    if not text.strip():
        return no_answer("empty")
    letter = read_choice(text, options)
    return answered(letter, is_right=letter == gold) if letter else no_answer("unreadable")


def read_choice(text: str, options: Sequence[str]) -> str | None:
    """Return the letter that `text` settles on; None where it settles on none or on several.

    The first of these that is there decides: the last `\\boxed{}` letter; what follows the last
    "answer is"; a letter alone, or one that the text begins with (`B.`, `(B)`); the only letter
    in brackets or behind "option"; the only option whose text stands in `text`.

    Raises:
        DataError: There are not 2 to 26 options.
    """
    letters = _letters(options)
    boxed = _BOXED.findall(text)
    if boxed:
        return _known(boxed[-1], letters)
    stated = list(_STATED.finditer(text))
    if stated:
        sentence = _SENTENCE.match(text, stated[-1].end())
        return _of_statement(sentence[0] if sentence else "", options, letters)
    alone = _ALONE.fullmatch(text) if len(text) < 100 else None
    if alone:
        return _known(alone[1], letters)
    leading = _FIRST_LINE.match(text[:100]) or _ALONE.fullmatch(text.strip().split("\n", 1)[0][:20])
    if leading:
        return _known(next(letter for letter in leading.groups() if letter), letters)
    mentioned = {a or b for a, b in _MENTION.findall(text)}
    if mentioned:
        return _known(mentioned.pop(), letters) if len(mentioned) == 1 else None
    return _of_option_text(text, options, letters)


def _letters(options: Sequence[str]) -> list[str]:
    if isinstance(options, str) or not 2 <= len(options) <= 26:
        raise DataError(f"options are {options!r:.80}; they must be 2 to 26 texts")
    return list(ascii_uppercase[: len(options)])


def _known(letter: str, letters: Sequence[str]) -> str | None:
    return letter.upper() if letter.upper() in letters else None


def _of_statement(sentence: str, options: Sequence[str], letters: Sequence[str]) -> str | None:
    alone = _ALONE.fullmatch(sentence)
    if alone:
        return _known(alone[1], letters)
    leading = _LEADING.match(sentence)
    is_letter = leading is not None and (leading[1] or leading[2].isupper())
    if leading is None or not is_letter or _ARTICLE.match(sentence):
        return _of_option_text(sentence, options, letters)
    letter = (leading[1] or leading[2]).upper()
    other = _OTHER.match(sentence[leading.end() :].lstrip(" )*"))
    if other is not None and other[1] != letter and other[1] in letters:
        return None
    return _known(letter, letters)


def _of_option_text(text: str, options: Sequence[str], letters: Sequence[str]) -> str | None:
    """Return the letter of the only option whose text stands in `text`.

    An option that is part of a longer one that stands there does not count.
    """
    said = f" {squad_form(text)} "
    pairs = zip(options, letters, strict=True)
    bare = [squad_form(_unmarked(option, letter)) for option, letter in pairs]
    found = [i for i, option in enumerate(bare) if option and f" {option} " in said]
    longest = [
        i
        for i in found
        if not any(bare[i] != bare[j] and f" {bare[i]} " in f" {bare[j]} " for j in found)
    ]
    return letters[longest[0]] if len(longest) == 1 else None


def _unmarked(option: str, letter: str) -> str:
    mark = _MARK.match(option)
    return option[mark.end() :] if mark and mark[1].upper() == letter else option

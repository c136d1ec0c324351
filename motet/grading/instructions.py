"""The rules of IFEval: whether a text keeps one instruction that a program can check."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from motet.errors import DataError
from motet.grading.sentences import count_sentences

Status = Literal["followed", "broken", "not checked"]
Detect = Callable[[str], str]
"""From a text to the code of its language: `en`, `de`."""

_AT_LEAST: Final = "at least"
_LESS_THAN: Final = "less than"
_CLOSED_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_HIGHLIGHT = re.compile(r"\*\*([^\n*]+)\*\*|\*([^\n*]+)\*")
_BULLET = re.compile(r"^[ \t]*(?:\*(?!\*)|-)[^\n]*$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]*\]")
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+(?:[-'’.]\w+)*")
_FENCE = re.compile(r"```(?:json)?", re.IGNORECASE)
_POSTSCRIPTS = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}


def check(
    instruction: str, settings: Mapping[str, Any], text: str, detect: Detect | None = None
) -> Status:
    """Say whether `text` keeps an instruction.

    Source: Zhou et al. 2023 (IFEval), arXiv:2311.07911, table 4, whose ids and settings these are.
    Unlike the authors' program, sentences are counted by a rule and not by a trained splitter,
    words in capitals are split at spaces and marks, and the two instructions of case in English
    ask for the case alone.

    Args:
        instruction: An id such as `length_constraints:number_words`.
        settings: Of the instruction; those that are None do not count.
        detect: Names the language of a text. Without it a language is not checked.

    Raises:
        DataError: The id is unknown, or a setting is missing, unknown or out of range.
    """
    if instruction == "language:response_language":
        wanted = _given(instruction, settings, ("language",))["language"]
        return "not checked" if detect is None else _status(detect(text) == wanted)
    if instruction not in _RULES:
        known = ", ".join(sorted([*_RULES, "language:response_language"]))
        raise DataError(f"instruction is {instruction!r}; it must be one of {known}")
    rule, names = _RULES[instruction]
    return _status(rule(text, **_given(instruction, settings, names)))


def _status(is_followed: bool) -> Status:
    return "followed" if is_followed else "broken"


def _given(instruction: str, settings: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    given = {name: value for name, value in settings.items() if value is not None}
    for name in names:
        if name not in given:
            raise DataError(f"{instruction} has no {name}; it needs {', '.join(names)}")
    for name, value in given.items():
        if name not in names:
            raise DataError(f"{instruction} has {name}, which is none of its settings")
        if not _IS_FIT[name](value):
            raise DataError(f"{name} of {instruction} is {value!r:.80}, which does not fit")
    return given


def _compare(count: int, relation: str, bound: int) -> bool:
    return count >= bound if relation == _AT_LEAST else count < bound


def _existence(text: str, keywords: Sequence[str]) -> bool:
    folded = text.lower()
    return all(keyword.lower() in folded for keyword in keywords)


def _frequency(text: str, keyword: str, relation: str, frequency: int) -> bool:
    return _compare(text.lower().count(keyword.lower()), relation, frequency)


def _forbidden(text: str, forbidden_words: Sequence[str]) -> bool:
    return not any(
        re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words
    )


def _letters(text: str, letter: str, let_relation: str, let_frequency: int) -> bool:
    return _compare(text.lower().count(letter.lower()), let_relation, let_frequency)


def _words(text: str, relation: str, num_words: int) -> bool:
    return _compare(len(_WORD.findall(text)), relation, num_words)


def _sentences(text: str, relation: str, num_sentences: int) -> bool:
    return _compare(count_sentences(text), relation, num_sentences)


def _paragraphs(text: str, num_paragraphs: int) -> bool:
    parts = [part.strip() for part in text.split("***")]
    return all(parts[1:-1]) and sum(map(bool, parts)) == num_paragraphs


def _nth_paragraph(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    parts = text.split("\n\n")
    if sum(bool(part.strip()) for part in parts) != num_paragraphs:
        return False
    if not 1 <= nth_paragraph <= len(parts) or not parts[nth_paragraph - 1].strip():
        return False
    word = parts[nth_paragraph - 1].split()[0].lstrip("'\"")
    return re.split(r"[.,?!'\"]", word, maxsplit=1)[0].lower() == first_word.lower()


def _placeholders(text: str, num_placeholders: int) -> bool:
    return len(_PLACEHOLDER.findall(text)) >= num_placeholders


def _postscript(text: str, postscript_marker: str) -> bool:
    pattern = _POSTSCRIPTS.get(postscript_marker, re.escape(postscript_marker.lower()))
    return re.search(pattern, text.lower()) is not None


def _bullets(text: str, num_bullets: int) -> bool:
    return len(_BULLET.findall(text)) == num_bullets


def _highlights(text: str, num_highlights: int) -> bool:
    found = _HIGHLIGHT.findall(text)
    return sum(bool((double or single).strip()) for double, single in found) >= num_highlights


def _sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter)}\s?\d", text)) >= num_sections


def _json(text: str) -> bool:
    try:
        json.loads(_FENCE.sub("", text).strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str) -> bool:
    for line in text.split("\n"):
        begin, end = line.find("<<"), line.rfind(">>")
        if 0 <= begin < end and line[begin:end].strip("<> \t"):
            return True
    return False


def _two_responses(text: str) -> bool:
    parts = [part.strip() for part in text.split("******")]
    said = [part for part in parts if part]
    return all(parts[1:-1]) and len(said) == 2 and said[0] != said[1]


def _ends(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _is_quoted(text: str) -> bool:
    stripped = text.strip()
    return len(stripped) > 1 and stripped[0] == stripped[-1] == '"'


def _capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    count = sum(word.isupper() for word in _TOKEN.findall(text))
    return _compare(count, capital_relation, capital_frequency)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_is_text, value))


def _is_relation(value: Any) -> bool:
    return value in (_AT_LEAST, _LESS_THAN)


_IS_FIT: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(["keywords", "forbidden_words"], _is_texts),
    **dict.fromkeys(["relation", "let_relation", "capital_relation"], _is_relation),
    **dict.fromkeys(
        ["keyword", "letter", "language", "postscript_marker", "section_spliter", "first_word",
         "end_phrase", "prompt_to_repeat"],
        _is_text,
    ),
    **dict.fromkeys(
        ["frequency", "let_frequency", "capital_frequency", "num_words", "num_sentences",
         "num_paragraphs", "nth_paragraph", "num_placeholders", "num_bullets", "num_highlights",
         "num_sections"],
        _is_count,
    ),
}  # fmt: skip

_RULES: dict[str, tuple[Callable[..., bool], tuple[str, ...]]] = {
    "keywords:existence": (_existence, ("keywords",)),
    "keywords:frequency": (_frequency, ("keyword", "relation", "frequency")),
    "keywords:forbidden_words": (_forbidden, ("forbidden_words",)),
    "keywords:letter_frequency": (_letters, ("letter", "let_relation", "let_frequency")),
    "length_constraints:number_words": (_words, ("relation", "num_words")),
    "length_constraints:number_sentences": (_sentences, ("relation", "num_sentences")),
    "length_constraints:number_paragraphs": (_paragraphs, ("num_paragraphs",)),
    "length_constraints:nth_paragraph_first_word": (
        _nth_paragraph,
        ("num_paragraphs", "nth_paragraph", "first_word"),
    ),
    "detectable_content:number_placeholders": (_placeholders, ("num_placeholders",)),
    "detectable_content:postscript": (_postscript, ("postscript_marker",)),
    "detectable_format:number_bullet_lists": (_bullets, ("num_bullets",)),
    "detectable_format:constrained_response": (
        lambda text: any(answer in text for answer in _CLOSED_ANSWERS),
        (),
    ),
    "detectable_format:number_highlighted_sections": (_highlights, ("num_highlights",)),
    "detectable_format:multiple_sections": (_sections, ("section_spliter", "num_sections")),
    "detectable_format:json_format": (_json, ()),
    "detectable_format:title": (_title, ()),
    "combination:two_responses": (_two_responses, ()),
    "combination:repeat_prompt": (
        lambda text, prompt_to_repeat: (
            text.strip().lower().startswith(prompt_to_repeat.strip().lower())
        ),
        ("prompt_to_repeat",),
    ),
    "startend:end_checker": (_ends, ("end_phrase",)),
    "startend:quotation": (_is_quoted, ()),
    "change_case:english_capital": (str.isupper, ()),
    "change_case:english_lowercase": (str.islower, ()),
    "change_case:capital_word_frequency": (
        _capital_words,
        ("capital_frequency", "capital_relation"),
    ),
    "punctuation:no_comma": (lambda text: "," not in text, ()),
}

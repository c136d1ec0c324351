"""Strict and loose accuracy, per prompt and per instruction."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from motet.errors import DataError
from motet.grading.instruction_following import (
    Instruction,
    following_tally,
    installed_detector,
    instruction_following,
)

NO_COMMA = Instruction(id="punctuation:no_comma", settings={})
LOWER = Instruction(id="change_case:english_lowercase", settings={})
QUOTED = Instruction(id="startend:quotation", settings={})
GERMAN = Instruction(id="language:response_language", settings={"language": "de"})


@pytest.mark.parametrize(
    "text",
    ["Sure, here:\nhello", "hello\nAny, Thing", "Sure, here:\nhello\nAny, Thing"],
)
def test_an_introduction_and_a_close_are_forgiven_loosely(text: str) -> None:
    """The reply without its first line, its last line, or both may keep the instruction."""
    grade = instruction_following(text, [LOWER])

    assert grade.strict == ("broken",)
    assert grade.loose == ("followed",)


def test_asterisks_are_forgiven_loosely() -> None:
    """Marks of bold type around a quotation."""
    grade = instruction_following('**"x"**', [QUOTED, NO_COMMA])

    assert grade.strict == ("broken", "followed")
    assert grade.loose == ("followed", "followed")


def test_a_line_in_the_middle_is_not_forgiven() -> None:
    """Nor is what a variant without any text would keep."""
    assert instruction_following("a\nB\nc", [LOWER]).loose == ("broken",)
    assert instruction_following("a, b", [NO_COMMA]).loose == ("broken",)


def test_four_accuracies() -> None:
    """By hand: three answered prompts with five instructions, one of them not checked."""
    replies = [
        ("hello", [NO_COMMA, LOWER]),
        ("Sure, hello:\nhello", [LOWER, GERMAN]),
        ("a, b", [NO_COMMA]),
    ]
    grades = [instruction_following(text, list(asked)) for text, asked in replies]
    count = following_tally([*grades, instruction_following("", [NO_COMMA])])

    assert count.prompt_strict == 1 / 3
    assert count.prompt_loose == 1 / 2
    assert count.instruction_strict == 2 / 4
    assert count.instruction_loose == 3 / 4
    assert (count.prompts, count.instructions) == (3, 4)
    assert (count.prompts_not_checked, count.instructions_not_checked) == (0, 1)
    assert count.no_answer == 1


def test_what_is_not_checked_is_counted_and_in_no_share() -> None:
    """A prompt of which only the language is open is neither kept nor broken."""
    count = following_tally([instruction_following("hallo", [LOWER, GERMAN])])

    assert count.prompt_strict is None
    assert count.instruction_strict == 1.0
    assert (count.prompts, count.prompts_not_checked) == (0, 1)


def test_a_detector_decides_languages() -> None:
    """The prompt then counts."""
    grade = instruction_following("hallo", [LOWER, GERMAN], detect=lambda text: "de")

    assert grade.strict == ("followed", "followed")


@pytest.mark.parametrize(
    ("text", "is_cut_off", "missing"),
    [(None, False, "empty"), (" \n", False, "empty"), ("hello", True, "cut off")],
)
def test_no_answer_keeps_nothing(text: str | None, is_cut_off: bool, missing: str) -> None:
    """Not even what an empty text would keep."""
    grade = instruction_following(text, [NO_COMMA], is_cut_off=is_cut_off)

    assert (grade.missing, grade.strict, grade.loose) == (missing, (), ())


def test_instructions_are_checked_before_the_reply() -> None:
    """A mistake in the data shows whatever the model wrote."""
    with pytest.raises(DataError, match="no instructions"):
        instruction_following("x", [])
    with pytest.raises(DataError, match="no_dots"):
        instruction_following("", [Instruction(id="punctuation:no_dots", settings={})])


def test_the_installed_detector_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a fixed seed, gives no code where the package finds none, and is None without it."""

    class LangDetectException(Exception):
        pass

    def detect(text: str) -> str:
        if not text.isalpha():
            raise LangDetectException
        return f"code{fake.DetectorFactory.seed}"

    fake: Any = SimpleNamespace(
        DetectorFactory=SimpleNamespace(seed=None),
        LangDetectException=LangDetectException,
        detect=detect,
    )
    monkeypatch.setitem(sys.modules, "langdetect", fake)
    found = installed_detector()
    assert found is not None
    assert (found("abc"), found("123")) == ("code0", "")

    monkeypatch.setitem(sys.modules, "langdetect", None)
    assert installed_detector() is None

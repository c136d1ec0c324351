"""IFEval: how often the replies keep their instructions, strictly and loosely."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from motet.errors import DataError
from motet.grading.grade import Missing
from motet.grading.instructions import Detect, Status, check

_MOST_DETECTED = 10_000
"""Characters of which the language is detected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction of a prompt: its id in IFEval and its settings."""

    id: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowingGrade:
    """Of one reply, [I] statuses of the I instructions of its prompt."""

    strict: tuple[Status, ...]
    loose: tuple[Status, ...]
    """As `strict`, but an instruction is kept also where the reply would keep it without its first
    line, its last line, or its asterisks."""
    missing: Missing | None
    """Why there is no answer; then both are empty."""
    asked: int
    """I, the number of instructions."""


def instruction_following(
    text: str | None,
    instructions: Sequence[Instruction],
    *,
    detect: Detect | None = None,
    is_cut_off: bool = False,
) -> FollowingGrade:
    """Check a reply against the instructions of its prompt.

    Source: Zhou et al. 2023 (IFEval), arXiv:2311.07911, sections 2.2 and 3. Unlike there, an empty
    reply is no answer, and a language is not checked where `detect` is not given.

    Args:
        detect: Names the language of a text; see `installed_detector`.
        is_cut_off: Whether the reply stopped at its token limit.

    Raises:
        DataError: There are no instructions, one is unknown, or its settings do not fit.
    """
    if not instructions:
        raise DataError("a prompt has no instructions; it must have at least one")
    missing: Missing | None = None
    if text is None or not text.strip():
        text, missing = "", "empty"
    elif is_cut_off:
        missing = "cut off"
    strict = [check(each.id, each.settings, text, detect) for each in instructions]
    if missing is not None:
        return FollowingGrade(strict=(), loose=(), missing=missing, asked=len(instructions))
    others = [other for other in _variants(text) if other.strip()]
    loose: list[Status] = []
    for each, found in zip(instructions, strict, strict=True):
        is_kept = found == "broken" and any(
            check(each.id, each.settings, other, detect) == "followed" for other in others
        )
        loose.append("followed" if is_kept else found)
    return FollowingGrade(
        strict=tuple(strict), loose=tuple(loose), missing=None, asked=len(instructions)
    )


def _variants(text: str) -> list[str]:
    lines = text.split("\n")
    parts = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*parts[1:], *(part.replace("*", "") for part in parts)]


def installed_detector() -> Detect | None:
    """Return the language detection of the package langdetect; None where it is not installed.

    It gives the same code for the same text each time, and an empty code for a text without letters.
    """
    try:
        langdetect: Any = import_module("langdetect")
    except ImportError:
        return None
    langdetect.DetectorFactory.seed = 0

    def code(text: str) -> str:
        try:
            return str(langdetect.detect(text[:_MOST_DETECTED]))
        except langdetect.LangDetectException:
            return ""

    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowingTally:
    """The four accuracies of IFEval, 0 to 1; None where nothing was checked."""

    prompt_strict: float | None
    """Share of prompts of which every instruction is kept."""
    prompt_loose: float | None
    instruction_strict: float | None
    """Share of instructions that are kept."""
    instruction_loose: float | None
    prompts: int
    """Prompts that `prompt_strict` is a share of."""
    instructions: int
    """Instructions that `instruction_strict` is a share of."""
    prompts_not_checked: int
    """Answered prompts of which nothing checked is broken strictly, but something is not checked;
    in no share of prompts."""
    instructions_not_checked: int
    no_answer: int
    """Prompts without an answer; in no share."""


def following_tally(grades: Iterable[FollowingGrade]) -> FollowingTally:
    """Count the grades of many replies."""
    every = list(grades)
    answers = [grade for grade in every if grade.missing is None]
    strict = [_of_prompt(grade.strict) for grade in answers]
    each_strict = [status for grade in answers for status in grade.strict]
    return FollowingTally(
        prompt_strict=_share(strict),
        prompt_loose=_share([_of_prompt(grade.loose) for grade in answers]),
        instruction_strict=_share(each_strict),
        instruction_loose=_share([status for grade in answers for status in grade.loose]),
        prompts=len(strict) - strict.count("not checked"),
        instructions=len(each_strict) - each_strict.count("not checked"),
        prompts_not_checked=strict.count("not checked"),
        instructions_not_checked=each_strict.count("not checked"),
        no_answer=len(every) - len(answers),
    )


def _of_prompt(statuses: Sequence[Status]) -> Status:
    for status in ("broken", "not checked"):
        if status in statuses:
            return status
    return "followed"


def _share(statuses: Sequence[Status]) -> float | None:
    checked = len(statuses) - statuses.count("not checked")
    return statuses.count("followed") / checked if checked else None

"""What a grader says of an answer, and the count of many grades."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

Verdict = Literal["right", "wrong", "no answer"]
Missing = Literal["empty", "cut off", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """Whether an answer is right. Made by `answered` and `no_answer`."""

    verdict: Verdict
    answer: str | None
    """What was read from the text and compared; None where there is no answer."""
    missing: Missing | None
    """Why there is no answer; None where there is one."""
    reason: str | None = None
    """Why a program is wrong: a failed assert, an exception, time, memory; else None."""


class Grader(Protocol):
    """A pure function, which takes any text and ends quickly."""

    def __call__(self, text: str, /) -> Grade: ...


def answered(answer: str, *, is_right: bool, reason: str | None = None) -> Grade:
    verdict: Verdict = "right" if is_right else "wrong"
    return Grade(verdict=verdict, answer=answer, missing=None, reason=reason)


def no_answer(missing: Missing) -> Grade:
    return Grade(verdict="no answer", answer=None, missing=missing)


def graded(text: str | None, grader: Grader, *, is_cut_off: bool = False) -> Grade:
    """Grade a reply; one that is empty or cut off is no answer, whatever it holds.

    Args:
        text: The reply; None where the model gave none.
        is_cut_off: Whether the reply stopped at its token limit.
    """
    if text is None or not text.strip():
        return no_answer("empty")
    return no_answer("cut off") if is_cut_off else grader(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """A count of grades."""

    right: int
    wrong: int
    empty: int
    cut_off: int
    unreadable: int

    @property
    def answered(self) -> int:
        return self.right + self.wrong

    @property
    def total(self) -> int:
        return self.answered + self.empty + self.cut_off + self.unreadable

    @property
    def accuracy(self) -> float | None:
        """Share of right answers among the answers; None where there is none."""
        return self.right / self.answered if self.answered else None

    @property
    def right_of_all(self) -> float | None:
        """Share of right answers among all replies, as leaderboards report it."""
        return self.right / self.total if self.total else None


def tally(grades: Iterable[Grade]) -> Tally:
    """Count grades; those without an answer by their reason."""
    count: dict[str, int] = {}
    for grade in grades:
        key = grade.missing or grade.verdict
        count[key] = count.get(key, 0) + 1
    return Tally(
        right=count.get("right", 0),
        wrong=count.get("wrong", 0),
        empty=count.get("empty", 0),
        cut_off=count.get("cut off", 0),
        unreadable=count.get("unreadable", 0),
    )

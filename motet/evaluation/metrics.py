"""Metrics without a model: graders by a row's kind or by name, and functions of one's own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from motet.errors import ConfigError, DataError
from motet.evaluation.given import Given, given
from motet.evaluation.names import hint
from motet.evaluation.task import Metric, Score
from motet.grading.code import grade_code
from motet.grading.exact_match import plain_form, squad_form, token_f1
from motet.grading.grade import Grade
from motet.grading.instruction_following import installed_detector, instruction_following
from motet.grading.instructions import Detect
from motet.grading.rows import Kind, Row, grade_row
from motet.operations import step
from motet.refs import Ref
from motet.sandbox import check_sandbox
from motet.search.answers import canonical

KINDS: Final[tuple[Kind, ...]] = (
    "text", "plain", "choice", "number", "maths", "literal", "instructions",
    "code",
)  # fmt: skip
GRADERS: Final = ("auto", *KINDS, "f1")
"""Names of the metrics that ask no model."""
_WHY: Final = 200
"""Characters that are kept of an error."""
_STOP: Final = re.compile(r"(?:\*\*)?\.?(?:\*\*)?$")
_ANSWER_IS: Final = re.compile(r"\banswer is\s*:?[ \t]*\**[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """Grade by rule: `auto` by the row's kind, else as a row of the kind that `name` says.

    `f1` is the F1 of words with the best gold answer. Of rows of kind text it is an other of
    `auto` too; of instructions, `loose`, `instructions` and `instructions_loose` are, the shares of
    a prompt's instructions that are kept.

    Raises:
        ConfigError: There is no grader of this name.
    """

    name: str = "auto"

    def __post_init__(self) -> None:
        if self.name not in GRADERS:
            raise ConfigError(f"metric is {self.name!r:.80}; {hint(self.name, GRADERS)}")

    def score(self, row: Row, text: str) -> Ref[Score]:
        if _kind_of(row, self.name) == "code":
            return tested_code(given(row), text)
        return graded_text(row, text, self.name)

    def vote_of(self, row: Row, text: str) -> str | None:
        return vote_of(replace(row, kind=_kind_of(row, self.name)), text)

    def check(self, rows: Sequence[Row]) -> None:
        """Refuse rows that it cannot grade.

        Raises:
            DataError: Names the row and what it lacks.
            SandboxError: Code cannot be run here.
        """
        kinds = [_as_kind(row, self.name).kind for row in rows]
        if "code" in kinds:
            check_sandbox()
        for row, kind in zip(rows, kinds, strict=True):
            if kind == "code":
                continue
            if kind != "instructions" and not row.golds:
                raise DataError(
                    f"row {row.id!r} has no right answer, which metric {self.name!r} needs"
                )
            try:
                score_by_rule(row, "0", self.name)
            except DataError as exc:
                raise DataError(f"row {row.id!r}: {exc}") from None


@step
async def tested_code(asked: Given, text: str) -> Score:
    """What the row's tests say of a program; nothing where they cannot be run themselves."""
    try:
        grade = await grade_code(asked.row, text)
    except DataError as exc:
        return Score(value=None, answer=None, missing="not judged", why=str(exc)[:_WHY])
    return score_of(grade, {})


@step
def graded_text(row: Row, text: str, grader: str) -> Score:
    """What a rule says of an answer."""
    return score_by_rule(row, text, grader)


def score_by_rule(row: Row, text: str, grader: str) -> Score:
    """Score a reply that is whole.

    Raises:
        DataError: The row does not have what the grader needs.
    """
    row = _as_kind(row, grader)
    if row.kind == "instructions":
        return _followed(row, text)
    said = _said(row, text)
    if grader == "f1":
        f1 = token_f1(said, row.golds)
        answer = plain_form(said) or None
        return Score(value=f1, answer=answer, missing="unreadable" if f1 is None else None)
    grade = grade_row(row, said)
    others: dict[str, float] = {}
    if row.kind == "text" and row.golds:
        others = {"f1": token_f1(said, row.golds) or 0.0}
    return score_of(grade, others)


def score_of(grade: Grade, others: Mapping[str, float]) -> Score:
    """Return a grade as a score."""
    value = None if grade.missing else float(grade.verdict == "right")
    return Score(value=value, answer=grade.answer, missing=grade.missing, others=others)


def vote_of(row: Row, text: str) -> str | None:
    """Return the form in which an answer to a row votes; None where it states none.

    Answers that the row's grader holds for equal have one form, as far as that can be told without
    a right answer.
    """
    if row.kind in ("instructions", "code") or not row.golds:
        return None
    grade = grade_row(row, _said(row, text))
    if grade.answer is None:
        return None
    if row.kind in ("number", "maths"):
        return canonical(grade.answer)
    return squad_form(grade.answer) or grade.answer if row.kind == "text" else grade.answer


def _kind_of(row: Row, grader: str) -> Kind:
    """Return the kind as which a grader takes a row."""
    kind: Any = {"auto": row.kind, "f1": "text"}.get(grader, grader)
    found: Kind = kind
    return found


def _as_kind(row: Row, grader: str) -> Row:
    kind = _kind_of(row, grader)
    has = {
        "choice": ("options", bool(row.options)),
        "instructions": ("instructions", bool(row.instructions)),
        "code": ("tests", row.tests is not None),
    }
    needed, is_there = has.get(kind, ("", True))
    if not is_there:
        raise DataError(f"row {row.id!r} has no {needed}, which metric {grader!r} needs")
    return row if row.kind == kind else replace(row, kind=kind)


def _said(row: Row, text: str) -> str:
    """Return what a text gives as its answer, where its grader compares whole texts.

    That is what stands behind the last "answer is" of its line, or the text itself.
    """
    if row.kind not in ("text", "plain", "literal"):
        return text
    found = list(_ANSWER_IS.finditer(text))
    line = text[found[-1].end() :].split("\n", 1)[0].strip() if found else ""
    return _STOP.sub("", line) or text


def _followed(row: Row, text: str) -> Score:
    grade = instruction_following(text, row.instructions, detect=_detector())
    if grade.missing is not None:
        return Score(value=None, answer=None, missing=grade.missing)
    if "broken" not in grade.strict and "not checked" in grade.strict:
        why = "an instruction could not be checked"
        return Score(value=None, answer=None, missing="not judged", why=why)
    others: dict[str, float] = {}
    if "broken" in grade.loose or "not checked" not in grade.loose:
        others["loose"] = float("broken" not in grade.loose)
    for name, statuses in (("instructions", grade.strict), ("instructions_loose", grade.loose)):
        checked = len(statuses) - statuses.count("not checked")
        others[name] = statuses.count("followed") / checked
    return Score(value=float("broken" not in grade.strict), answer=None, others=others)


@cache
def _detector() -> Detect | None:
    return installed_detector()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A metric of one's own: a function of a text and its row.

    It gives True or False, or a number from 0 to 1; None where it cannot tell. It may be `async`.

    Raises:
        ConfigError: It is no function of two arguments.
    """

    function: Callable[[str, Row], Any]
    name: str = ""

    def __post_init__(self) -> None:
        try:
            inspect.signature(self.function).bind("", None)
        except (TypeError, ValueError):
            raise ConfigError(
                f"metric is {self.function!r:.80}; it must be a function of a text and a row"
            ) from None
        if not self.name:
            name = getattr(self.function, "__name__", type(self.function).__name__)
            object.__setattr__(self, "name", name)

    def score(self, row: Row, text: str) -> Ref[Score]:
        ask = scored_later if inspect.iscoroutinefunction(self.function) else scored_here
        found: Ref[Score] = ask(row, text, self.function, self.name)
        return found

    def vote_of(self, row: Row, text: str) -> str | None:
        return None if row.kind == "text" else vote_of(row, text)


@step
def scored_here(row: Row, text: str, function: Callable[[str, Row], Any], name: str) -> Score:
    """What a user's function says of an answer."""
    return _score_of_value(function(text, row), name)


@step
async def scored_later(
    row: Row, text: str, function: Callable[[str, Row], Any], name: str
) -> Score:
    """What a user's async function says of an answer."""
    return _score_of_value(await function(text, row), name)


def _score_of_value(value: Any, name: str) -> Score:
    if value is None:
        return Score(value=None, answer=None, missing="not judged", why=f"metric {name} gave None")
    if not isinstance(value, (bool, int, float)) or not 0 <= value <= 1:
        raise ConfigError(
            f"metric {name} gave {value!r:.80}; it must give True, False, None or 0 to 1"
        )
    return Score(value=float(value), answer=None)


def check_metric(metric: Metric, rows: Sequence[Row]) -> None:
    """Refuse a metric that does not fit the rows, before anything is asked.

    Raises:
        DataError: Names the row and what it lacks.
    """
    check = getattr(metric, "check", None)
    if check is not None:
        check(rows)

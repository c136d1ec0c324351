"""One question of a data set, and how an answer to it is graded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from motet.errors import DataError
from motet.grading.choices import multiple_choice
from motet.grading.exact_match import exact_match
from motet.grading.grade import Grade, Grader, graded
from motet.grading.instruction_following import Instruction
from motet.grading.literals import literal
from motet.grading.maths import maths, number
from motet.sandbox import Limits

Kind = Literal["text", "plain", "choice", "number", "maths", "literal", "instructions", "code"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What a model once answered, and the grade that came with it."""

    text: str | None
    """None or empty where the model gave no answer."""
    is_right: bool | None
    """None where no grade was stored."""
    is_cut_off: bool = False
    """Whether the file holds the beginning of the answer only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTests:
    """How a program that answers a row is tested: by `source`, `inputs` and `cases`, all of them.

    The program is run apart from the tests and sees only the arguments of its calls; what it
    returns is data to the tests. Names that `source` uses and nobody else defines are the program's.
    """

    entry_point: str = ""
    """Name that the program must define; empty where it is run whole, with `cases`."""
    prefix: str = ""
    """The beginning of a program, which a reply may go on with; its helpers are the tests' too."""
    source: str = ""
    """Python that calls the program, such as asserts; right where it ends without an exception."""
    inputs: tuple[tuple[Any, ...], ...] = ()
    """Arguments for which the program must return what `reference` returns."""
    reference: str = ""
    """A right program, which defines `entry_point`; for `inputs`."""
    tolerance: float = 0.0
    """Absolute, of floats for `inputs`; where it is 0, floats may differ by 1e-6."""
    cases: tuple[tuple[str, str], ...] = ()
    """Pairs (what the program reads, what it must print), compared without trailing blanks."""
    limits: Limits = field(default_factory=Limits)
    """Of the whole test of one program; for `cases`, of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A question of a data set."""

    id: str
    prompt: str
    """What a model is asked, with passage and options, without instructions on the form."""
    golds: tuple[str, ...]
    """Any of them is right; a single letter for `choice`, none for `instructions`."""
    kind: Kind
    task: str
    """The part of the data set that scores are given for apart."""
    options: tuple[str, ...] = ()
    """Of `choice`, in order from A, without marks."""
    instructions: tuple[Instruction, ...] = ()
    """Of `instructions`."""
    tests: CodeTests | None = None
    """Of `code`, where `golds` are programs, or what goes on with `tests.prefix`."""
    answers: Mapping[str, StoredAnswer] = field(default_factory=dict)
    """By model or method."""


def grader_of(row: Row) -> Grader:
    """Return the grader of answers to `row`.

    Raises:
        DataError: The row asks to follow instructions, which `instruction_following` grades, or
            for code, which `grade_code` does.
    """
    if row.kind == "instructions":
        raise DataError(f"row {row.id!r} has instructions, which instruction_following grades")
    if row.kind == "code":
        raise DataError(f"row {row.id!r} asks for code, which grade_code runs and grades")
    if row.kind == "choice":
        return partial(multiple_choice, gold=row.golds[0], options=row.options)
    if row.kind in ("text", "plain"):
        form: Literal["squad", "plain"] = "squad" if row.kind == "text" else "plain"
        return partial(exact_match, golds=row.golds, form=form)
    return partial(
        {"number": number, "maths": maths, "literal": literal}[row.kind], golds=row.golds
    )


def grade_row(row: Row, text: str | None, *, is_cut_off: bool = False) -> Grade:
    """Grade a reply to `row`; an empty one and one that was cut off are no answer.

    Raises:
        DataError: The row asks to follow instructions, which `instruction_following` grades, or
            for code, which `grade_code` does.
    """
    return graded(text, grader_of(row), is_cut_off=is_cut_off)

"""Each kind of row goes to its grader."""

from typing import Any

import pytest

from motet.errors import DataError
from motet.grading.instruction_following import Instruction
from motet.grading.rows import Row, grade_row


def _row(kind: Any, gold: str, **others: Any) -> Row:
    return Row(id="1", prompt="?", golds=(gold,), kind=kind, task="", **others)


@pytest.mark.parametrize(
    ("row", "right", "wrong"),
    [
        (_row("text", "fox"), "The fox!", "The hen"),
        (_row("plain", "(B)"), "(b).", "B"),
        (_row("choice", "B", options=("cat", "dog")), "It is a dog", "(A)"),
        (_row("number", "5"), "5.00 pears for 5", "5 pears for 6"),
        (_row("maths", "1/2"), r"\boxed{0.5}", "5 of 10"),
        (_row("literal", "[1]"), "[ 1 ]", "[1.0]"),
    ],
)
def test_kinds(row: Row, right: str, wrong: str) -> None:
    """A right and a wrong answer, an empty reply, and one that was cut off."""
    assert grade_row(row, right).verdict == "right"
    assert grade_row(row, wrong).verdict == "wrong"
    assert grade_row(row, None).missing == "empty"
    assert grade_row(row, right, is_cut_off=True).missing == "cut off"


def test_instructions_have_a_grader_of_their_own() -> None:
    """Their grade is no single verdict; the error names the function."""
    row = Row(
        id="7",
        prompt="?",
        golds=(),
        kind="instructions",
        task="",
        instructions=(Instruction(id="punctuation:no_comma", settings={}),),
    )

    with pytest.raises(DataError, match="'7' has instructions, which instruction_following grades"):
        grade_row(row, "x")

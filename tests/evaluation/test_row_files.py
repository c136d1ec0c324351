"""Rows from JSON objects: which fields hold what, and what is no row."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.evaluation.row_files import MOST_GOLD, Form, rows_of
from motet.grading.rows import Row


def read(record: Any, **form: Any) -> Row:
    [row] = rows_of([("line 1", record)], Form(**form), source="f").rows
    return row


@pytest.mark.parametrize(
    ("record", "prompt", "golds", "kind"),
    [
        ({"prompt": "p", "gold": "1"}, "p", ("1",), "number"),
        ({"question": "p", "golds": ["a", "b"]}, "p", ("a", "b"), "text"),
        ({"problem": "p", "answer": 1.5}, "p", ("1.5",), "number"),
        ({"input": "p", "target": "x"}, "p", ("x",), "text"),
        ({"prompt": "p", "gold": "1,000"}, "p", ("1,000",), "number"),
        ({"prompt": "p", "gold": "B", "options": ["x", "y"]}, "p\n(A) x\n(B) y", ("B",), "choice"),
        ({"prompt": "p", "gold": 0, "choices": ["x", "y"]}, "p\n(A) x\n(B) y", ("A",), "choice"),
        ({"prompt": "p", "gold": "y", "options": ["x", "y"]}, "p\n(A) x\n(B) y", ("B",), "choice"),
    ],
)
def test_fields_are_found_by_their_plain_names(
    record: Any, prompt: str, golds: tuple[str, ...], kind: str
) -> None:
    """And the kind by what rows hold."""
    row = read(record)

    assert (row.prompt, row.golds, row.kind, row.id) == (prompt, golds, kind, "line 1")


def test_code_and_instructions_are_rows_too() -> None:
    """With tests instead of right answers."""
    code = read({"prompt": "p", "tests": ["assert f() == 1", "assert f()"], "entry_point": "f"})
    printed = read({"prompt": "p", "cases": [["1", "2"]]})
    follow = read({"prompt": "p", "instructions": [{"id": "punctuation:no_comma"}]})

    assert code.tests is not None
    assert printed.tests is not None
    assert (code.tests.source, code.tests.entry_point) == ("assert f() == 1\nassert f()", "f")
    assert printed.tests.cases == (("1", "2"),)
    assert (code.kind, printed.kind, follow.kind) == ("code", "code", "instructions")
    assert follow.instructions[0].id == "punctuation:no_comma"


@pytest.mark.parametrize(
    ("record", "form", "said"),
    [
        ({}, {}, "it has no prompt, by none of the names prompt, question, problem, input"),
        ({"stem": "p", "gold": "1"}, {}, "it has 'stem', 'gold'"),
        ({"prompt": "p", "question": "q", "gold": "1"}, {}, "could be 'prompt' or 'question'"),
        ({"prompt": "p", "gold": "1", "answer": "2"}, {}, "could be 'gold' or 'answer'"),
        ({"prompt": "", "gold": "1"}, {}, "its prompt is ''"),
        ({"prompt": ["p"], "gold": "1"}, {}, "its prompt is ['p']"),
        ({"prompt": "p"}, {"kind": "number"}, "it has no right answer"),
        ({"prompt": "p", "gold": ""}, {}, "its right answer is empty"),
        ({"prompt": "p", "gold": float("nan")}, {}, "its right answer is nan"),
        ({"prompt": "p", "gold": {"a": 1}}, {}, "its right answer is {'a': 1}"),
        ({"prompt": "p", "gold": "x" * 100_000}, {}, f"100000 characters; the most is {MOST_GOLD}"),
        ({"prompt": "p", "gold": "many"}, {"kind": "number"}, "holds no number"),
        ({"prompt": "p", "gold": "C", "options": ["x", "y"]}, {}, "none of its options"),
        ({"prompt": "p", "gold": 2, "options": ["x", "y"]}, {}, "numbered from 0"),
        ({"prompt": "p", "gold": ["A", "B"], "options": ["x", "y"]}, {}, "there must be one"),
        ({"prompt": "p", "gold": "A", "options": ["x"]}, {}, "a list of 2 to 26"),
        ({"prompt": "p", "gold": "A", "options": ["x", None]}, {}, "each must be some text"),
        ({"prompt": "p", "gold": "1", "id": [1]}, {}, "its id is [1]"),
        ({"prompt": "p", "gold": "1", "part": {}}, {}, "its part is {}"),
        ({"prompt": "p", "gold": "1"}, {"fields": {"gold": "key"}}, "it has no 'key', which is"),
        ({"prompt": "p", "gold": "1"}, {"extras": ("hint",)}, "it has no 'hint', which inputs"),
        ({"prompt": "p", "tests": 3}, {}, "its tests is 3"),
        ({"prompt": "p", "cases": [["1"]]}, {}, "they must be pairs of texts"),
        ({"prompt": "p"}, {"kind": "code"}, "it has no tests"),
        ({"prompt": "p", "instructions": ["x"]}, {}, "an instruction is 'x'"),
        ({"prompt": "p", "instructions": []}, {"kind": "instructions"}, "one at least"),
        ({"prompt": "p \ud800", "gold": "1"}, {}, "half of a surrogate pair"),
    ],
)
def test_a_record_that_is_no_row_says_why(record: Any, form: dict[str, Any], said: str) -> None:
    """With its file and its place."""
    with pytest.raises(DataError, match=r"f, line 1: .*" + re.escape(said)):
        read(record, **form)


def test_ids_that_stand_twice_are_told_and_null_ones_are_none() -> None:
    """A row without an id has its place for one."""
    row = {"prompt": "p", "gold": "1"}
    records = [("line 1", {"id": 1, **row}), ("line 2", {"id": "1", **row}),
               ("line 3", {"id": None, **row})]  # fmt: skip
    told: list[str] = []

    found = rows_of(records, Form(), source="f", on_bad_row=told.append)

    assert [each.id for each in found.rows] == ["1", "line 3"]
    assert told == ["f, line 2: the id '1' stands there twice"]


def test_a_file_without_rows_is_refused() -> None:
    """With what is wrong with its first line, where it has one."""
    with pytest.raises(DataError, match="f holds no rows"):
        rows_of([], Form(), source="f")
    with pytest.raises(DataError, match="f holds no rows; f, line 1: it has no prompt"):
        rows_of([("line 1", {})], Form(), source="f", on_bad_row=lambda told: None)


@given(st.dictionaries(
    st.sampled_from(["prompt", "gold", "id", "options", "tests", "cases", "part", "instructions"]),
    st.recursive(st.none() | st.text(max_size=3) | st.floats() | st.integers() | st.booleans(),
                 lambda inner: st.lists(inner, max_size=3)
                 | st.dictionaries(st.text(max_size=2), inner, max_size=2), max_leaves=5)))  # fmt: skip
def test_any_json_object_is_a_row_or_told_why_not(record: dict[str, Any]) -> None:
    """Nothing that a file holds is an error of another kind."""
    try:
        row = read(json.loads(json.dumps(record)))
    except DataError:
        return
    assert row.prompt.strip()


def test_a_form_that_no_row_has_is_refused() -> None:
    """By name."""
    with pytest.raises(ConfigError, match="did you mean 'prompt'"):
        Form(fields={"promt": "x"})

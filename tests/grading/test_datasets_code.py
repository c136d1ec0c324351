"""Public data sets of programs are read, and their reference programs pass."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from motet.errors import DataError
from motet.grading.code import grade_code
from motet.grading.datasets import read_rows
from motet.grading.grade import Grade
from motet.grading.rows import Row

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)


def _folder() -> Path:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    return Path(folder)


def _grades(pairs: Sequence[tuple[Row, str | None]]) -> list[Grade]:
    async def grade() -> list[Grade]:
        return list(await asyncio.gather(*(grade_code(row, text) for row, text in pairs)))

    return asyncio.run(grade())


def _wrong(rows: Sequence[Row]) -> list[tuple[str, str | None]]:
    """Rows whose reference program does not pass, with the reason."""
    grades = _grades([(row, row.golds[0]) for row in rows])
    return [
        (row.id, grade.missing or grade.reason)
        for row, grade in zip(rows, grades, strict=True)
        if grade.verdict != "right"
    ]


@pytest.mark.parametrize(
    ("name", "file", "num_inputs"),
    [
        ("humaneval", "humaneval/problems.jsonl.gz", 0),
        ("humaneval_plus_mini", "humaneval/problems.jsonl.gz", None),
        ("humaneval_plus", "humaneval/problems.jsonl.gz", None),
        ("mbpp", "mbpp/problems.jsonl.gz", 0),
        ("codet_samples", "codet_samples/samples.jsonl.gz", 0),
    ],
)
def test_every_problem_is_a_row_with_tests(name: str, file: str, num_inputs: int | None) -> None:
    """Rows have tests, an entry point, a right program, and a prompt that shows it not."""
    rows = read_rows(_folder(), name)

    with gzip.open(_folder() / file, "rt") as lines:
        assert len(rows) == sum(1 for _ in lines)
    for row in rows:
        assert row.tests is not None
        assert row.kind == "code"
        assert row.tests.entry_point in row.tests.source
        assert row.golds[0].strip() not in row.prompt
        assert num_inputs is None or len(row.tests.inputs) == num_inputs


def test_extra_inputs_are_all_read() -> None:
    """The inputs of HumanEval+ are those of its file, but for one problem, which has asserts."""
    rows = read_rows(_folder(), "humaneval_plus")
    expected = json.loads((_folder() / "humaneval" / "expected.json").read_text())

    given = sum(len(row.tests.inputs) for row in rows if row.tests)
    [zero] = [row for row in rows if row.tests and row.tests.entry_point == "find_zero"]
    lines = gzip.open(_folder() / "humaneval" / "plus_inputs_full.jsonl.gz", "rt")  # noqa: SIM115
    with lines:
        [inputs] = [r["plus_input"] for r in map(json.loads, lines) if r["task_id"] == zero.id]
    assert given == expected["plus_inputs_full"] - len(inputs)
    assert zero.tests is not None
    asked = sum(1 for (xs,) in inputs if xs[-1])
    assert zero.tests.source.count("assert is_zero") == asked
    assert 0.9 * len(inputs) < asked <= len(inputs)


@needs_bubblewrap
@pytest.mark.slow
def test_every_canonical_solution_of_humaneval_passes() -> None:
    """All of them, as its README says."""
    assert _wrong(read_rows(_folder(), "humaneval")) == []


@needs_bubblewrap
def test_reference_solutions_of_mbpp_pass() -> None:
    """A tenth of them, the one that builds trees among these."""
    rows = read_rows(_folder(), "mbpp")
    sample = [row for at, row in enumerate(rows) if at % 10 == 0 or row.id == "367"]

    assert _wrong(sample) == []


@needs_bubblewrap
@pytest.mark.slow
def test_every_reference_solution_of_mbpp_passes() -> None:
    """All of them, as its README says."""
    assert _wrong(read_rows(_folder(), "mbpp")) == []


@needs_bubblewrap
@pytest.mark.slow
def test_every_reference_passes_the_small_set_of_extra_inputs() -> None:
    """HumanEval+, mini."""
    assert _wrong(read_rows(_folder(), "humaneval_plus_mini")) == []


@needs_bubblewrap
@pytest.mark.slow
def test_references_pass_the_whole_set_of_extra_inputs() -> None:
    """HumanEval+: every sixth problem, and those whose canonical solution is replaced."""
    replaced = [f"HumanEval/{number}" for number in (32, 39, 55, 64, 127)]
    rows = read_rows(_folder(), "humaneval_plus")

    sample = [row for at, row in enumerate(rows) if at % 6 == 0 or row.id in replaced]
    assert _wrong(sample) == []


@needs_bubblewrap
@pytest.mark.slow
def test_programs_that_return_nothing_are_wrong() -> None:
    """No test of HumanEval is passed by the empty body."""
    rows = read_rows(_folder(), "humaneval")

    assert {g.verdict for g in _grades([(row, "    return None\n") for row in rows])} == {"wrong"}


_CHANGES = (
    (" + 1", " + 2"),
    ("range(", "range(1 + "),
    (" < ", " >= "),
    (" == ", " != "),
    (" and ", " or "),
    ("return ", "return not "),
    ("[::-1]", "[:]"),
    ("sorted(", "list("),
    (" % ", " // "),
)


@needs_bubblewrap
@pytest.mark.slow
def test_changed_canonical_solutions_fail() -> None:
    """Of solutions with one operator changed hardly any passes, and extra inputs leave fewer."""
    base = {row.id: row for row in read_rows(_folder(), "humaneval")}
    plus = {row.id: row for row in read_rows(_folder(), "humaneval_plus_mini")}
    mutants = [
        (row.id, row.golds[0].replace(old, new, 1))
        for at, row in enumerate(base.values())
        for old, new in _CHANGES
        if old in row.golds[0] and at % 3 == 0
    ]

    of_base = _grades([(base[name], text) for name, text in mutants])
    of_plus = _grades([(plus[name], text) for name, text in mutants])

    passing = [sum(grade.verdict == "right" for grade in found) for found in (of_base, of_plus)]
    assert len(mutants) > 80
    assert passing[1] <= passing[0] <= 0.1 * len(mutants)


@needs_bubblewrap
@pytest.mark.slow
def test_stored_outcomes_of_samples_come_out_again() -> None:
    """Programs of CodeGen-16B are right and wrong as they were when the data set was made."""
    rows = read_rows(_folder(), "codet_samples")
    pairs = [(row, row.answers[f"sample {at}"]) for row in rows[::2] for at in (3, 47)]

    grades = _grades([(row, answer.text) for row, answer in pairs])

    found = Counter(
        (answer.is_right, grade.verdict == "right")
        for (_, answer), grade in zip(pairs, grades, strict=True)
    )
    assert found[True, False] == found[False, True] == 0
    assert found[True, True] >= 15
    assert found[False, False] >= 60


def test_a_line_that_is_no_problem_names_its_file(tmp_path: Path) -> None:
    """The number of the line and the path stand in the error."""
    folder = tmp_path / "mbpp"
    folder.mkdir()
    record = {
        "task_id": 1,
        "text": "t",
        "code": "def f(): pass",
        "test_setup_code": "",
        "test_list": ["assert f() is None"],
        "split": "test",
    }
    for bad in ({**record, "test_list": []}, {**record, "code": 1}, {**record, "split": "x"}, 3):
        with gzip.open(folder / "problems.jsonl.gz", "wt") as file:
            file.write(f"{json.dumps(record)}\n{json.dumps(bad)}\n")

        with pytest.raises(DataError, match=r"line 2 of .*mbpp/problems\.jsonl\.gz is no row"):
            read_rows(tmp_path, "mbpp")
    with pytest.raises(DataError, match=r"humaneval/problems\.jsonl\.gz cannot be read"):
        read_rows(tmp_path, "humaneval")

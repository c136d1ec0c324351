"""Public data sets are read, and their published grades come out again."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from motet.errors import ConfigError, DataError
from motet.grading.datasets import bbh_average, read_rows
from motet.grading.instruction_following import following_tally, instruction_following
from motet.grading.maths import equivalent, maths
from motet.grading.rows import Row, grade_row
from motet.search.answers import maths_answer


def _folder() -> Path:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    return Path(folder)


def _expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_folder() / name / "expected.json").read_text("utf-8"))
    return found


def _agreement(rows: list[Row]) -> dict[tuple[bool | None, str], int]:
    """Counts of (stored grade, what motet says of the stored answer)."""
    counts: Counter[tuple[bool | None, str]] = Counter()
    for row in rows:
        for stored in row.answers.values():
            grade = grade_row(row, stored.text, is_cut_off=stored.is_cut_off)
            counts[stored.is_right, grade.missing or grade.verdict] += 1
    return dict(counts)


@pytest.mark.parametrize(
    ("name", "agreement"),
    [
        (
            "zeroeval_gsm8k",
            {
                (True, "right"): 39720,
                (False, "wrong"): 5341,
                (True, "wrong"): 48,
                (False, "right"): 62,
                (False, "unreadable"): 50,
                (False, "empty"): 63,
                (False, "cut off"): 108,
                (True, "cut off"): 25,
            },
        ),
        (
            "zeroeval_math_l5",
            {
                (True, "right"): 9689,
                (False, "wrong"): 14014,
                (True, "wrong"): 126,
                (False, "right"): 5,
                (False, "empty"): 1008,
                (False, "cut off"): 185,
                (True, "cut off"): 8,
            },
        ),
        (
            "zeroeval_crux",
            {
                (True, "right"): 19920,
                (False, "wrong"): 11240,
                (True, "wrong"): 28,
                (False, "right"): 385,
                (True, "empty"): 212,
                (False, "empty"): 228,
                (False, "cut off"): 117,
            },
        ),
    ],
)
def test_agreement_with_the_grades_of_zeroeval(
    name: str, agreement: dict[tuple[bool, str], int]
) -> None:
    """Of its own grader, which reads the first number (`2, -1` passes for 2) and compares literals
    as texts (`8.50` is not 8.5): 99.8, 99.5 and 98.7 per cent of the answers that are whole."""
    assert _agreement(read_rows(_folder(), name)) == agreement


@pytest.mark.parametrize(("name", "num"), [("gsm8k", 4 * 1044), ("bbh", 2 * 5161)])
def test_grades_come_out_exactly(name: str, num: int) -> None:
    """Of each solution of the four models of GSM8K, and of both prompts of BIG-Bench Hard."""
    graded = [
        (row.id, stored.is_right, grade_row(row, stored.text).verdict == "right")
        for row in read_rows(_folder(), name)
        for stored in row.answers.values()
    ]

    assert len(graded) == num
    assert [each for each in graded if each[1] != each[2]] == []


def test_sampled_solutions_are_graded_as_their_authors_did() -> None:
    """All 696 texts of Qwen2.5-Math, but for one gold answer that the authors' grader misreads."""
    wrong = [
        (row.golds[0], maths(stored.text or "", row.golds).answer)
        for row in read_rows(_folder(), "qwen_bon8")
        for stored in row.answers.values()
        if (grade_row(row, stored.text).verdict == "right") != stored.is_right
    ]

    assert wrong == [("10{,}000", "10000")]


def test_solutions_of_math_reach_their_own_answers() -> None:
    """The answer that a reference solution states is the gold answer of its row, in all 427."""
    rows = read_rows(_folder(), "math")
    with gzip.open(_folder() / "math/problems.jsonl.gz", "rt", encoding="utf-8") as lines:
        solutions = [json.loads(line).get("solution") for line in lines]
    boxed = [
        (row, solution)
        for row, solution in zip(rows, solutions, strict=True)
        if solution and maths_answer(solution)
    ]

    assert len(boxed) == 427
    assert [r.golds for r, solution in boxed if maths(solution, r.golds).verdict != "right"] == []


def test_gold_answers_of_math_equal_no_other() -> None:
    """A gold is right for its own row; for another it is just where `equivalent` says so."""
    golds = sorted({row.golds[0] for row in read_rows(_folder(), "math")})[:120]

    for a in golds:
        assert maths(a, [a]).verdict == "right"
        for b in golds:
            assert equivalent(a, b) == equivalent(b, a)


def test_multiple_choice_of_mixeval_and_agieval() -> None:
    """Rows have options and a gold among them; of stored answers few settle on no letter."""
    rows = [row for row in read_rows(_folder(), "mixeval") if row.kind == "choice"]
    counts = _agreement(rows)

    assert counts == {(None, "right"): 815, (None, "wrong"): 426, (None, "unreadable"): 3}
    for row in read_rows(_folder(), "agieval"):
        assert grade_row(row, f"I take ({row.golds[0]}).").verdict == "right"
        assert not any(option.startswith("(") and option[2:3] == ")" for option in row.options)
        assert f"\n({row.golds[0]}) " in row.prompt


def test_every_instruction_of_ifeval_is_known() -> None:
    """437 prompts with 678 instructions, of which the 20 on language are not checked."""
    rows = read_rows(_folder(), "ifeval")
    expected = _expected("ifeval")
    grades = [instruction_following(row.prompt, row.instructions) for row in rows]
    count = following_tally(grades)
    groups = Counter(each.id.split(":")[0] for row in rows for each in row.instructions)

    assert len(rows) == expected["n"]
    assert dict(groups) == expected["by_group"]
    assert count.instructions + count.instructions_not_checked == expected["instructions"]
    assert count.instructions_not_checked == 20
    assert count.no_answer == 0
    assert count.prompt_strict is not None and count.prompt_loose is not None
    assert count.prompt_strict <= count.prompt_loose


def _written(folder: Path, name: str, file: str, lines: list[str]) -> Path:
    (folder / name).mkdir()
    with gzip.open(folder / name / file, "wt", encoding="utf-8") as out:
        out.write("".join(line + "\n" for line in lines))
    return folder


GSM8K = {"id": "1", "question": "1+1?", "gold": "2", "solutions": {}}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gold": ""}, "gold answers are"),
        ({"gold": 2}, "gold answers are"),
        ({"id": 1}, "1 is no text"),
        ({"question": None}, "None is no text"),
        ({"solutions": None}, "line 2"),
        ({"solutions": {"m": {"text": "2"}}}, "'correct'"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    """By file and line."""
    lines = [json.dumps(GSM8K), json.dumps({**GSM8K, **changed})]
    folder = _written(tmp_path, "gsm8k", "test.jsonl.gz", lines)

    with pytest.raises(DataError, match=r"line 2 of .*test\.jsonl\.gz") as raised:
        read_rows(folder, "gsm8k")
    assert message in str(raised.value)


@pytest.mark.parametrize("target", [[4], [-5], [0, 1], []])
def test_a_gold_that_is_no_option_is_named(tmp_path: Path, target: list[int]) -> None:
    """Its index is out of range, or there is not exactly one."""
    record = {
        "id": "1", "set": "s", "type": "multiple-choice", "benchmark": "MMLU", "context": None,
        "prompt": "?", "options": ["a", "b"], "target": target, "gemma_1_1_7b_response": "A",
    }  # fmt: skip
    folder = _written(tmp_path, "mixeval", "items.jsonl.gz", [json.dumps(record)])

    with pytest.raises(DataError, match="line 1"):
        read_rows(folder, "mixeval")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """Absent, no gzip, cut short, garbled, no JSON, no UTF-8, or without rows."""
    with pytest.raises(DataError, match="test.jsonl.gz cannot be read"):
        read_rows(tmp_path, "gsm8k")
    path = _written(tmp_path, "gsm8k", "test.jsonl.gz", []) / "gsm8k/test.jsonl.gz"
    with pytest.raises(DataError, match="holds no rows"):
        read_rows(tmp_path, "gsm8k")
    whole = gzip.compress(json.dumps(GSM8K).encode() * 100)
    garbled = whole[:12] + b"\xff" * 20 + whole[32:]
    for content in (b"text", whole[: len(whole) // 2], garbled, gzip.compress(b"\xff\xfe\n")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"test\.jsonl\.gz"):
            read_rows(tmp_path, "gsm8k")
    path.write_bytes(gzip.compress(b"{]\n"))
    with pytest.raises(DataError, match="line 1"):
        read_rows(tmp_path, "gsm8k")


def test_an_unknown_data_set_is_refused(tmp_path: Path) -> None:
    """The error lists the known ones."""
    with pytest.raises(ConfigError, match=r"name is '\.\./gsm8k'; .*agieval, bbh"):
        read_rows(tmp_path, "../gsm8k")


def test_the_average_of_big_bench_hard_is_over_23_tasks() -> None:
    """Three tasks of one family weigh as much as one other task."""
    families = ("logical_deduction", "tracking_shuffled_objects")
    shares = {f"task {i}": 0.0 for i in range(21)}
    shares |= {f"{family}_{n}_objects": 23.0 for family in families for n in (3, 5, 7)}

    assert bbh_average(shares) == 2.0
    with pytest.raises(DataError, match="26 tasks"):
        bbh_average(dict(list(shares.items())[1:]))

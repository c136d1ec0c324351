"""Tasks from files: what they say, and every mistake as an error that names it."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import pytest

from motet import Budget, Model
from motet.errors import ConfigError, DataError
from motet.evaluation.judge_metrics import Judged
from motet.evaluation.metrics import Graded, Scored, score_by_rule
from motet.evaluation.task_files import datasets, read_task
from motet.grading.rows import Row

ROW = {"question": "1 + 1?", "answer": 2}
TOML = """
name = "sums"
rows = "rows.jsonl"
metric = "number"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "task.toml"
    path.write_text(text)
    return path


def data() -> str:
    found = os.environ.get("MOTET_DATA")
    if not found:
        pytest.skip("MOTET_DATA names no folder of data sets")
    return found


def test_a_task_file_says_all_that_an_evaluation_needs(folder: Path) -> None:
    """Rows, how they are put, how they are scored, and what is to answer them."""
    (folder / "q.jsonl").write_text(
        json.dumps({"stem": "Say.", "key": "7", "level": 3, "hint": "h", "n": "a"}) + "\n"
    )
    text = """
    name = "mine"
    rows = "q.jsonl"
    kind = "maths"
    instruction = "Be brief."
    programs = ["self_consistency(n=8)"]
    models = ["local:smollm2"]
    attempt_tokens = 500
    fields = {prompt = "stem", gold = "key", part = "level", id = "n"}
    inputs = {question = "prompt", extra = "hint"}
    budget = {max_tokens = 1000}

    [metric]
    name = "judge"
    model = "local:smollm2"
    criteria = ["It is short."]
    """

    found = read_task(written(folder, text))

    [row] = found.task.rows
    assert (row.id, row.prompt, row.golds, row.kind, row.task) == (
        "a",
        "Say.",
        ("7",),
        "maths",
        "3",
    )
    assert found.task.metric == Judged(model=Model("local:smollm2"), criteria=("It is short.",))
    assert found.task.prompt_of(row) == "Say.\n\nBe brief."
    assert found.task.inputs == {"question": "prompt", "extra": "hint"}
    assert found.task.extras == {"a": {"hint": "h"}}
    assert (found.programs, found.models) == (("self_consistency(n=8)",), ("local:smollm2",))
    assert (found.budget, found.attempt_tokens) == (Budget(max_tokens=1000), 500)


def test_lines_of_json_are_a_task_plain_or_packed(folder: Path) -> None:
    """Named by the file, with the kind and the instruction that their answers suggest."""
    lines = (folder / "rows.jsonl").read_bytes()
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress(lines))

    plain, packed = (read_task(folder / name).task for name in ("rows.jsonl", "rows.jsonl.gz"))

    assert plain.name == packed.name == "rows"
    assert plain.rows == packed.rows
    assert plain.digest == packed.digest
    assert (plain.rows[0].kind, plain.rows[0].golds) == ("number", ("2",))
    assert plain.instruction == "End with a line of the form: The answer is <number>."


def test_rows_may_stand_in_the_task_file(folder: Path) -> None:
    """An array of tables, which have the number of their place as id."""
    task = read_task(written(folder, '[[rows]]\nprompt = "p"\ngold = "cat"\n')).task

    assert [(row.id, row.kind) for row in task.rows] == [("row 1", "text")]
    assert task.instruction == ""


def test_the_first_rows_are_taken_where_a_limit_is_set(folder: Path) -> None:
    """That of the call goes before that of the file."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(ROW) + "\n" for _ in range(9)))
    path = written(folder, TOML + "limit = 3\n")

    assert len(read_task(path).task.rows) == 3
    assert len(read_task(path, limit=5).task.rows) == 5


def test_a_metric_of_the_call_goes_before_that_of_the_file(folder: Path) -> None:
    """A name, a metric, or a function of one's own that is looked up."""

    def mine(text: str, row: Row) -> float:
        return 1.0

    path = written(folder, TOML)

    assert read_task(path).task.metric == Graded(name="number")
    assert read_task(path, metric="maths").task.metric == Graded(name="maths")
    found = read_task(path, metric="file.py:mine", find_function=lambda text: mine).task.metric
    assert found == Scored(function=mine, name="mine")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TOML + "metrics = 1", "has 'metrics', which is no setting; did you mean 'metric'?"),
        (TOML.replace("sums", ""), "name is ''"),
        ("rows = 3", "rows is 3; it must be a path or an array of tables"),
        ('name = "x"', "neither rows nor dataset"),
        (TOML + 'dataset = "gsm8k"', "both rows and dataset"),
        ('dataset = "gsm9k"', "did you mean 'gsm8k'?"),
        ('dataset = "gsm8k"', "no data folder is given"),
        ('dataset = "gsm8k"\nkind = "text"', "kind has no part where dataset is given"),
        (TOML + "instruction = 3", "instruction is 3; it must be a text"),
        (TOML + 'kind = "math"', "kind is 'math'; did you mean 'maths'?"),
        (TOML + "kind = 2", "kind is 2"),
        (TOML + 'fields = "x"', "fields is 'x'; it must be a table"),
        (TOML + 'fields = {promt = "x"}', "did you mean 'prompt'?"),
        (TOML + "fields = {prompt = 1}", "prompt = 1; it must be a field's name"),
        (TOML + "inputs = {question = 1}", "question = 1; it must be a field"),
        (TOML + 'programs = "x"', "programs is 'x'; it must be a list of texts"),
        (TOML + 'models = [""]', "models is [''];"),
        (TOML + "limit = 0", "limit is 0"),
        (TOML + "attempt_tokens = 1.5", "attempt_tokens is 1.5"),
        (TOML + "budget = {tokens = 1}", "budget has 'tokens'; did you mean 'max_tokens'?"),
        (TOML + "budget = {max_tokens = -1}", "max_tokens is -1"),
        (TOML.replace('"number"', '"numbr"'), "did you mean 'number'?"),
        (TOML.replace('"number"', "3"), "metric is 3"),
        (TOML.replace('"number"', "{}"), "it must have a name"),
        (TOML.replace('"number"', '{name = "number", model = "x"}'), "has 'model'"),
        (TOML.replace('"number"', '{name = "judge"}'), "it needs a judge's URL"),
        (TOML.replace('"number"', '{name = "judge", model = "x:y", criterion = []}'),
         "did you mean 'criteria'?"),
        (TOML.replace('"number"', '{name = "judge", model = "x:y", criteria = "a"}'),
         "criteria = 'a'; it must be a list of texts"),
        (TOML.replace('"number"', '{name = "pairwise", model = "x:y", by = "chance"}'),
         "by is 'chance'"),
        (TOML.replace('"number"', '"f.py:g"'), "functions are not looked up here"),
        ('rows = "\\u0000"', "cannot be read: embedded null byte"),
        ("name = ", "is no TOML"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_task_file_is_an_error_that_names_it(
    folder: Path, text: str, said: str
) -> None:
    """With its value, or with what was meant."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_task(written(folder, text))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("gsm9k", "did you mean 'gsm8k'?"),
        ("none.toml", "cannot be read"),
        ("x.jsonl", "cannot be"),
        ("x" * 5000, "is no file and no data set"),
    ],
)
def test_a_source_that_is_not_there_is_named(source: str, said: str) -> None:
    """As is a data set that there is instead."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_task(source)


def test_bad_rows_are_left_out_and_told_where_that_is_wanted(folder: Path) -> None:
    """Else the first one refuses the file."""
    (folder / "rows.jsonl").write_text("{\n" + json.dumps(ROW) + "\n[]\n")
    told: list[str] = []

    found = read_task(folder / "rows.jsonl", on_bad_row=told.append)

    assert [row.id for row in found.task.rows] == ["line 2"]
    assert len(told) == 2
    assert found.left_out == tuple(told)
    assert "line 3" in told[1]
    with pytest.raises(DataError, match="line 1: malformed JSON"):
        read_task(folder / "rows.jsonl")


def test_a_hexadecimal_too_long_for_decimals_is_a_bad_row(folder: Path) -> None:
    """TOML reads it, and Python refuses to write it."""
    text = f"[[rows]]\nquestion = 'q'\nanswer = 0x{'f' * 5000}\n"

    with pytest.raises(DataError, match="row 1: it holds what JSON cannot"):
        read_task(written(folder, text))


def test_tasks_of_the_same_rows_and_metric_have_one_digest(folder: Path) -> None:
    """Whatever their order and their instruction; another row or metric makes another."""
    rows = [json.dumps({"id": i, "question": f"q{i}", "answer": i}) for i in range(3)]
    digests = []
    for lines, text in [
        (rows, TOML),
        (rows[::-1], TOML + 'instruction = "Other."'),
        (rows[:2], TOML),
        (rows, TOML.replace("number", "maths")),
    ]:
        (folder / "rows.jsonl").write_text("\n".join(lines))
        digests.append(read_task(written(folder, text)).task.digest)

    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


_OF_CODE = ("codet_samples", "humaneval", "humaneval_plus", "humaneval_plus_mini", "mbpp")
"""Whose programs are run by the tests of their readers."""


@pytest.mark.parametrize("name", sorted({*datasets()} - {*_OF_CODE}))
def test_of_every_data_set_the_right_answers_are_right(name: str) -> None:
    """Said as the instruction asks for it, by the rule of each row's kind."""
    task = read_task(name, data=data(), limit=150).task

    wrong = []
    for row in task.rows:
        assert row.answers == {}
        if row.kind == "instructions":
            continue
        reply = row.golds[0] if row.kind in ("text", "maths") else f"The answer is {row.golds[0]}."
        if score_by_rule(row, reply, "auto").value != 1:
            wrong.append((row.id, reply))

    assert wrong == []

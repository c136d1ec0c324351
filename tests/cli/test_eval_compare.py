"""`motet eval --compare`: what changed between two reports."""

import json
from dataclasses import asdict, replace

import pytest

from motet.evaluation.report import Line, Report, Standing
from motet.programs.frontier.points import Interval


def report(values, **more):
    standing = Standing(
        accuracy=Interval(0.5, 0.4, 0.6), tokens=100.0, calls=1.0, cost=0.0, wall_s=1.0,
        num_attempts=len(values),
    )  # fmt: skip
    line = Line(
        name="solver", model="m", own=standing, matched=None, gain=None, lead=None, values=values
    )
    given = {
        "version": 1, "motet": "0.1", "task": "sums", "digest": "d", "metric": "number",
        "match": "tokens", "num_rows": len(values), "num_left_out": 0, "num_seeds": 1,
        "usage": {}, "cost": 0.0, "run_id": "r", "made_at": "2026-01-01T00:00:00+00:00",
        "lines": (line,), **more,
    }  # fmt: skip
    return Report(**given)


BEFORE = report({f"r{i}": float(i < 5) for i in range(40)})
AFTER = report({f"r{i}": float(1 <= i < 25) for i in range(40)})


@pytest.fixture
def write(tmp_path):
    def written(name, made):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "report.json").write_text(json.dumps(asdict(made)))

    written("before", BEFORE)
    written("after", AFTER)
    return written


@pytest.mark.parametrize("words", [["--compare"], ["compare"]])
def test_a_change_is_told_with_its_interval(motet, write, words):
    """Both ways to say it give a table, and the rows that got worse; folders or files."""
    result = motet("eval", *words, "before", "after/report.json")

    assert result.exit_code == 0, result.stderr
    head, row = result.stdout.splitlines()
    assert head.split()[:2] == ["CONTENDER", "ROWS"]
    assert row.split()[:3] == ["solver", "40", "12.5"]
    assert "+47.5" in row
    assert row.split()[-5:] == ["20", "1", "100", "to", "100"]
    assert "solver is better by 47.5 (" in result.stderr
    assert "got worse: r0" in result.stderr


def test_json_and_page_hold_the_comparison(motet, write, tmp_path):
    """--json prints one object, --out writes the page, and --quiet says nothing else."""
    result = motet("eval", "--compare", "before", "after", "--json", "-q", "--out", "change.html")

    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert found["differences"][0]["num_better"] == 20
    assert found["is_same_task"] is True
    page = (tmp_path / "change.html").read_text()
    assert "solver is better by" in page
    assert "From before to after" in page


def test_contenders_of_one_report_and_other_rows_are_told(motet, write):
    """What cannot be compared is named, and a changed task is not taken for a better program."""
    other = replace(AFTER.lines[0], name="other")
    write("after", replace(AFTER, lines=(*AFTER.lines, other), digest="e"))

    result = motet("eval", "compare", "before", "after")

    assert result.exit_code == 0
    assert "only in the later report: other" in result.stderr
    assert "rows or metric are not the same in both reports" in result.stderr


def test_no_change_is_named_inside_its_interval(motet, write):
    """A report beside itself has no better and no worse."""
    result = motet("eval", "compare", "before", "before")

    assert "No change is larger than its interval." in result.stderr
    assert "got worse" not in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "is no report"),
        ('{"version": 99, "lines": []}', "has version 99"),
        (json.dumps(asdict(replace(BEFORE, task="other"))), "of different tasks"),
        (json.dumps(asdict(BEFORE)).replace("solver", "x"), "share no contender"),
        (json.dumps(asdict(report({"other": 1.0}))), "no row of 'solver' is in both"),
    ],
)
def test_reports_that_cannot_be_compared_are_told(motet, write, tmp_path, text, said):
    """Exit code 2 and what is wrong; no traceback, no table."""
    (tmp_path / "after" / "report.json").write_text(text)

    result = motet("eval", "compare", "before", "after")

    assert result.exit_code == 2, result.stderr
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--out", "before"], "--out before is a folder"),
        (["--out", "nowhere/change.html"], "--out nowhere/change.html: there is no folder nowhere"),
        (["--seeds", "2"], "--seeds has no part beside --compare"),
        (["--program", "x"], "--program has no part beside --compare"),
        (["rows.jsonl"], "a task has no part beside --compare"),
    ],
)
def test_a_wrong_option_is_told(motet, write, more, said):
    """Exit code 2 and the option's name."""
    result = motet("eval", "--compare", "before", "after", *more)

    assert result.exit_code == 2
    assert said in result.stderr

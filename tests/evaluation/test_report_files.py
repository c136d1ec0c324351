"""Reports as JSON: what is written comes back, and what is damaged is told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import DataError
from motet.evaluation.report import VERSION, Line, Report, Standing
from motet.evaluation.report_files import read_report, report_json, report_of_json
from motet.programs.frontier.points import Interval

SHARES = st.floats(0, 1)


def intervals(least: float) -> Any:
    numbers = st.lists(st.floats(least, 1), min_size=3, max_size=3).map(sorted)
    return numbers.map(lambda n: Interval(n[1], n[0], n[2]))


def standings() -> Any:
    return st.builds(
        Standing,
        accuracy=intervals(0),
        tokens=st.floats(0, 1e9),
        calls=st.floats(0, 1e9),
        cost=st.floats(0, 1e9),
        wall_s=st.none() | st.floats(0, 1e9),
        num_attempts=st.integers(0, 100),
        missing=st.dictionaries(st.text(), st.integers(0, 9), max_size=2),
        samples=st.none() | st.floats(1, 64),
        others=st.dictionaries(st.text(), intervals(0), max_size=2),
        parts=st.dictionaries(st.text(), st.tuples(SHARES, st.integers(1, 9)), max_size=2),
    )


def lines() -> Any:
    return st.builds(
        Line,
        name=st.text(),
        model=st.none() | st.text(),
        own=standings(),
        matched=st.none() | standings(),
        gain=st.none() | intervals(-1),
        lead=st.none() | intervals(-1),
        values=st.dictionaries(st.text(), SHARES, max_size=4),
    )


STANDING = Standing(
    accuracy=Interval(0.5, 0.25, 0.75), tokens=1.0, calls=1.0, cost=0.0, wall_s=None, num_attempts=2
)
LINE = Line(
    name="a", model="m", own=STANDING, matched=STANDING, gain=Interval(0.0, -0.5, 0.5), lead=None,
    values={"r": 1.0},
)  # fmt: skip
REPORT = Report(
    version=VERSION, motet="0", task="t", digest="d", metric="auto", match="tokens", num_rows=1,
    num_left_out=0, num_seeds=1, lines=(LINE,), usage={"calls": 1}, cost=0.0, run_id="r",
    made_at="2026-01-01T00:00:00+00:00",
)  # fmt: skip


@given(st.lists(lines(), min_size=1, max_size=2, unique_by=lambda line: line.name))
def test_a_report_that_was_written_comes_back(found: list[Line]) -> None:
    """Every number of it, to the last bit."""
    report = replace(REPORT, lines=tuple(found))

    assert report_of_json(report_json(report)) == report


def test_a_report_is_read_from_its_file(tmp_path: Path) -> None:
    """A file that is not there is told by name."""
    path = tmp_path / "report.json"
    path.write_text(report_json(REPORT))

    assert read_report(path) == REPORT
    with pytest.raises(DataError, match=r"none\.json cannot be read"):
        read_report(tmp_path / "none.json")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"report\.json cannot be read"):
        read_report(path)


def changed(**changes: Any) -> str:
    data = json.loads(report_json(REPORT))
    for path, value in changes.items():
        *parts, last = path.split("__")
        where = data
        for part in parts:
            where = where[int(part) if part.isdigit() else part]
        where[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON"),
        (report_json(REPORT)[:-100], "is no JSON"),
        ("[" * 100_000, "nested too deep"),
        ("[]", "is no report of an evaluation"),
        ('{"points": []}', "is no report of an evaluation"),
        (changed(version=VERSION + 1), f"has version {VERSION + 1}; this motet reads"),
        (changed(version="1"), "has version '1'"),
        (changed(version=True), "has version True"),
        (changed(cost=float("nan")), "NaN is no number"),
        (changed(cost=float("inf")), "Infinity is no number"),
        (changed(cost=None), "is damaged"),
        (changed(num_rows="3"), "is damaged"),
        (changed(lines=[]), "it has no contender"),
        (changed(lines__0__values={"r": 2.0}), "the value of row 'r' is 2.0"),
        (changed(lines__0__own__accuracy={"mean": 0.9, "low": 0.1, "high": 0.2}), "out of order"),
        (changed(lines__0__gain={"mean": 0.0, "low": -2.0, "high": 0.2}), "gain of 'a'"),
        (changed(lines__0__own=None), "is damaged"),
        (changed(lines=[json.loads(report_json(REPORT))["lines"][0]] * 2), "'a' twice"),
        (report_json(REPORT).replace('"cost": 0.0', '"cost": 1e999'), "1e999 is no number"),
    ],
)
def test_a_file_that_is_no_report_is_told(text: str, said: str) -> None:
    """Damaged, foreign and newer ones apart."""
    with pytest.raises(DataError, match=re.escape(said)):
        report_of_json(text)


def test_a_number_that_json_has_not_is_not_written() -> None:
    """Rather than a file that nobody can read."""
    with pytest.raises(DataError, match="cannot be written"):
        report_json(replace(REPORT, cost=float("nan")))

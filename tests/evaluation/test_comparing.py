"""Comparisons of two reports: paired by row, and honest on what they do not share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import DataError
from motet.evaluation.comparing import compare
from motet.evaluation.html_comparison import comparison_html
from motet.evaluation.report import VERSION, Line, Report, Standing
from motet.programs.frontier.points import Interval


def line(name: str, values: dict[str, float], tokens: float = 1.0) -> Line:
    standing = Standing(
        accuracy=Interval(0.0, 0.0, 1.0), tokens=tokens, calls=1.0, cost=tokens / 2, wall_s=None,
        num_attempts=len(values),
    )  # fmt: skip
    return Line(
        name=name, model=None, own=standing, matched=None, gain=None, lead=None, values=values
    )


def report(*lines: Line, **changes: Any) -> Report:
    fields: dict[str, Any] = {
        "version": VERSION, "motet": "0", "task": "t", "digest": "d", "metric": "auto",
        "match": "tokens", "num_rows": 1, "num_left_out": 0, "num_seeds": 1, "lines": lines,
        "usage": {}, "cost": 0.0, "run_id": "r", "made_at": "",
    }  # fmt: skip
    return Report(**{**fields, **changes})


VALUES = st.dictionaries(
    st.sampled_from([f"row {i}" for i in range(9)]), st.sampled_from([0.0, 0.5, 1.0]), min_size=1
)


@given(VALUES)
def test_a_report_does_not_differ_from_itself(values: dict[str, float]) -> None:
    """By exactly nothing, as far to one side as to the other."""
    [found] = compare(report(line("a", values)), report(line("a", values))).differences

    assert found.change.mean == 0.0
    assert found.change.low == -found.change.high
    assert (found.num_better, found.num_worse, found.worse) == (0, 0, ())
    assert found.before == found.after


@given(VALUES, VALUES)
def test_what_two_reports_differ_by_is_turned_with_them(
    first: dict[str, float], second: dict[str, float]
) -> None:
    """Better one way is worse the other."""
    if not set(first) & set(second):
        return
    [there] = compare(report(line("a", first)), report(line("a", second))).differences
    [back] = compare(report(line("a", second)), report(line("a", first))).differences

    assert there.change.mean == pytest.approx(-back.change.mean)
    assert (there.num_better, there.num_worse) == (back.num_worse, back.num_better)
    assert (there.before, there.after) == (back.after, back.before)
    assert there.change.mean == pytest.approx(there.after.mean - there.before.mean)


def test_rows_are_paired_by_their_ids() -> None:
    """Those that one report has alone count in neither."""
    before = report(line("a", {"x": 1.0, "y": 0.0, "z": 1.0}, tokens=10))
    after = report(line("a", {"z": 0.0, "x": 1.0, "w": 0.0}, tokens=30))

    [found] = compare(before, after).differences

    assert (found.num_rows, found.num_better, found.num_worse) == (2, 0, 1)
    assert found.worse == ("z",)
    assert (found.before.mean, found.after.mean, found.change.mean) == (1.0, 0.5, -0.5)
    assert (found.tokens, found.cost) == ((10, 30), (5, 15))


def test_contenders_that_one_report_has_alone_are_named() -> None:
    """As is whether rows and metric are the same."""
    values = {"x": 1.0}
    before = report(line("a", values), line("b", values))
    after = report(line("c", values), line("a", values), digest="e")

    found = compare(before, after)

    assert (found.only_before, found.only_after) == (("b",), ("c",))
    assert not found.is_same_task
    assert compare(before, before).is_same_task


def test_a_contender_of_which_nothing_was_judged_does_not_hide_the_others() -> None:
    """It is named, and shown nowhere as only in one of the reports."""
    before = report(line("a", {"x": 1.0}), line("b", {}))
    after = report(line("a", {"x": 1.0}), line("b", {"x": 1.0}))

    found = compare(before, after)

    assert [each.name for each in found.differences] == ["a"]
    assert (found.not_paired, found.only_before, found.only_after) == (("b",), (), ())
    page = comparison_html(found, before="old", after="new")
    assert "Without a row that has a value in both reports: b." in page


def test_of_many_rows_that_got_worse_the_first_are_named() -> None:
    """All are counted."""
    rows = {f"{i}": 1.0 for i in range(80)}
    worse = dict.fromkeys(rows, 0.0)

    [found] = compare(report(line("a", rows)), report(line("a", worse))).differences

    assert found.num_worse == 80
    assert found.worse == tuple(rows)[:50]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (report(line("a", {"x": 1.0}), task="u"), "different tasks: 't' and 'u'"),
        (report(line("b", {"x": 1.0})), "share no contender: a before, b after"),
        (report(line("a", {"y": 1.0})), "no row of 'a' is in both"),
    ],
)
def test_reports_that_have_nothing_in_common_are_not_compared(after: Report, said: str) -> None:
    """It is said what they lack."""
    with pytest.raises(DataError, match=said):
        compare(report(line("a", {"x": 1.0})), replace(after))

"""What a report claims in words."""

from __future__ import annotations

from typing import Any

import pytest

from motet.evaluation.figures import Figure
from motet.evaluation.report import Line, Report, Standing
from motet.evaluation.verdicts import reasons_of, verdicts_of
from motet.programs.frontier.points import Interval


def standing(tokens: float, cost: float = 0.0, cut_off: int = 0) -> Standing:
    return Standing(
        missing={"cut off": cut_off},
        accuracy=Interval(0.5, 0.4, 0.6), tokens=tokens, calls=1.0, cost=cost, wall_s=None,
        num_attempts=9,
    )  # fmt: skip


def report(own: Standing, matched: Standing | None, match: str = "tokens") -> Report:
    line = Line(
        name="search", model="m", own=own, matched=matched, gain=Interval(0.2, 0.1, 0.3), lead=None,
        values={},
    )  # fmt: skip
    return Report(
        version=1, motet="0", task="t", digest="d", metric="auto", match=match, num_rows=9,
        num_left_out=0, num_seeds=1, lines=(line,), usage={}, cost=0.0, run_id="r", made_at="now",
    )  # fmt: skip


@pytest.mark.parametrize(("taken", "share"), [(258.0, 31), (1300.0, 158)])
def test_a_spend_that_was_not_matched_is_told_behind_the_gain(taken: float, share: int) -> None:
    """No gain over a third of the compute, which --max-samples left, passes for one over the same."""
    gain, unmatched = verdicts_of(report(standing(824.0), standing(taken)))

    assert gain.startswith("search is ahead of self-consistency")
    assert f"beside search took {share} percent of its tokens" in unmatched
    assert "not the same compute" in unmatched


def test_a_spend_that_was_matched_is_not_told() -> None:
    """Nor is one where there is none beside, or where neither spent."""
    for own, matched in ((824.0, 800.0), (0.0, 0.0)):
        assert len(verdicts_of(report(standing(own), standing(matched)))) == 1
    assert len(verdicts_of(report(standing(824.0), None))) == 1


def test_self_consistency_beside_what_spent_nothing_is_no_match() -> None:
    """Its gain names nobody, since one sample at least stands beside it."""
    [told] = verdicts_of(report(standing(0.0), standing(30.0)))
    [free] = verdicts_of(report(standing(9.0), standing(9.0, 0.5), "cost"))

    assert "search spent no tokens, so self-consistency beside it" in told
    assert "is no match" in told
    assert free.startswith("search spent no money")


def failed(contender: str, error: str | None, missing: str = "failed", **more: Any) -> Figure:
    return Figure(**{
        "contender": contender, "is_matched": False, "row": "r", "part": "", "seed": 0,
        "text": None, "answer": None, "value": None, "missing": missing, "error": error,
        "tokens": 0, "calls": 0, "cost": 0.0, "wall_s": None, **more,
    })  # fmt: skip


def test_the_commonest_reason_of_failures_is_told_of_each_contender() -> None:
    """Self-consistency has its own; what is empty or cut off is only counted."""
    told = reasons_of([
        failed("a", "Rare: x"), failed("a", "Often: y"), failed("a", "Often: y"),
        failed("b", "Judge: z", "not judged"), failed("c", "Cut: c", "cut off"),
        failed("c", None, "empty"), failed("a", "Beside: v", is_matched=True),
    ])  # fmt: skip

    assert told == [
        "a: 3 failed, 2 of them by: Often: y",
        "b: 1 not judged: Judge: z",
        "Self-consistency beside a: 1 failed: Beside: v",
    ]


def test_what_is_matched_by_cost_is_told_by_cost() -> None:
    """Tokens have no part there."""
    [_, told] = verdicts_of(report(standing(9.0, 1.0), standing(9.0, 0.5), "cost"))

    assert "50 percent of its cost" in told


def test_a_gain_over_samples_that_were_cut_off_is_told_as_such() -> None:
    """A program that keeps its cut-off texts is scored by them; samples of the same length are not."""
    [_, told] = verdicts_of(report(standing(9.0), standing(9.0, cut_off=7)))
    both = verdicts_of(report(standing(9.0, cut_off=7), standing(9.0, cut_off=7)))

    assert "was cut off in 7 of 9 attempts" in told
    assert "--sample-tokens" in told
    assert len(both) == 1

"""Which differences are larger than their intervals, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from motet.evaluation.figures import NOT_JUDGED, Figure
from motet.evaluation.report import Comparison, Line, Report
from motet.programs.frontier.points import Interval

_MOST: Final = 10
"""Sentences."""
_NEAR: Final = (0.8, 1.25)
"""Spends of self-consistency, as shares of a contender's, that still are the same compute."""


def excludes_0(interval: Interval) -> bool:
    return interval.low > 0 or interval.high < 0


def verdicts_of(report: Report) -> list[str]:
    """Return a sentence for each difference whose interval does not hold 0.

    Where there are differences and all of their intervals do, one sentence says so. Behind them
    stands each contender beside which self-consistency did not take the same compute, or was cut
    off more often. A gain of a contender that spent nothing is no difference: nothing was matched.
    """
    said = []
    has_difference = False
    for line in report.lines:
        first = report.lines[0].name
        gain = None if spent_nothing(line, report.match) else line.gain
        has_difference = has_difference or bool(line.lead or gain)
        for difference, other in (
            (line.lead, first),
            (gain, "self-consistency of the same compute"),
        ):
            if difference is not None and excludes_0(difference):
                word = "ahead of" if difference.mean > 0 else "behind"
                said.append(f"{line.name} is {word} {other} by {_points(difference)} points.")
    if not said and has_difference:
        said.append("No difference is larger than its interval: no winner is named.")
    return [*_cut(said), *_cut(_unmatched(report)), *_cut(_cut_off(report))]


def spent_nothing(line: Line, match: str) -> bool:
    """Whether a contender took nothing, and self-consistency beside it something."""
    own, beside = _spends(line, match)
    return not own and beside > 0


def _spends(line: Line, match: str) -> tuple[float, float]:
    """Return what a contender and self-consistency beside it took; 0 where there is none."""
    own, beside = (
        0.0 if each is None else each.cost if match == "cost" else each.tokens
        for each in (line.own, line.matched)
    )
    return own, beside


def _unmatched(report: Report) -> list[str]:
    said = []
    for line in report.lines:
        if line.matched is None:
            continue
        if spent_nothing(line, report.match):
            said.append(
                f"{line.name} spent no {'money' if report.match == 'cost' else 'tokens'}, so "
                "self-consistency beside it, which takes one sample at least, is no match: its "
                "gain says nothing."
            )
            continue
        own, beside = _spends(line, report.match)
        share = beside / own if own else 1.0
        if not _NEAR[0] <= share <= _NEAR[1]:
            said.append(
                f"Self-consistency beside {line.name} took {100 * share:.0f} percent of its "
                f"{'cost' if report.match == 'cost' else 'tokens'}, which is not the same compute: "
                "samples are whole, one at least and --max-samples at most."
            )
    return said


def _cut_off(report: Report) -> list[str]:
    """Return a sentence for each gain that may be of the room that samples had."""
    said = []
    for line in report.lines:
        if line.matched is None:
            continue
        num = line.matched.missing.get("cut off", 0)
        if num > line.own.missing.get("cut off", 0):
            said.append(
                f"Self-consistency beside {line.name} was cut off in {num} of "
                f"{line.matched.num_attempts} attempts, which count as wrong: a larger "
                "--sample-tokens may change the gain."
            )
    return said


def reasons_of(figures: Sequence[Figure]) -> list[str]:
    """Return for each contender that failed, or was not judged, its commonest reason."""
    found: dict[tuple[str, bool, str], Counter[str]] = {}
    for figure in figures:
        if figure.missing in ("failed", NOT_JUDGED) and figure.error:
            key = (figure.contender, figure.is_matched, figure.missing)
            found.setdefault(key, Counter())[figure.error] += 1
    said = []
    for (name, is_matched, missing), reasons in found.items():
        [(reason, num)] = reasons.most_common(1)
        who = f"Self-consistency beside {name}" if is_matched else name
        total = reasons.total()
        part = "" if num == total else f", {num} of them by"
        said.append(f"{who}: {total} {missing}{part}: {reason}")
    return _cut(said)


def changes_of(comparison: Comparison) -> list[str]:
    """Return a sentence for each change whose interval does not hold 0; else one that says so."""
    said = []
    for each in comparison.differences:
        if excludes_0(each.change):
            word = "better" if each.change.mean > 0 else "worse"
            said.append(f"{each.name} is {word} by {_points(each.change)} points.")
    if not said and comparison.differences:
        said.append("No change is larger than its interval.")
    return _cut(said)


def _cut(said: list[str]) -> list[str]:
    more = len(said) - _MOST
    return said if more <= 0 else [*said[:_MOST], f"And {more} more, which the table shows."]


def _points(difference: Interval) -> str:
    """Return how large a difference is, with its interval, without its direction."""
    low, high = sorted((abs(difference.low), abs(difference.high)))
    return f"{100 * abs(difference.mean):.1f} ({100 * low:.1f} to {100 * high:.1f})"

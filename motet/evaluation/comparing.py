"""What differs between two reports of one task."""

from __future__ import annotations

from motet.errors import DataError
from motet.evaluation.report import Comparison, Difference, Line, Report
from motet.evaluation.reporting import differences_of, interval_of
from motet.programs.frontier.points import gain_of

_MOST_WORSE = 50


def compare(before: Report, after: Report) -> Comparison:
    """Compare the contenders that two reports share, on the rows that both have.

    Raises:
        DataError: They are of different tasks, share no contender, or none has a row in both.
    """
    if before.task != after.task:
        raise DataError(f"the reports are of different tasks: {before.task!r} and {after.task!r}")
    old = {line.name: line for line in before.lines}
    new = {line.name: line for line in after.lines}
    shared = [name for name in old if name in new]
    if not shared:
        raise DataError(
            f"the reports share no contender: {', '.join(old)} before, {', '.join(new)} after"
        )
    paired = [name for name in shared if any(row in old[name].values for row in new[name].values)]
    if not paired:
        raise DataError(f"no row of {', '.join(map(repr, shared))} is in both reports")
    return Comparison(
        task=after.task,
        is_same_task=before.digest == after.digest,
        differences=tuple(_difference(before, after, old[name], new[name]) for name in paired),
        only_before=tuple(name for name in old if name not in new),
        only_after=tuple(name for name in new if name not in old),
        not_paired=tuple(name for name in shared if name not in paired),
    )


def _difference(before: Report, after: Report, old: Line, new: Line) -> Difference:
    rows = [row for row in new.values if row in old.values]
    earlier = {row: old.values[row] for row in rows}
    later = {row: new.values[row] for row in rows}
    worse = [row for row in rows if later[row] < earlier[row]]
    return Difference(
        name=new.name,
        before=interval_of(earlier, before.num_seeds),
        after=interval_of(later, after.num_seeds),
        change=gain_of(differences_of(later, earlier)),
        num_rows=len(rows),
        num_better=sum(later[row] > earlier[row] for row in rows),
        num_worse=len(worse),
        tokens=(old.own.tokens, new.own.tokens),
        cost=(old.own.cost, new.own.cost),
        worse=tuple(worse[:_MOST_WORSE]),
    )

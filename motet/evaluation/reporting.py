"""From figures to a report: means with intervals, gains over self-consistency, leads."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from motet.errors import DataError
from motet.evaluation.contenders import model_of
from motet.evaluation.figures import NOT_JUDGED, Figure
from motet.evaluation.matching import Match
from motet.evaluation.report import VERSION, Line, Report, Standing
from motet.evaluation.task import Contender, Task
from motet.programs.frontier.points import (
    Interval,
    accuracy_of,
    bootstrapped,
    gain_of,
    wilson,
)
from motet.runtime.result import Result


def report_of(
    task: Task,
    contenders: Sequence[Contender],
    result: Result[list[Figure]],
    *,
    match: Match = "tokens",
    num_left_out: int = 0,
) -> Report:
    """Return the report of a run of `study_call`.

    Args:
        task: What was asked.
        contenders: What was compared; the others' leads are over the first.
        result: Of the run.
        match: As given to `study_call`.
        num_left_out: Rows of the task's file that are none.

    Raises:
        DataError: A contender has no figures.
    """
    first: Mapping[str, float] | None = None
    lines: list[Line] = []
    for contender in contenders:
        figures = [each for each in result.value if each.contender == contender.name]
        model = model_of(contender)
        line = line_of(contender.name, figures, model=None if model is None else model.label)
        if first is not None:
            line = _leading(line, first)
        else:
            first = line.values
        lines.append(line)
    return Report(
        version=VERSION,
        motet=_version(),
        task=task.name,
        digest=task.digest,
        metric=task.metric.name,
        match=match,
        num_rows=len(task.rows),
        num_left_out=num_left_out,
        num_seeds=len({figure.seed for figure in result.value}),
        lines=tuple(lines),
        usage=asdict(result.usage),
        cost=result.cost,
        run_id=result.run_id,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _version() -> str:
    try:
        return version("motet")
    except PackageNotFoundError:
        return "unknown"


def line_of(name: str, figures: Sequence[Figure], *, model: str | None = None) -> Line:
    """Return a contender's line, without its lead.

    Raises:
        DataError: There are no figures of the contender itself.
    """
    own = [figure for figure in figures if not figure.is_matched]
    matched = [figure for figure in figures if figure.is_matched]
    if not own:
        raise DataError(f"there are no figures of {name!r}")
    values = values_of(own)
    beside = values_of(matched)
    differences = differences_of(values, beside)
    return Line(
        name=name,
        model=model,
        own=standing_of(own),
        matched=standing_of(matched) if matched else None,
        gain=gain_of(differences) if differences else None,
        lead=None,
        values=values,
    )


def _leading(line: Line, first: Mapping[str, float]) -> Line:
    differences = differences_of(line.values, first)
    return replace(line, lead=gain_of(differences) if differences else None)


def values_of(figures: Iterable[Figure]) -> dict[str, float]:
    """Return by row the mean of its attempts; rows of which none was judged are left out."""
    return _by_row((figure.row, figure.counted) for figure in figures)


def _by_row(pairs: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row, value in pairs:
        if value is not None:
            found.setdefault(row, []).append(value)
    return {row: _mean(values) for row, values in found.items()}


def differences_of(values: Mapping[str, float], others: Mapping[str, float]) -> list[float]:
    """Return the differences on the rows that both have, in an order that rows do not change."""
    return [values[row] - others[row] for row in sorted(values) if row in others]


def interval_of(values: Mapping[str, float], num_seeds: int = 1) -> Interval:
    """Return the mean over rows with its 95 percent interval, rows being the units.

    Values of 0 and 1 from one seed have Wilson's interval, others the bootstrap's over rows. Where
    all rows have one value, as many as Wilson's interval lets differ might have another. Of no row
    nothing is known: 0 to 1.
    """
    ordered = [values[row] for row in sorted(values)]
    if not ordered:
        return Interval(0.0, 0.0, 1.0)
    if all(value in (0.0, 1.0) for value in ordered):
        return accuracy_of(ordered, num_seeds)
    if len(set(ordered)) > 1:
        return bootstrapped(ordered)
    same, share = ordered[0], wilson(0, len(ordered)).high
    return Interval(same, same - share * same, same + share * (1 - same))


def standing_of(figures: Sequence[Figure]) -> Standing:
    """Return what the attempts of one side found and took; there is one at least."""
    num_seeds = len({figure.seed for figure in figures})
    walls = [figure.wall_s for figure in figures if figure.wall_s is not None]
    samples = [figure.samples for figure in figures if figure.samples is not None]
    reasons = Counter(figure.missing for figure in figures if figure.missing is not None)
    names = sorted({name for figure in figures for name in figure.others})
    return Standing(
        accuracy=interval_of(values_of(figures), num_seeds),
        tokens=_mean([figure.tokens for figure in figures]),
        calls=_mean([figure.calls for figure in figures]),
        cost=_mean([figure.cost for figure in figures]),
        wall_s=_mean(walls) if walls else None,
        num_attempts=len(figures),
        missing=dict(sorted(reasons.items())),
        samples=_mean(samples) if samples else None,
        others={
            name: interval_of(_by_row((f.row, _other(f, name)) for f in figures), num_seeds)
            for name in names
        },
        parts=_parts(figures),
        metric_tokens=_mean([figure.metric_tokens for figure in figures]),
        metric_cost=_mean([figure.metric_cost for figure in figures]),
    )


def _other(figure: Figure, name: str) -> float | None:
    """Return a further metric of an attempt; 0 where it has no answer, None where nothing told."""
    has_answer = figure.value is not None or figure.missing == NOT_JUDGED
    return figure.others.get(name) if has_answer else figure.others.get(name, 0.0)


def _parts(figures: Sequence[Figure]) -> dict[str, tuple[float, int]]:
    parts = sorted({figure.part for figure in figures})
    if len(parts) < 2:
        return {}
    found = {}
    for part in parts:
        values = values_of(figure for figure in figures if figure.part == part)
        if values:
            found[part] = (_mean(list(values.values())), len(values))
    return found


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)

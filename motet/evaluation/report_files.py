"""Reports as JSON: written whole, read strictly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from motet.errors import DataError
from motet.evaluation.report import VERSION, Line, Report, Standing
from motet.outputs import adapter
from motet.programs.frontier.points import Interval
from motet.programs.frontier.rows import cut


def report_json(report: Report) -> str:
    """Return a report as JSON text, which `read_report` reads.

    Raises:
        DataError: It holds a number that JSON has not.
    """
    try:
        return json.dumps(asdict(report), indent=2, allow_nan=False) + "\n"
    except ValueError as exc:
        raise DataError(f"the report of {report.task!r} cannot be written: {exc}") from None


def read_report(path: str | Path) -> Report:
    """Read a report.

    Raises:
        DataError: The file cannot be read, is no report or a damaged one, or is of a newer version.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        problem = exc.strerror if isinstance(exc, OSError) else exc
        raise DataError(f"report {path} cannot be read: {problem}") from None
    return report_of_json(text, name=str(path))


def report_of_json(text: str, *, name: str = "the report") -> Report:
    """Return the report that JSON text holds.

    Args:
        text: As `report_json` writes it.
        name: Of the report, in errors.

    Raises:
        DataError: It holds none, a damaged one, or one of a newer version.
    """
    try:
        data = json.loads(text, parse_constant=_refused, parse_float=_finite)
    except RecursionError:
        raise DataError(f"{name} is no JSON: nested too deep") from None
    except ValueError as exc:
        raise DataError(f"{name} is no JSON: {exc}") from None
    if not isinstance(data, dict) or "version" not in data or "lines" not in data:
        raise DataError(f"{name} is no report of an evaluation; it has no version and lines")
    version = data["version"]
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise DataError(f"{name} has version {cut(version)}; it must be a whole number from 1")
    if version > VERSION:
        raise DataError(
            f"{name} has version {version}; this motet reads reports up to {VERSION}: update it"
        )
    try:
        report: Report = adapter(Report).validate_json(text, strict=True)
    except ValueError as exc:
        told = str(exc).split("\n    For further information")[0].replace("\n", " ")
        raise DataError(f"{name} is damaged: {told[:300]}") from None
    for problem in _problems(report):
        raise DataError(f"{name} is damaged: {problem}")
    return report


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refused(text)
    return value


def _problems(report: Report) -> Iterator[str]:
    """Yield what cannot be in a report that was written."""
    names = [line.name for line in report.lines]
    if not names:
        yield "it has no contender"
    for name in names:
        if names.count(name) > 1:
            yield f"it has the contender {name!r} twice"
    for line in report.lines:
        for where, interval, least in _intervals(line):
            numbers = (interval.low, interval.mean, interval.high)
            if not least <= interval.low <= interval.mean <= interval.high <= 1:
                yield f"{where} of {line.name!r} is {numbers}, out of order or out of range"
        for row, value in line.values.items():
            if not 0 <= value <= 1:
                yield f"the value of row {row!r} is {value}; it must be from 0 to 1"


def _intervals(line: Line) -> Iterator[tuple[str, Interval, float]]:
    sides: list[tuple[str, Standing | None]] = [("", line.own), ("matched ", line.matched)]
    for side, standing in sides:
        if standing is not None:
            yield f"{side}accuracy", standing.accuracy, 0.0
            for name, interval in standing.others.items():
                yield f"{side}{name}", interval, 0.0
    differences: list[tuple[str, Any]] = [("gain", line.gain), ("lead", line.lead)]
    for name, found in differences:
        if found is not None:
            yield name, found, -1.0

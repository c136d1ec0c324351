"""Recorded solutions, of which every row counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from motet.errors import DataError
from motet.programs.frontier.recorded import Problem, read_recorded
from motet.programs.frontier.rows import BadRowError, read_row, read_rows


def read_all(paths: Iterable[Path]) -> list[Problem]:
    """Read the problems of all files.

    Raises:
        ConfigError: A file cannot be read, or holds no problem.
        DataError: A row is none; names it.
    """

    def refuse(message: str) -> None:
        raise DataError(message)

    return [problem for path in paths for problem in read_recorded(path, on_bad_row=refuse)]


def read_objects(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rows of all files.

    Raises:
        ConfigError: A file cannot be read.
        DataError: A row is no object; names it.
    """
    for path in paths:
        for number, line in read_rows(path):
            try:
                yield read_row(line)
            except BadRowError as exc:
                raise DataError(f"{path}, line {number}: {exc}") from exc


def percent(hits: Iterable[float]) -> float:
    """Return the mean of shares or flags, times a hundred.

    Raises:
        DataError: There are none.
    """
    found = [float(hit) for hit in hits]
    if not found:
        raise DataError("there are no rows to average over")
    return 100 * sum(found) / len(found)

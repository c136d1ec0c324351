"""Files of outcomes: long tables with a row for each answer, as JSON lines, CSV or Parquet."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from motet.errors import ConfigError, DataError
from motet.routing.outcomes import Outcomes

COLUMNS: Final = ("prompt", "model", "score", "cost")
"""Every row has them; `group` may stand beside them."""

SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")

_UNREADABLE: Final = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)


def read_outcomes(path: str | Path) -> Outcomes:
    """Read a table with one row for each answer: `prompt, model, score, cost` and maybe `group`.

    A pair of prompt and model without a row was not tried. A cost that is null, empty or NaN is
    unknown. Prompts and models stand in the order of their first rows; other columns are passed
    over. The suffix says the format: .jsonl, .jsonl.gz, .csv, .csv.gz or .parquet.

    Raises:
        DataError: The file cannot be read, is empty, has one model only, or a row is wrong: names
            the file, the line (in Parquet the row, from 1) and the column.
        ConfigError: Another suffix, or Parquet without pyarrow.
    """
    path = Path(path)
    cells = _Cells(path)
    for line, record in _records(path):
        cells.add(line, record)
    return cells.outcomes()


def write_outcomes(outcomes: Outcomes, path: str | Path) -> None:
    """Write `outcomes` so that `read_outcomes` gives them back; an older file is replaced whole.

    Where a model has no score nothing is written, so that its cost is lost there.

    Raises:
        DataError: A prompt stands in two rows, a prompt or a model has no score, there is one
            model only, or the file cannot be written.
        ConfigError: Another suffix than those that `read_outcomes` knows, or no pyarrow.
    """
    path = Path(path)
    suffix = _suffix(path)
    columns = (*COLUMNS, "group") if outcomes.groups is not None else COLUMNS
    records = _long(outcomes)
    scratch = path.with_name(f".{path.name}.part")
    try:
        if suffix == ".parquet":
            _pyarrow("pyarrow.parquet").write_table(
                _pyarrow("pyarrow").Table.from_pylist(records), scratch
            )
        else:
            text = _as_csv(columns, records) if ".csv" in suffix else _as_json_lines(records)
            data = text.encode()
            scratch.write_bytes(gzip.compress(data, mtime=0) if suffix.endswith(".gz") else data)
        scratch.replace(path)
    except (OSError, UnicodeEncodeError) as exc:
        raise DataError(f"{path} cannot be written: {exc}") from exc
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink()


def json_lines(
    path: Path, *, torn: list[int] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of each line that is not blank; `.gz` is unpacked.

    Args:
        torn: Gets the numbers of lines that are no JSON, which are then passed over.

    Raises:
        DataError: The file cannot be read, or a line is no JSON object.
    """
    with _opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as exc:
                if torn is None:
                    raise DataError(f"{path}, line {number}: this is no JSON: {exc}") from exc
                torn.append(number)
                continue
            if not isinstance(record, dict):
                raise DataError(f"{path}, line {number}: {record!r:.80} is no JSON object")
            yield number, record


@dataclass(slots=True)
class _Cells:
    path: Path
    prompts: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    groups: list[tuple[int, str | None]] = field(default_factory=list)
    """For each prompt the line of its first row, and the group there."""
    values: dict[tuple[int, int], tuple[int, float, float]] = field(default_factory=dict)
    """By prompt and model: line, score, cost."""

    def add(self, line: int, record: Mapping[str, Any]) -> None:
        for column in COLUMNS:
            if column not in record:
                raise self._wrong(line, column, "it is missing")
        prompt = self._text(line, "prompt", record["prompt"])
        model = self._text(line, "model", record["model"])
        group = record.get("group")
        if group is not None:
            group = self._text(line, "group", group)
        score = self._number(line, "score", record["score"])
        if not 0 <= score <= 1:
            raise self._wrong(line, "score", f"{score!r} is no score from 0 to 1")
        cost = self._number(line, "cost", record["cost"])
        if cost < 0 or math.isinf(cost):
            raise self._wrong(line, "cost", f"{cost!r} is no finite cost from 0")
        row = self.prompts.setdefault(prompt, len(self.prompts))
        if row == len(self.groups):
            self.groups.append((line, group))
        first, first_group = self.groups[row]
        if group != first_group:
            raise self._wrong(line, "group", f"{group!r}, but line {first} says {first_group!r}")
        place = row, self.models.setdefault(model, len(self.models))
        if place in self.values:
            before = self.values[place][0]
            raise self._wrong(line, "model", f"{model!r} answered this prompt in line {before} too")
        self.values[place] = line, score, cost

    def outcomes(self) -> Outcomes:
        import numpy as np

        if not self.values:
            raise DataError(f"{self.path} is empty: it has no row")
        if len(self.models) < 2:
            raise DataError(
                f"{self.path}, column 'model': {next(iter(self.models))!r} is the only model; "
                "routing needs two"
            )
        grouped = any(group is not None for _, group in self.groups)
        for line, group in self.groups:
            if grouped and group is None:
                raise self._wrong(line, "group", "it is missing, but other prompts have one")
        scores = np.full((len(self.prompts), len(self.models)), np.nan)
        costs = scores.copy()
        for place, (_, score, cost) in self.values.items():
            scores[place], costs[place] = score, cost
        return Outcomes(
            prompts=tuple(self.prompts),
            models=tuple(self.models),
            scores=scores,
            costs=costs,
            groups=tuple(group for _, group in self.groups if group is not None) or None,
        )

    def _text(self, line: int, column: str, value: Any) -> str:
        if not isinstance(value, str) or (column == "model" and not value):
            raise self._wrong(line, column, f"{value!r:.80} is no text")
        return value

    def _number(self, line: int, column: str, value: Any) -> float:
        if value in (None, "") and column == "cost":
            return math.nan
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise self._wrong(line, column, f"{value!r:.80} is no number")
        try:
            return float(value)
        except (ValueError, OverflowError) as exc:
            raise self._wrong(line, column, f"{value!r:.80} is no number") from exc

    def _wrong(self, line: int, column: str, why: str) -> DataError:
        return DataError(f"{self.path}, line {line}, column {column!r}: {why}")


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise ConfigError(f"path is {str(path)!r}; it must end in one of {', '.join(SUFFIXES)}")


def _records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    suffix = _suffix(path)
    if suffix == ".parquet":
        return _parquet(path)
    return _csv(path) if ".csv" in suffix else json_lines(path)


@contextlib.contextmanager
def _opened(path: Path, newline: str | None = None) -> Iterator[IO[str]]:
    try:
        opened = gzip.open if path.name.endswith(".gz") else open
        with opened(path, "rt", encoding="utf-8-sig", newline=newline) as file:
            yield file
    except _UNREADABLE as exc:
        raise DataError(f"{path} cannot be read: {exc}") from exc


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with _opened(path, newline="") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        for column in COLUMNS:
            if header and header.count(column) != 1:
                raise DataError(
                    f"{path}, line 1, column {column!r}: "
                    f"it stands {header.count(column)} times in the header"
                )
        line = reader.line_num + 1
        for fields in reader:
            if fields and len(fields) != len(header):
                raise DataError(
                    f"{path}, line {line}: {len(fields)} fields under {len(header)} columns"
                )
            if fields:
                yield line, dict(zip(header, fields, strict=True))
            line = reader.line_num + 1


def _parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    arrow, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    row = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for record in batch.to_pylist():
                    row += 1
                    yield row, record
    except (OSError, arrow.ArrowException) as exc:
        raise DataError(f"{path} cannot be read: {exc}") from exc


def _pyarrow(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise ConfigError("Parquet files need pyarrow: pip install 'motet[routing]'") from exc


def _long(outcomes: Outcomes) -> list[dict[str, Any]]:
    import numpy as np

    scored = ~np.isnan(outcomes.scores)
    if len(outcomes.models) < 2:
        raise DataError(f"{outcomes.models[0]!r} is the only model; a file of outcomes needs two")
    for column in np.flatnonzero(~scored.any(axis=0)):
        raise DataError(f"model {outcomes.models[column]!r} has no score")
    seen: set[str] = set()
    records = []
    for row, prompt in enumerate(outcomes.prompts):
        if prompt in seen:
            raise DataError(
                f"prompt {prompt[:80]!r} stands in two rows; a file tells them not apart"
            )
        seen.add(prompt)
        if not scored[row].any():
            raise DataError(f"prompt {prompt[:80]!r} (row {row}) has no score")
        for column in np.flatnonzero(scored[row]):
            cost = float(outcomes.costs[row, column])
            records.append(
                {
                    "prompt": prompt,
                    "model": outcomes.models[column],
                    "score": float(outcomes.scores[row, column]),
                    "cost": None if math.isnan(cost) else cost,
                }
                | ({} if outcomes.groups is None else {"group": outcomes.groups[row]})
            )
    return records


def _as_json_lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _as_csv(columns: tuple[str, ...], records: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()

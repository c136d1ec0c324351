"""Rows of `motet map`: read one by one, and written in order."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from motet.cli.failures import FAILED, CommandError
from motet.cli.inputs import Input
from motet.cli.locks import lock
from motet.cli.options import positional_input
from motet.cli.terminal import as_json


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the input."""

    number: int
    """Of its line, from 1."""
    inputs: dict[str, Any] | None
    """JSON values by name; None where the line is no row."""
    error: str | None = None
    id: Any = None
    """What the row calls itself, where the program has no input `id`."""


def read_rows(source: BinaryIO, inputs: list[Input], common: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of `source`; `common` holds inputs that a row need not give."""
    names = {i.name for i in inputs}
    first = positional_input(inputs)
    for number, line in enumerate(source, start=1):
        if line.strip():
            yield _read_row(number, line, names, first, common)


def _read_row(
    number: int, line: bytes, names: set[str], first: Input | None, common: dict[str, Any]
) -> Row:
    try:
        value = json.loads(line)
    except ValueError as exc:
        return Row(number, None, f"malformed JSON: {exc}")
    if isinstance(value, str) and first is not None:
        value = {first.name: value}
    if not isinstance(value, dict):
        return Row(number, None, "a row is a JSON object of inputs, or a text for the first input")
    row_id = value.pop("id", None) if "id" not in names else None
    return Row(number, {**common, **value}, None, row_id)


@contextlib.contextmanager
def opened_input(path: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """Yield the input and the number of its lines, where it can be counted."""
    if path == "-":
        yield sys.stdin.buffer, None
        return
    try:
        with open(path, "rb") as source:  # noqa: PTH123
            total = None
            if Path(path).is_file():
                total = sum(1 for line in source if line.strip())
                source.seek(0)
            yield source, total
    except OSError as exc:
        if exc.filename != path:
            raise
        raise CommandError(f"{path} cannot be read: {exc.strerror}") from None


class Output:
    """Result lines in the order of the rows. Opening an earlier output goes on behind its end."""

    def __init__(self, path: str | None) -> None:
        """Open `path`, or stdout where None.

        Raises:
            CommandError: It is in use, cannot be written, or is no output of `motet map`.
        """
        self.path = path
        self.last = 0
        """Number of the last row that was written."""
        self.num_done = 0
        self.num_failed = 0
        self._descriptor = 1
        if path is None:
            return
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise CommandError(f"-o {path} cannot be written: {exc.strerror}") from None
        try:
            self._lock()
            self._repair()
        except BaseException:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        if self.path is not None:
            os.close(self._descriptor)

    def clear(self) -> None:
        """Forget what was written."""
        os.truncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.last = self.num_done = self.num_failed = 0

    def failed_rows(self) -> set[int]:
        """Numbers of the rows that failed."""
        return {entry["row"] for entry, _ in self._lines() if "error" in entry}

    def replace(self, other: Output) -> None:
        """Put the lines of `other` in the places of those with their numbers; all, or none.

        Raises:
            CommandError: There is no room.
        """
        assert self.path is not None
        newer = {entry["row"]: line for entry, line in other._lines()}
        path = Path(self.path)
        scratch = path.with_name(path.name + ".new")
        try:
            with scratch.open("wb") as target:
                for entry, line in self._lines():
                    target.write(newer.get(entry["row"], line))
            shutil.copymode(path, scratch)
            os.replace(scratch, path)  # noqa: PTH105
        except OSError as exc:
            with contextlib.suppress(OSError):
                scratch.unlink()
            raise CommandError(
                f"{path} cannot be written: {exc.strerror}",
                "make room and start the same command again: it goes on",
                code=FAILED,
            ) from exc

    def _lines(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        with Path(self.path or os.devnull).open("rb") as kept:
            for line in kept:
                entry = _entry(line)
                if entry is not None:
                    yield entry, line

    def _lock(self) -> None:
        lock(self._descriptor, f"another `motet map` is writing {self.path}")

    def _repair(self) -> None:
        """Count what is there, and cut off a half-written last line."""
        end = 0
        with open(self._descriptor, "rb", closefd=False) as kept:
            for line in kept:
                entry = _entry(line)
                if entry is None:
                    if not line.endswith(b"\n") and (end or line[:8] == b'{"row": '[: len(line)]):
                        break
                    raise CommandError(
                        f"{self.path} is no output of `motet map` (byte {end})",
                        "name another file by -o, or remove this one",
                    )
                end += len(line)
                self.last = entry["row"]
                self.num_done += 1
                self.num_failed += "error" in entry
        os.truncate(self._descriptor, end)
        os.lseek(self._descriptor, end, os.SEEK_SET)

    def write(self, row: Row, value: Any, error: dict[str, Any] | None) -> None:
        """Write a row's line.

        Raises:
            OSError: There is no room; what was written of the line is cut off next time.
        """
        entry: dict[str, Any] = {"row": row.number}
        if row.id is not None:
            entry["id"] = row.id
        if error is not None:
            entry["error"] = error
            self.num_failed += 1
        else:
            entry["value"] = value
        data = as_json(entry).encode() + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]
        self.last = row.number
        self.num_done += 1


def _entry(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if isinstance(entry, dict) and type(entry.get("row")) is int:
        return entry
    return None

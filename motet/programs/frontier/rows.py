"""Lines of a file of JSON objects, plain or packed."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from motet.errors import ConfigError


class BadRowError(ValueError):
    """A line of a task's file is none of its rows."""


def read_rows(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that are not empty, `.gz` or plain, each with its number from 1.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        data = Path(path).read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror or exc}") from None
    except (EOFError, zlib.error, ValueError, MemoryError) as exc:  # no UTF-8; NUL in a path
        raise ConfigError(f"{path} cannot be read: {exc}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def read_row(line: str) -> dict[str, Any]:
    """Return the JSON object that a line holds.

    Raises:
        BadRowError: It holds none.
    """
    try:
        row = json.loads(line)
    except RecursionError:
        raise BadRowError("malformed JSON: nested too deep") from None
    except ValueError as exc:
        raise BadRowError(f"malformed JSON: {exc}") from None
    if not isinstance(row, dict):
        raise BadRowError("a row is a JSON object")
    return row


def id_of(row: Mapping[str, Any], default: str) -> str:
    """Return a row's id; the default where it has none, or null."""
    given = row.get("id")
    return default if given is None else str(given)


def cut(value: Any) -> str:
    """Return a value as a message shows it: the beginning of a long one."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."

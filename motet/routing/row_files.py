"""Rows to train a model on, as JSON lines."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from motet.errors import DataError


def write_json_lines(rows: Iterable[Mapping[str, Any]], path: str | Path) -> int:
    """Write one object a line and return their number; an older file is replaced whole.

    Raises:
        DataError: There is no row, one is no JSON, or the file cannot be written.
    """
    path = Path(path)
    scratch = path.with_name(f".{path.name}.part")
    count = 0
    try:
        with scratch.open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                # ASCII, so that lone surrogates can be written.
                file.write(json.dumps(row, allow_nan=False) + "\n")
                count += 1
        if not count:
            raise DataError(f"there is no row to write to {path}")
        scratch.replace(path)
    except (OSError, TypeError, ValueError) as exc:
        raise DataError(f"{path} cannot be written: {exc}") from exc
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink()
    return count

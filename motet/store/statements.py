"""SQL over many rows at once.

Each step of SQLite gives up Python's global lock and waits for it again, up to 5 ms while an event
loop is busy. So rows go in a few wide statements, not one statement a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")

_SIZES = (256, 64, 16, 4, 1)
"""Few sizes, so that drivers keep their prepared statements."""


def split(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut `items` into pieces of the sizes that have a statement."""
    at = 0
    for size in _SIZES:
        while len(items) - at >= size:
            yield items[at : at + size]
            at += size


@dataclass(frozen=True, slots=True)
class Insert:
    """Insert rows; on a conflict keep the old row, or take the new one's columns."""

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    is_updated: bool = False

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write `rows`, whose keys must differ from each other."""
        mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        for piece in split(rows):
            flat = tuple([value for row in piece for value in row])
            connection.exec_driver_sql(_insert_sql(self, len(piece), mark), flat)


@lru_cache(maxsize=128)
def _insert_sql(insert: Insert, size: int, mark: str) -> str:
    row = f"({', '.join([mark] * len(insert.columns))})"
    changed = [f"{name} = excluded.{name}" for name in insert.columns if name not in insert.key]
    action = f"UPDATE SET {', '.join(changed)}" if insert.is_updated else "NOTHING"
    return (
        f"INSERT INTO {insert.table} ({', '.join(insert.columns)}) "  # noqa: S608 - names of ours; values are bound
        f"VALUES {', '.join([row] * size)} ON CONFLICT ({', '.join(insert.key)}) DO {action}"
    )


def select_in(connection: Connection, sql: str, keys: Sequence[Any]) -> Iterator[Any]:
    """Run `sql`, whose last words are a column, with `IN` all of `keys`."""
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    for piece in split(keys):
        marks = ", ".join([mark] * len(piece))
        yield from connection.exec_driver_sql(f"{sql} IN ({marks})", tuple(piece))

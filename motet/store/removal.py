"""Removes runs and cached requests, and the artifacts that nobody uses any more."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, delete, select, text, union

from motet.store.rows import clean_text
from motet.store.tables import ARTIFACTS, CACHE, CALLS, RUN_ARTIFACTS, RUNS


def remove_run(connection: Connection, run_id: str) -> bool:
    """Remove a run with its calls; the cache keeps its artifacts. Return whether it was there."""
    _lock(connection)
    run = connection.execute(select(RUNS.c.id).where(RUNS.c.run_id == clean_text(run_id))).scalar()
    if run is None:
        return False
    queries = [
        select(CALLS.c.value_digest).where(CALLS.c.run == run),
        select(CALLS.c.request_digest).where(CALLS.c.run == run),
        select(RUN_ARTIFACTS.c.digest).where(RUN_ARTIFACTS.c.run == run),
        select(RUNS.c.value_digest).where(RUNS.c.id == run),
    ]
    used = _digests(connection, queries)
    connection.execute(delete(RUN_ARTIFACTS).where(RUN_ARTIFACTS.c.run == run))
    connection.execute(delete(CALLS).where(CALLS.c.run == run))
    connection.execute(delete(RUNS).where(RUNS.c.id == run))
    _drop_unused(connection, used)
    return True


def clear_cache(connection: Connection, older_than_s: float) -> int:
    """Remove requests cached longer ago than `older_than_s`; return how many there were."""
    _lock(connection)
    old: ColumnElement[bool] = CACHE.c.created_at <= time.time() - older_than_s
    columns = (CACHE.c.request_digest, CACHE.c.value_digest)
    used = _digests(connection, [select(column).where(old) for column in columns])
    count = connection.execute(delete(CACHE).where(old)).rowcount
    _drop_unused(connection, used)
    return count


def give_back_space(connection: Connection) -> None:
    """Shrink an SQLite file by the pages that removal has freed."""
    if connection.dialect.name == "sqlite":
        raw: Any = connection.connection.driver_connection
        raw.executescript("PRAGMA incremental_vacuum")  # `execute` would free one page only


def _lock(connection: Connection) -> None:
    # Without it another process could count on an artifact that is about to go. SQLite has one
    # writer anyway. Writers take these tables in the same order.
    if connection.dialect.name == "postgresql":
        tables = f"{ARTIFACTS.name}, {CALLS.name}, {CACHE.name}"
        connection.execute(text(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"))


def _digests(connection: Connection, queries: list[Select[Any]]) -> list[bytes]:
    found: set[bytes | None] = set(connection.execute(union(*queries)).scalars())
    return sorted(digest for digest in found if digest is not None)


def _drop_unused(connection: Connection, digests: list[bytes]) -> None:
    columns = (
        CALLS.c.value_digest,
        CALLS.c.request_digest,
        RUNS.c.value_digest,
        RUN_ARTIFACTS.c.digest,
        CACHE.c.value_digest,
        CACHE.c.request_digest,
    )
    used = union(*[select(column).where(column.is_not(None)) for column in columns])
    kept = set(connection.execute(used).scalars()) if digests else set()
    gone = [{"key": digest} for digest in digests if digest not in kept]
    if gone:
        connection.execute(delete(ARTIFACTS).where(ARTIFACTS.c.digest == bindparam("key")), gone)

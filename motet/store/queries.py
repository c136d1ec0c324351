"""What can be read from a store, over an open transaction."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, func, select, text

from motet.engine import Usage
from motet.errors import StoreError
from motet.store.records import CallRecord, RunRecord, StoreSize
from motet.store.rows import (
    clean_text,
    pack_digest,
    row_to_call,
    row_to_run,
    row_to_usage,
    unpack_artifact,
)
from motet.store.statements import select_in
from motet.store.tables import ARTIFACTS, CACHE, CALLS, METADATA, RUNS

_FIND_ARTIFACTS = "SELECT digest, encoding, data FROM motet_artifacts WHERE digest"
_FIND_CACHED = (
    "SELECT c.request_digest, a.encoding, a.data,"
    " c.prompt_tokens, c.completion_tokens, c.cached_tokens, c.model_calls"
    " FROM motet_cache c JOIN motet_artifacts a ON a.digest = c.value_digest"
    " WHERE c.request_digest"
)


def find_cached(connection: Connection, keys: Iterable[bytes]) -> dict[bytes, tuple[bytes, Usage]]:
    """Return the value and usage of each request of `keys` that the cache can answer."""
    rows = select_in(connection, _FIND_CACHED, sorted(set(keys)))
    return {
        bytes(row.request_digest): (unpack_artifact(row.encoding, row.data), row_to_usage(row))
        for row in rows
    }


def find_artifacts(connection: Connection, digests: Iterable[str]) -> dict[str, bytes]:
    """Return the artifacts of `digests`.

    Raises:
        StoreError: One is not there.
    """
    wanted = {pack_digest(text): text for text in digests}
    rows = select_in(connection, _FIND_ARTIFACTS, sorted(wanted))
    found = {wanted[bytes(row.digest)]: unpack_artifact(row.encoding, row.data) for row in rows}
    if len(found) < len(wanted):
        absent = sorted(set(wanted.values()) - set(found))
        raise StoreError(f"no artifact {absent[0]} in the store ({len(absent)} missing)")
    return found


def load_run(connection: Connection, run_id: str) -> RunRecord | None:
    row = connection.execute(select(RUNS).where(RUNS.c.run_id == clean_text(run_id))).first()
    return None if row is None else row_to_run(row)


def load_calls(connection: Connection, run_id: str) -> list[CallRecord]:
    """Return the calls of a run in the order in which they were first committed."""
    query = (
        select(CALLS)
        .join(RUNS, RUNS.c.id == CALLS.c.run)
        .where(RUNS.c.run_id == clean_text(run_id))
        .order_by(CALLS.c.id)
    )
    return [row_to_call(row, run_id) for row in connection.execute(query)]


def list_runs(
    connection: Connection, limit: int, program: str | None, status: str | None
) -> list[RunRecord]:
    query = select(RUNS).order_by(RUNS.c.created_at.desc(), RUNS.c.id.desc()).limit(limit)
    if program is not None:
        query = query.where(RUNS.c.program == clean_text(program))
    if status is not None:
        query = query.where(RUNS.c.status == clean_text(status))
    return [row_to_run(row) for row in connection.execute(query)]


def find_run(connection: Connection, prefix: str) -> RunRecord:
    """Return the run whose id is `prefix`, or the only one whose id begins with it.

    Raises:
        StoreError: There is none, or there are several.
    """
    exact = load_run(connection, prefix)
    if exact is not None:
        return exact
    start = func.substr(RUNS.c.run_id, 1, len(prefix))
    matches = select(RUNS).where(start == clean_text(prefix)).order_by(RUNS.c.run_id).limit(6)
    rows = connection.execute(matches).all()
    if len(rows) == 1:
        return row_to_run(rows[0])
    if rows:
        names = ", ".join(row.run_id for row in rows[:5]) + (", …" if len(rows) > 5 else "")
        raise StoreError(f"several runs begin with {prefix!r}: {names}; give more of the id")
    newest = [run.run_id for run in list_runs(connection, 3, None, None)]
    known = f"the newest are {', '.join(newest)}" if newest else "the store holds no runs"
    raise StoreError(f"no run begins with {prefix!r}; {known}")


def measure_size(connection: Connection) -> StoreSize:
    def count(name: str) -> int:
        return connection.execute(
            select(func.count()).select_from(METADATA.tables[name])
        ).scalar_one()

    if connection.dialect.name == "sqlite":
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        size = pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    else:
        query = text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
        size = sum(connection.execute(query, {"name": n}).scalar_one() for n in METADATA.tables)
    return StoreSize(
        bytes=int(size),
        runs=count(RUNS.name),
        calls=count(CALLS.name),
        artifacts=count(ARTIFACTS.name),
        cached=count(CACHE.name),
    )

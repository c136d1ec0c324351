"""Engines and connections as the store needs them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from motet.errors import StoreError
from motet.store.failures import to_store_error

_BUSY_S = 30.0


def make_engine(url: URL) -> Engine:
    """Return an engine without a pool: who connects owns the connection."""
    if url.get_backend_name() != "sqlite":
        options: dict[str, Any] = {"application_name": "motet", "connect_timeout": 10}
        options = {name: v for name, v in options.items() if name not in url.query}
        try:
            return create_engine(
                url, poolclass=NullPool, hide_parameters=True, connect_args=options
            )
        except ImportError as exc:
            raise StoreError(
                f"PostgreSQL needs psycopg ({exc}); run: pip install 'motet[postgres]'"
            ) from exc
    engine = create_engine(
        url, poolclass=NullPool, hide_parameters=True, connect_args={"timeout": _BUSY_S}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours: the driver would begin too late
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heeded while the file is empty
    _enter_wal(connection)
    # Under WAL, NORMAL keeps every committed transaction through a kill of the process and never
    # corrupts the file. Only a power failure can lose the last commits.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")


def _enter_wal(connection: Any) -> None:
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except connection.OperationalError as exc:
            # SQLite does not call its busy handler while the mode changes.
            if "locked" not in str(exc) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    is_write = connection.get_execution_options().get("motet_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


@contextlib.contextmanager
def transaction(connection: Connection, *, is_write: bool) -> Iterator[Connection]:
    """Run the block in one transaction; leave none open however it ends."""
    connection.execution_options(motet_write=is_write)
    with connection.begin():
        yield connection


def connect(engine: Engine) -> Connection:
    """Open a connection.

    Raises:
        StoreError: The file is no database, or the server cannot be reached.
    """
    try:
        return engine.connect()
    except Exception as exc:
        failure = to_store_error(exc, engine.url)
    raise failure  # here, where it has no context: psycopg's errors hold the password

"""The store: the journal of runs and the cache of requests in one database."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from sqlalchemy import URL, Connection

from motet.engine import Usage
from motet.errors import StoreError
from motet.store import leases, queries, removal
from motet.store.connecting import make_engine
from motet.store.failures import describe_url
from motet.store.locations import read_location
from motet.store.records import CallRecord, RunRecord, StoreSize
from motet.store.writer import Job, Lookup, Task, Write, Writer

T = TypeVar("T")


class Store:
    """Journal and cache. Open one with `Store.open`; any thread and event loop may use it."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine = make_engine(url)
        self._writer = Writer(self._engine)
        self._held: set[str] = set()

    @classmethod
    def open(cls, where: str | os.PathLike[str]) -> Store:
        """Open a store; make or migrate its tables.

        Args:
            where: A path, `:memory:`, `sqlite:///path` or `postgresql://user@host/name`.

        Raises:
            StoreError: It cannot be opened; the message says why, and what to do.
        """
        store = cls(read_location(where))
        store._writer.start()
        return store

    @property
    def url(self) -> str:
        """Where the store is, so that another process can open it: **with** its password."""
        scheme = "sqlite" if self._is_sqlite else "postgresql"
        return self._url.set(drivername=scheme).render_as_string(hide_password=False)

    def __repr__(self) -> str:
        return f"Store({describe_url(self._url)!r})"

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit what was appended, then let go of the database."""
        self._writer.close()

    def append(
        self,
        record: CallRecord,
        artifacts: Mapping[str, bytes],
        *,
        cache: tuple[str, str, Usage] | None = None,
        on_committed: Callable[[StoreError | None], None],
    ) -> None:
        """Journal a call with its artifacts, all or nothing, without waiting.

        A call that the run already holds is replaced.

        Args:
            artifacts: Bytes by their digest.
            cache: Digests of a request and of its value, and what it used, for other runs.
            on_committed: Called on this event loop with None once it is safe from a kill of the
                process, or with the error that kept it out.
        """
        loop = asyncio.get_running_loop()
        self._writer.submit(
            Write(loop, lambda _, error: on_committed(error), record, artifacts, cache)
        )

    def save_run(
        self,
        record: RunRecord,
        artifacts: Mapping[str, bytes] = {},
    ) -> Awaitable[None]:
        """Insert or update a run; it is on its way even before it is awaited."""
        return self._ask(lambda loop, notify: Write(loop, notify, record, artifacts))

    async def load_run(self, run_id: str) -> RunRecord | None:
        return await self._read(lambda connection: queries.load_run(connection, run_id))

    async def load_calls(self, run_id: str) -> list[CallRecord]:
        """Return the calls of a run in the order in which they were first committed."""
        return await self._read(lambda connection: queries.load_calls(connection, run_id))

    async def artifact(self, digest: str) -> bytes:
        """Return one artifact; a `StoreError` where it is not there."""
        return (await self.artifacts([digest]))[digest]

    async def artifacts(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return artifacts by their digests; a `StoreError` where one is not there."""
        wanted = list(digests)
        return await self._read(lambda connection: queries.find_artifacts(connection, wanted))

    async def cached(self, request_digest: str) -> tuple[bytes, Usage] | None:
        """Return the value that an earlier run got for a request, and what it had used."""
        found = await self._ask(lambda loop, notify: Lookup(loop, notify, request_digest))
        return cast("tuple[bytes, Usage] | None", found)

    async def list_runs(
        self, *, limit: int = 50, program: str | None = None, status: str | None = None
    ) -> list[RunRecord]:
        """Return runs, newest first."""
        return await self._read(
            lambda connection: queries.list_runs(connection, limit, program, status)
        )

    async def find_run(self, prefix: str) -> RunRecord:
        """Return the run whose id begins with `prefix`; a `StoreError` for none or several."""
        return await self._read(lambda connection: queries.find_run(connection, prefix))

    async def remove_run(self, run_id: str) -> None:
        """Remove a run, its calls, and the artifacts that nobody else uses.

        Raises:
            StoreError: There is no such run, or it is being executed.
        """
        with self.lease(run_id):
            was_there = await self._remove(lambda c: removal.remove_run(c, run_id))
        if not was_there:
            raise StoreError(f"no run {run_id} in store {describe_url(self._url)}")

    async def clear_cache(self, *, older_than_s: float = 0.0) -> int:
        """Forget requests cached longer ago than `older_than_s`; return how many."""
        return await self._remove(lambda c: removal.clear_cache(c, older_than_s))

    async def size(self) -> StoreSize:
        return await self._read(queries.measure_size)

    def lease(self, run_id: str) -> AbstractContextManager[None]:
        """Keep every other process from executing a run, until the block or the process ends.

        Raises:
            StoreError: On entering, where another holds it.
        """
        if not self._is_sqlite:
            return leases.lease_by_server(self._engine, run_id)
        if self._url.database is None:
            return leases.lease_in_memory(self._held, run_id)
        return leases.lease_by_file(self._url.database, run_id)

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    def _ask(
        self, make_job: Callable[[asyncio.AbstractEventLoop, Callable[..., None]], Job]
    ) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def notify(result: Any, error: StoreError | None) -> None:
            if future.done():
                return  # who asked was cancelled
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._writer.submit(make_job(loop, notify))
        return future

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return cast("T", await self._ask(lambda loop, notify: Task(loop, notify, work)))

    async def _remove(self, work: Callable[[Connection], T]) -> T:
        removed = await self._ask(lambda loop, notify: Task(loop, notify, work, is_write=True))
        await self._ask(
            lambda loop, notify: Task(loop, notify, removal.give_back_space, is_write=True)
        )
        return cast("T", removed)

"""The thread that owns a store's connection and commits in groups."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, select

from motet.engine import Usage
from motet.errors import StoreError
from motet.store import queries, rows
from motet.store.connecting import connect, transaction
from motet.store.failures import describe_url, is_about_a_row, is_lost, to_store_error
from motet.store.records import CallRecord, RunRecord
from motet.store.schema import prepare_schema
from motet.store.statements import Insert
from motet.store.tables import RUNS

_log = logging.getLogger(__name__)

_MAX_BATCH = 2048

_RUN = Insert("motet_runs", rows.RUN_COLUMNS, ("run_id",), is_updated=True)
_RUN_ARTIFACT = Insert("motet_run_artifacts", ("run", "digest"), ("run", "digest"))
_ARTIFACT = Insert("motet_artifacts", ("digest", "encoding", "data"), ("digest",))
_CALL = Insert("motet_calls", rows.CALL_COLUMNS, ("run", "call_id"), is_updated=True)
_CACHE = Insert("motet_cache", rows.CACHE_COLUMNS, ("request_digest",), is_updated=True)

Notify = Callable[[Any, StoreError | None], None]
"""Called on the loop of who asked, with the result or what went wrong."""


@dataclass(slots=True)
class Job:
    """Something for the thread to do, and whom to tell."""

    loop: asyncio.AbstractEventLoop
    notify: Notify


@dataclass(slots=True)
class Write(Job):
    """A run or a call to commit together with its artifacts."""

    record: RunRecord | CallRecord
    artifacts: Mapping[str, bytes]
    cache: tuple[str, str, Usage] | None = None


@dataclass(slots=True)
class Lookup(Job):
    """A question to the cache; those of one batch are one query."""

    digest: str


@dataclass(slots=True)
class Task(Job):
    """Any other work in a transaction of its own."""

    work: Callable[[Connection], Any]
    is_write: bool = False


@dataclass(slots=True)
class _Outbox:
    """Results to hand to event loops, each of which is woken once."""

    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Notify, Any, StoreError | None]]] = field(
        default_factory=dict
    )

    def put(self, job: Job, result: Any, error: StoreError | None) -> None:
        self.by_loop.setdefault(job.loop, []).append((job.notify, result, error))

    def send(self) -> None:
        for loop, results in self.by_loop.items():
            try:
                loop.call_soon_threadsafe(_deliver, loop, results)
            except RuntimeError:
                _log.debug("an event loop closed before %d answers of the store", len(results))
        self.by_loop.clear()


def _deliver(
    loop: asyncio.AbstractEventLoop, results: Sequence[tuple[Notify, Any, StoreError | None]]
) -> None:
    for notify, result, error in results:
        try:
            notify(result, error)
        except Exception as exc:  # one caller's mistake must not silence the others
            loop.call_exception_handler({"message": "a store's callback raised", "exception": exc})


class Writer:
    """Serves jobs in order, from one thread, over one connection.

    It takes all jobs that wait, commits their writes in one transaction, and only then answers
    them. While it commits the next batch gathers, so that batches grow with the load.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._name = describe_url(engine.url)
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_closed = False
        self._run_keys: dict[str, int] = {}
        self._failure: StoreError | None = None
        self._is_open = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="motet-store", daemon=True)

    def start(self) -> None:
        """Open the connection and prepare the tables; raise what hinders it."""
        self._thread.start()
        self._is_open.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def submit(self, job: Job) -> None:
        with self._lock:
            if self._is_closed:
                raise StoreError(f"store {self._name} is closed; open it again")
            self._queue.put(job)

    def close(self) -> None:
        """Finish what was submitted, then end the thread."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._queue.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _serve(self) -> None:
        try:
            self._connection = connect(self._engine)
            try:
                prepare_schema(self._connection)
            except BaseException:
                self._connection.close()
                raise
        except BaseException as exc:
            self._failure = to_store_error(exc, self._engine.url)
            return
        finally:
            self._is_open.set()
        try:
            while self._serve_batch():
                pass
        finally:
            self._connection.close()

    def _serve_batch(self) -> bool:
        batch = [self._queue.get()]
        try:
            while batch[-1] is not None and len(batch) < _MAX_BATCH:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        jobs = [job for job in batch if job is not None]
        outbox = _Outbox()
        try:
            self._write([job for job in jobs if isinstance(job, Write)], outbox)
            self._look_up([job for job in jobs if isinstance(job, Lookup)], outbox)
        finally:
            outbox.send()
        for job in jobs:
            if isinstance(job, Task):
                self._do(job, outbox)
                outbox.send()
        return batch[-1] is not None

    def _attempt(self, work: Callable[[Connection], Any], *, is_write: bool) -> Any:
        """Do `work` in a transaction, once more where the connection turned out to be lost."""
        if self._connection.closed:
            self._connection = self._engine.connect()
        try:
            with transaction(self._connection, is_write=is_write):
                return work(self._connection)
        except Exception as exc:
            self._run_keys.clear()
            if not is_lost(exc):
                raise
        self._connection.close()
        self._connection = self._engine.connect()
        with transaction(self._connection, is_write=is_write):
            return work(self._connection)

    def _write(self, jobs: list[Write], outbox: _Outbox) -> None:
        if not jobs:
            return
        error: StoreError | None = None
        try:
            self._attempt(lambda connection: self._insert(connection, jobs), is_write=True)
        except Exception as exc:
            if len(jobs) > 1 and is_about_a_row(exc):
                for job in jobs:
                    self._write([job], outbox)
                return
            error = to_store_error(exc, self._engine.url)
        for job in jobs:
            outbox.put(job, None, error)

    def _look_up(self, jobs: list[Lookup], outbox: _Outbox) -> None:
        keys: dict[str, bytes] = {}
        for job in jobs:
            try:
                keys[job.digest] = rows.pack_digest(job.digest)
            except StoreError as exc:
                outbox.put(job, None, exc)
        if not keys:
            return
        found: dict[bytes, tuple[bytes, Usage]] = {}
        error: StoreError | None = None
        try:
            found = self._attempt(
                lambda connection: queries.find_cached(connection, keys.values()), is_write=False
            )
        except Exception as exc:
            error = to_store_error(exc, self._engine.url)
        for job in jobs:
            if job.digest in keys:
                outbox.put(job, found.get(keys[job.digest]), error)

    def _do(self, job: Task, outbox: _Outbox) -> None:
        try:
            outbox.put(job, self._attempt(job.work, is_write=job.is_write), None)
        except Exception as exc:
            outbox.put(job, None, to_store_error(exc, self._engine.url))

    def _insert(self, connection: Connection, jobs: Sequence[Write]) -> None:
        now = time.time()
        runs: dict[str, tuple[Any, ...]] = {}
        run_artifacts: set[tuple[str, bytes]] = set()
        artifacts: dict[bytes, bytes] = {}
        cache: dict[str, tuple[Any, ...]] = {}
        calls: list[CallRecord] = []
        for job in jobs:
            record = job.record
            run_id = rows.clean_text(record.run_id)
            packed = {rows.pack_digest(digest): data for digest, data in job.artifacts.items()}
            artifacts.update(packed)
            if isinstance(record, RunRecord):
                runs[run_id] = rows.run_to_row(record)
                run_artifacts.update([(run_id, digest) for digest in packed])
            else:
                calls.append(record)
            if job.cache is not None:
                cache[job.cache[0]] = rows.cache_to_row(job.cache, now)
        # Processes that write at once take rows in one order, or PostgreSQL sees a deadlock.
        _RUN.run(connection, [runs[run_id] for run_id in sorted(runs)])
        _ARTIFACT.run(connection, [rows.pack_artifact(d, artifacts[d]) for d in sorted(artifacts)])
        links = [(self._run_key(connection, run_id), digest) for run_id, digest in run_artifacts]
        _RUN_ARTIFACT.run(connection, sorted(links))
        _CALL.run(connection, self._call_rows(connection, calls))
        _CACHE.run(connection, [cache[digest] for digest in sorted(cache)])

    def _call_rows(
        self, connection: Connection, calls: Sequence[CallRecord]
    ) -> list[tuple[Any, ...]]:
        by_key: dict[tuple[str, str], tuple[Any, ...]] = {}
        for record in calls:
            run = self._run_key(connection, record.run_id)
            by_key[record.run_id, record.call_id] = rows.call_to_row(record, run)
        return list(by_key.values())

    def _run_key(self, connection: Connection, run_id: str) -> int:
        key = self._run_keys.get(run_id)
        if key is None:
            query = select(RUNS.c.id).where(RUNS.c.run_id == rows.clean_text(run_id))
            key = connection.execute(query).scalar()
            if key is None:
                raise StoreError(f"run {run_id} is not in store {self._name}; save the run first")
            self._run_keys[run_id] = key
        return key

"""Leases: at most one living process executes a run.

The system holds them, not a table: they end with the process however it dies.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from sqlalchemy import Engine, text

from motet.errors import StoreError
from motet.store.connecting import connect

_FREED_WITHIN_S = 0.5
"""The server needs a moment to notice that a process was killed."""


def _refuse(run_id: str) -> StoreError:
    return StoreError(
        f"run {run_id} is being executed by another process; wait until it ends, or end it"
    )


@contextlib.contextmanager
def lease_in_memory(held: set[str], run_id: str) -> Iterator[None]:
    if run_id in held:
        raise _refuse(run_id)
    held.add(run_id)
    try:
        yield
    finally:
        held.discard(run_id)


def lock_path(database: str, run_id: str) -> Path:
    """Return the file whose lock is the lease of a run."""
    name = blake2b(run_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Path(f"{database}-leases") / name


@contextlib.contextmanager
def lease_by_file(database: str, run_id: str) -> Iterator[None]:
    path = lock_path(database, run_id)
    descriptor = _lock_file(path, run_id)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while locked: who waits for this file will see that it is gone
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _lock_file(path: Path, run_id: str) -> int:
    import fcntl

    while True:
        try:
            path.parent.mkdir(exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # its folder was removed just now
        except OSError as exc:
            raise StoreError(
                f"cannot lock run {run_id}: {path}: {exc.strerror}; make the folder writable"
            ) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise _refuse(run_id) from None
        except OSError as exc:
            os.close(descriptor)
            raise StoreError(f"cannot lock run {run_id}: {path}: {exc.strerror}") from exc
        os.close(descriptor)  # another holder removed the file between open and lock


@contextlib.contextmanager
def lease_by_server(engine: Engine, run_id: str) -> Iterator[None]:
    """Hold an advisory lock on a connection of its own, which ends with the process."""
    digest = blake2b(run_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    key = {"key": int.from_bytes(digest, "big", signed=True)}
    with connect(engine) as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        until = time.monotonic() + _FREED_WITHIN_S
        while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar():
            if time.monotonic() > until:
                raise _refuse(run_id)
            time.sleep(0.02)
        yield

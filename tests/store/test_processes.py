from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from motet.errors import StoreError
from motet.store import Store
from tests.store.samples import append_many, make_call, make_run

ROOT = Path(__file__).parents[2]


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


APPEND = (
    "import sys; from tests.store.samples import append_forever; "
    "append_forever(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
)


def append_and_kill(where: str, run_id: str, seen: int, lifetime_s: float) -> list[int]:
    """Return the serials that a process had acknowledged when it was killed."""
    process = start(APPEND, where, run_id, str(seen))
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first, process.communicate()[1]
    time.sleep(lifetime_s)
    process.kill()
    rest, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    lines = (first + rest).splitlines(keepends=True)
    return [int(line) for line in lines if line.endswith("\n")]


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9(where: str) -> None:
    """Killed at 20 random moments, no acknowledged call is lost and none is there by half."""
    rng = random.Random(7)
    seen = 0
    acknowledged: list[int] = []
    for _ in range(20):
        acknowledged += append_and_kill(where, "r1", seen, rng.uniform(0, 0.15))
        seen = max(acknowledged) + 1_000

    async def work() -> None:
        with Store.open(where) as store:
            calls = {call.slot: call for call in await store.load_calls("r1")}
            for serial in acknowledged:
                assert f"0/{serial}" in calls
            for slot, found in calls.items():
                record, artifacts = make_call(int(slot.partition("/")[2]))
                assert found == record
                assert await store.artifacts(artifacts) == artifacts

    asyncio.run(work())
    assert len(acknowledged) > 20


def test_two_processes_append_at_once(where: str) -> None:
    """Two processes share one store: each finds all that it was acknowledged."""
    code = """
import asyncio, sys
from motet.store import Store
from tests.store.samples import append, make_call, make_run
async def work(where, run_id):
    with Store.open(where) as store:
        await store.save_run(make_run(run_id))
        for block in range(20):
            calls = [make_call(block * 50 + i, run_id=run_id) for i in range(50)]
            shared = make_call(block, run_id="shared")[1]
            made = [append(store, record, artifacts | shared) for record, artifacts in calls]
            assert set(await asyncio.gather(*made)) == {None}
asyncio.run(work(*sys.argv[1:]))
"""
    processes = [start(code, where, run_id) for run_id in ("r1", "r2")]

    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors

    async def work() -> None:
        with Store.open(where) as store:
            for run_id in ("r1", "r2"):
                found = {call.call_id: call for call in await store.load_calls(run_id)}
                wanted = [make_call(i, run_id=run_id)[0] for i in range(1000)]
                assert found == {record.call_id: record for record in wanted}

    asyncio.run(work())


def test_five_processes_create_one_store(where: str) -> None:
    """Processes that open a fresh store at the same moment all succeed."""
    code = """
import sys, asyncio
import motet.store.store
from motet.store import Store
from tests.store.samples import make_run
print("ready", flush=True)
sys.stdin.readline()
with Store.open(sys.argv[1]) as store:
    async def work(): await store.save_run(make_run(sys.argv[2]))
    asyncio.run(work())
"""
    processes = [start(code, where, f"r{i}") for i in range(5)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors

    with Store.open(where) as store:
        assert len(asyncio.run(store.list_runs())) == 5


def test_a_lease_excludes_others(where: str) -> None:
    """A run has one executor at a time, other runs theirs; a lease can be taken again."""
    with Store.open(where) as store, Store.open(where) as other:
        with store.lease("r1"), other.lease("r2"):
            for opened in (store, other):
                with pytest.raises(StoreError, match="run r1 is being executed by another process"):
                    opened.lease("r1").__enter__()
            with pytest.raises(StoreError, match="run r1 is being executed"):
                asyncio.run(other.remove_run("r1"))
        with other.lease("r1"):
            pass


def test_kill_9_releases_a_lease(where: str) -> None:
    """The lease of a killed process is free at once."""
    process = start(APPEND, where, "r1", "0")
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    with Store.open(where) as store:
        with pytest.raises(StoreError, match="being executed"):
            store.lease("r1").__enter__()

        process.kill()
        process.communicate()

        with store.lease("r1"):
            pass


def test_a_lease_in_memory_excludes_the_same_store() -> None:
    """A store in memory keeps its leases too."""
    with Store.open(":memory:") as store:
        with store.lease("r1"), pytest.raises(StoreError, match="being executed"):
            store.lease("r1").__enter__()
        with store.lease("r1"):
            pass


def test_leases_leave_no_files(tmp_path: Path) -> None:
    """A released lease removes its file and their folder."""
    with Store.open(tmp_path / "runs.db") as store:
        with store.lease("r1"):
            assert len(list((tmp_path / "runs.db-leases").iterdir())) == 1

    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]


def _administer(where: str, *statements: str) -> None:
    """Run statements on the database `postgres` of the server."""
    url = make_url(where).set(drivername="postgresql+psycopg", database="postgres")
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.postgres
def test_a_lost_connection_is_made_anew(new_database: Callable[[], str]) -> None:
    """When the server drops the connection, the next commit and the next read reconnect."""
    where = new_database()
    name = make_url(where).database
    drop = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"

    async def work() -> None:
        with Store.open(where) as store:
            await store.save_run(make_run())
            _administer(where, drop)
            assert set(await append_many(store, 10)) == {None}
            _administer(where, drop)
            assert len(await store.load_calls("r1")) == 10

    asyncio.run(work())


@pytest.mark.postgres
def test_an_outage_is_told_and_survived(new_database: Callable[[], str]) -> None:
    """While the server refuses, callers get errors; when it is back the same store works."""
    where = new_database()
    name = make_url(where).database
    drop = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"

    async def work() -> None:
        with Store.open(where) as store:
            await store.save_run(make_run())
            _administer(where, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", drop)
            for _ in range(2):
                failures = await append_many(store, 10)
                assert all("check that the server runs" in str(failure) for failure in failures)
                with pytest.raises(StoreError, match="not currently accepting"):
                    await store.load_calls("r1")
            _administer(where, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            assert set(await append_many(store, 10)) == {None}
            assert len(await store.load_calls("r1")) == 10

    asyncio.run(work())

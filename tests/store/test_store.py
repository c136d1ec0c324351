from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from motet.digest import digest_bytes
from motet.engine import Usage
from motet.errors import StoreError
from motet.store import Store
from tests.store.samples import append, append_many, make_call, make_run, name

HOSTILE = "né 名 \N{PILE OF POO} ' \" ; -- %s ? \n\r\t \\"
UNSTORABLE = "a\x00b\ud800c"


def test_records_come_back_as_they_were(where: str) -> None:
    """Every field of a run and of a call survives, hostile texts and odd values included."""
    error: dict[str, Any] = {"type": HOSTILE, "message": UNSTORABLE, "fields": {"n": [1, None]}}
    run = make_run(
        "r" + HOSTILE,
        program=HOSTILE,
        status="failed",
        finished_at=2.25,
        root_id=name("root"),
        value_digest=name("value"),
        usage=Usage(2**40, 2, 3, 4),
        cost=1e-9,
        error=error,
        calls=7,
        manifest={UNSTORABLE: [UNSTORABLE, 1.5, None, {"x": HOSTILE}]},
    )
    plain, _ = make_call(0, run_id=run.run_id)
    hostile, _ = make_call(
        1,
        run_id=run.run_id,
        parent_id=None,
        slot=HOSTILE,
        operation=HOSTILE,
        kind=HOSTILE,
        status="failed",
        value_digest=None,
        request_digest=None,
        model=HOSTILE,
        finish_reason=None,
        error=error,
        inputs=tuple(name(i) for i in range(300)),
    )

    async def work() -> None:
        with Store.open(where) as store:
            await store.save_run(run)
            assert await append(store, plain, {}) is None
            assert await append(store, hostile, {}) is None
        with Store.open(where) as store:
            assert await store.load_run(run.run_id) == run
            assert await store.load_calls(run.run_id) == [plain, hostile]
            assert await store.load_run("other") is None
            assert await store.load_calls("other") == []

    asyncio.run(work())


def test_unstorable_characters_are_replaced(where: str) -> None:
    """NUL and lone surrogates in a name become U+FFFD in both databases."""
    record, artifacts = make_call(0, operation=UNSTORABLE, model=UNSTORABLE)

    async def work() -> None:
        with Store.open(where) as store:
            await store.save_run(make_run(program=UNSTORABLE))
            assert await append(store, record, artifacts) is None
            [found] = await store.load_calls("r1")
            run = await store.load_run("r1")
        assert run is not None
        assert {found.operation, found.model, run.program} == {"a\ufffdb\ufffdc"}

    asyncio.run(work())


@pytest.mark.parametrize(
    "data", [b"", b"\x00\xff" * 10, b"x" * 1_000_000, bytes(range(256)) * 40, b"x" * 512]
)
def test_artifacts_are_bytes(where: str, data: bytes) -> None:
    """An artifact comes back byte by byte, whether it was compressed or not."""
    digest = digest_bytes(data)

    async def work() -> None:
        with Store.open(where) as store:
            await store.save_run(make_run(), {digest: data})
            await store.save_run(make_run(), {digest: data})
            assert await store.artifact(digest) == data
            assert (await store.size()).artifacts == 1
            with pytest.raises(StoreError, match=r"no artifact [0-9a-f]{32}"):
                await store.artifact(name("absent"))

    asyncio.run(work())


def test_a_run_is_updated_in_place(where: str) -> None:
    """Saving a run again changes its record and leaves its calls."""
    done = make_run(status="finished", finished_at=9.0, calls=3)

    async def work() -> None:
        with Store.open(where) as store:
            await store.save_run(make_run())
            await append_many(store, 3)
            await store.save_run(done)
            assert await store.load_run("r1") == done
            assert len(await store.load_calls("r1")) == 3

    asyncio.run(work())


def test_a_call_is_replaced_and_a_place_is_not_shared(where: str) -> None:
    """A call appended again takes its own row; another call in its place is refused."""
    first, artifacts = make_call(0)
    again = replace(first, status="failed", value_digest=None)
    intruder = replace(first, call_id=name("intruder"))

    async def work() -> None:
        with Store.open(where) as store:
            await store.save_run(make_run())
            outcomes = await asyncio.gather(
                append(store, first, artifacts), append(store, again, {}), append(store, first, {})
            )
            assert set(outcomes) == {None}
            assert await append(store, again, {}) is None
            assert isinstance(await append(store, intruder, {}), StoreError)
            assert await store.load_calls("r1") == [again]

    asyncio.run(work())


def test_a_bad_row_fails_alone(where: str) -> None:
    """Of one batch, only the rows that cannot be stored fail, each with its reason."""
    good = [make_call(serial) for serial in range(20)]
    no_run = make_call(99, run_id="nobody")
    no_digest = make_call(98, call_id="not hexadecimal")
    too_big = make_call(97, usage=Usage(2**70))

    async def work() -> None:
        with Store.open(where) as store:
            await store.save_run(make_run())
            mixed = [*good[:10], no_run, no_digest, too_big, *good[10:]]
            outcomes = await asyncio.gather(*[append(store, *call) for call in mixed])
            kept = await store.load_calls("r1")
        failures = [str(outcome) for outcome in outcomes if outcome is not None]
        assert len(failures) == 3
        assert "nobody is not in store" in failures[0]
        assert "32 hexadecimal characters" in failures[1]
        assert kept == [record for record, _ in good]

    asyncio.run(work())


def test_committed_means_visible_to_others(where: str) -> None:
    """Another process's store sees a call, with its artifacts, once `on_committed` is called."""

    async def work() -> None:
        with Store.open(where) as writing, Store.open(where) as reading:
            await writing.save_run(make_run())
            for serial in range(30):
                record, artifacts = make_call(serial)
                assert await append(writing, record, artifacts) is None
                assert (await reading.load_calls("r1"))[-1] == record
                assert await reading.artifacts(artifacts) == artifacts

    asyncio.run(work())


def test_the_thread_commits_in_groups() -> None:
    """Calls appended together are told of their commit together, in the order of appending."""
    told: list[int] = []

    async def work() -> None:
        with Store.open(":memory:") as store:
            await store.save_run(make_run())
            done = asyncio.Event()

            def on_committed(serial: int, failure: StoreError | None) -> None:
                told.append(serial)
                if len(told) == 500:
                    done.set()

            for serial in range(500):
                call, artifacts = make_call(serial)
                store.append(call, artifacts, on_committed=partial(on_committed, serial))
            assert told == []
            await done.wait()
            assert told == list(range(500))

    asyncio.run(work())


def test_a_callback_that_raises_harms_nobody(where: str) -> None:
    """An exception of one `on_committed` goes to its loop's handler; the others are told."""
    handled: list[dict[str, Any]] = []

    def fail(failure: StoreError | None) -> None:
        raise ValueError("mine")

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, it: handled.append(it))
        with Store.open(where) as store:
            await store.save_run(make_run())
            store.append(*make_call(0), on_committed=fail)
            assert await append(store, *make_call(1)) is None

    asyncio.run(work())

    assert [str(it["exception"]) for it in handled] == ["mine"]


def test_the_cache_answers_other_runs(where: str) -> None:
    """A cached request gives its value and usage; the newest value of a request counts."""
    usage = Usage(5, 6, 1, 1)

    async def work() -> None:
        with Store.open(where) as store:
            await store.save_run(make_run())
            for serial in range(2):
                record, artifacts = make_call(serial)
                entry = (name("request"), record.value_digest or "", usage)
                assert await append(store, record, artifacts, cache=entry) is None
            wanted = [name("request"), name("other")] * 3
            found = await asyncio.gather(*[store.cached(digest) for digest in wanted])
        value = b"r1 value 1 ".ljust(100, b"v")
        assert found == [(value, usage), None] * 3

    asyncio.run(work())


def test_runs_are_listed_newest_first(where: str) -> None:
    """Listing orders by time, stops at the limit, and can keep one program or status."""

    async def work() -> None:
        with Store.open(where) as store:
            for i in range(6):
                status = "failed" if i % 2 else "finished"
                program = "moa" if i < 4 else "search"
                run = make_run(f"r{i}", created_at=float(i), status=status, program=program)
                await store.save_run(run)

            async def ids(**options: Any) -> str:
                return " ".join([run.run_id for run in await store.list_runs(**options)])

            assert await ids() == "r5 r4 r3 r2 r1 r0"
            assert await ids(limit=2) == "r5 r4"
            assert await ids(program="moa") == "r3 r2 r1 r0"
            assert await ids(status="failed", program="moa") == "r3 r1"

    asyncio.run(work())


def test_a_prefix_finds_one_run_or_says_which(where: str) -> None:
    """A unique prefix or a whole id finds its run; otherwise the error names candidates."""

    async def work() -> None:
        with Store.open(where) as store:
            with pytest.raises(StoreError, match="holds no runs"):
                await store.find_run("a")
            for run_id in ("abc", "abcd", "a%c", "xyz"):
                await store.save_run(make_run(run_id))
            assert (await store.find_run("abc")).run_id == "abc"
            assert (await store.find_run("x")).run_id == "xyz"
            assert (await store.find_run("a%")).run_id == "a%c"
            with pytest.raises(StoreError, match="several .*: abc, abcd; give more"):
                await store.find_run("ab")
            with pytest.raises(StoreError, match="no run begins with 'q'; the newest are"):
                await store.find_run("q")

    asyncio.run(work())


def test_removing_a_run_keeps_what_others_use(where: str) -> None:
    """A removed run takes its own artifacts along, not those of other runs or of the cache."""
    shared, cached, inputs = b"shared", b"cached", b"inputs"

    async def work() -> None:
        with Store.open(where) as store:
            await store.save_run(make_run("r1"), {digest_bytes(inputs): inputs})
            await store.save_run(make_run("r2"))
            await append(store, *make_call(0, run_id="r1", value=shared))
            await append(store, *make_call(0, run_id="r2", value=shared))
            record, artifacts = make_call(1, run_id="r1", value=cached)
            request = record.request_digest or ""
            entry = (request, digest_bytes(cached), Usage())
            await append(store, record, artifacts, cache=entry)

            await store.remove_run("r1")

            size = await store.size()
            assert (size.runs, size.calls, size.artifacts, size.cached) == (1, 1, 4, 1)
            assert await store.load_run("r1") is None
            assert await store.artifact(digest_bytes(shared)) == shared
            assert await store.cached(request) == (cached, Usage())
            with pytest.raises(StoreError, match="no artifact"):
                await store.artifact(digest_bytes(inputs))
            with pytest.raises(StoreError, match="no run r1 in store"):
                await store.remove_run("r1")
            assert isinstance(await append(store, *make_call(5, run_id="r1")), StoreError)

            assert await store.clear_cache(older_than_s=60) == 0
            assert await store.clear_cache() == 1
            assert (await store.size()).artifacts == 2

    asyncio.run(work())


def test_a_removed_run_gives_its_space_back(tmp_path: Any) -> None:
    """The SQLite file shrinks when runs are removed."""

    async def work() -> None:
        with Store.open(tmp_path / "runs.db") as store:
            empty = (await store.size()).bytes
            await store.save_run(make_run())
            await append_many(store, 2000)
            assert (await store.size()).bytes > 10 * empty
            await store.remove_run("r1")
            assert (await store.size()).bytes < 2 * empty

    asyncio.run(work())


def test_bytes_a_call_stay_bounded(where: str) -> None:
    """10,000 calls take within 10 % of the bytes a call that 1,000 take."""
    taken: dict[int, float] = {}

    async def work() -> None:
        with Store.open(where) as store:
            before = (await store.size()).bytes
            for total in (1_000, 10_000):
                run_id = f"run of {total}"
                await store.save_run(make_run(run_id))
                outcomes = await append_many(store, total, run_id=run_id)
                assert set(outcomes) == {None}
                after = (await store.size()).bytes
                taken[total] = (after - before) / total
                before = after

    asyncio.run(work())

    print(f"bytes a call on {where.partition(':')[0]}: {taken}")
    assert taken[10_000] < 1.1 * taken[1_000]
    assert taken[10_000] < 1_500


def test_several_loops_share_a_store(where: str) -> None:
    """Threads with event loops of their own use one store at once."""

    def work(run_id: str) -> None:
        async def body() -> None:
            await store.save_run(make_run(run_id))
            assert set(await append_many(store, 200, run_id=run_id)) == {None}
            assert len(await store.load_calls(run_id)) == 200
            found.append(run_id)

        asyncio.run(body())

    found: list[str] = []
    with Store.open(where) as store:
        threads = [threading.Thread(target=work, args=(f"r{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(found) == ["r0", "r1", "r2", "r3"]


def test_closing_flushes_and_may_be_repeated(where: str) -> None:
    """Closing commits what was appended, even if nobody waits; a closed store says so."""

    async def work() -> None:
        store = Store.open(where)
        _ = store.save_run(make_run())
        for serial in range(100):
            store.append(*make_call(serial), on_committed=lambda failure: None)
        store.close()
        store.close()
        with pytest.raises(StoreError, match="is closed"):
            store.append(*make_call(0), on_committed=lambda failure: None)
        with Store.open(where) as again:
            assert len(await again.load_calls("r1")) == 100

    asyncio.run(work())


def test_cancelled_readers_and_closed_loops_are_forgotten(where: str) -> None:
    """Who stops waiting does not disturb the store."""

    async def leave() -> None:
        await store.save_run(make_run())
        waiting = asyncio.ensure_future(store.load_calls("r1"))
        await asyncio.sleep(0)
        waiting.cancel()
        for serial in range(10):
            store.append(*make_call(serial), on_committed=lambda failure: None)

    with Store.open(where) as store:
        asyncio.run(leave())
        assert len(asyncio.run(store.load_calls("r1"))) == 10


def test_importing_the_records_is_light() -> None:
    """`motet.store` and its records do not import SQLAlchemy; `Store` does."""
    code = (
        "import sys, motet.store, motet.store.records; "
        "assert 'sqlalchemy' not in sys.modules; "
        "from motet.store import Store; assert 'sqlalchemy' in sys.modules; "
        "assert 'alembic' not in sys.modules"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr

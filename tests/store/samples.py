"""Sample records, and a process that appends them until it is killed."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

from motet.digest import digest_bytes
from motet.engine import Usage
from motet.errors import StoreError
from motet.store import CallRecord, RunRecord, Store


def name(*parts: object) -> str:
    return digest_bytes(repr(parts).encode())


def make_run(run_id: str = "r1", **changes: Any) -> RunRecord:
    known: dict[str, Any] = {
        "run_id": run_id,
        "program": "moa",
        "status": "running",
        "created_at": 1.5,
        "manifest": {"seed": 0},
    }
    return RunRecord(**{**known, **changes})


def make_call(
    serial: int, *, run_id: str = "r1", value: bytes | None = None, **changes: Any
) -> tuple[CallRecord, dict[str, bytes]]:
    """Return call `serial` of a run with its value of ~100 and its request of ~300 bytes."""
    value = f"{run_id} value {serial} ".encode().ljust(100, b"v") if value is None else value
    request = f"{run_id} request {serial} ".encode().ljust(300, b"r")
    artifacts = {digest_bytes(value): value, digest_bytes(request): request}
    known: dict[str, Any] = {
        "run_id": run_id,
        "call_id": name(run_id, serial),
        "parent_id": name(run_id, "root"),
        "slot": f"0/{serial}",
        "operation": "motet.programs.moa:propose",
        "kind": "prompt",
        "status": "finished",
        "value_digest": digest_bytes(value),
        "request_digest": digest_bytes(request),
        "source": "engine",
        "model": "http://localhost:8000/v1#small",
        "usage": Usage(70, 30, 10, 1),
        "cost": 0.25,
        "started_at": 1e9 + 0.125,
        "duration_s": 0.5,
        "inputs": (name("input", serial),),
        "finish_reason": "stop",
    }
    return CallRecord(**{**known, **changes}), artifacts


async def append(
    store: Store, record: CallRecord, artifacts: dict[str, bytes], **options: Any
) -> StoreError | None:
    """Append and wait; return what `on_committed` was told."""
    future: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()
    store.append(record, artifacts, on_committed=future.set_result, **options)
    return await future


async def append_many(store: Store, count: int, *, run_id: str = "r1") -> list[StoreError | None]:
    calls = [make_call(serial, run_id=run_id) for serial in range(count)]
    return await asyncio.gather(*[append(store, *call) for call in calls])


def append_forever(where: str, run_id: str, seen: int) -> None:
    """Append calls and print the serial of each that is acknowledged."""

    async def work() -> None:
        with Store.open(where) as store, store.lease(run_id):
            await store.save_run(make_run(run_id))
            serial, pending = seen, asyncio.Semaphore(64)

            def on_committed(number: int, failure: StoreError | None) -> None:
                assert failure is None, failure
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()
                pending.release()

            while True:
                await pending.acquire()
                record, artifacts = make_call(serial, run_id=run_id)
                store.append(record, artifacts, on_committed=partial(on_committed, serial))
                serial += 1

    asyncio.run(work())


if __name__ == "__main__":
    append_forever(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""kill -9 at every request of a route, a cascade and each judge costs nothing that was paid for."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from motet.store import Store
from motet.testing import stub_server
from motet.testing.stub_server import StubServer
from tests.programs.killed_judgements import PROGRAMS

T = TypeVar("T")
DRIVER = Path(__file__).with_name("killed_judgements.py")
QUICK = ("route", "cascade", "jury_compare")
"""They ask in several turns, so that a kill finds something answered; others may ask all at once."""
LEAST_REQUESTS = {"route": 9, "cascade": 15, "jury_compare": 16, "jury_score": 10}


def reply(prompt: str, seed: int | None, index: int) -> str:
    """A text that the judge who wrote `prompt` can read, and that depends on all three."""
    number = zlib.crc32(f"{seed}:{index}:{prompt}".encode())
    if "m or M" in prompt:
        return "mM"[number % 2]
    if "what stands before its colon" in prompt:
        return "ABCDEFGHIJK"[number % 11]
    if "word for word" in prompt:
        return str(number % 11)
    side = 1 + number % 2
    return (
        f"{side}\n### Reason: {number:x} is better.\nThe final decision is Response {side}\n"
        f"[[{'AB'[side - 1]}]] [[{1 + number % 10}]]\nThe answer is {number % 2}.\n"
        f"Score: {number % 6}"
    )


class Killer:
    """Runs jobs in children of a process that has everything imported, over a server in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = StubServer(delay_s=0.015)
        self.bodies: list[dict[str, Any]] = []
        self.server.bodies = self.bodies
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self.loop).result()
        self.driver = subprocess.Popen(
            [sys.executable, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.jobs = 0

    def close(self) -> None:
        self.driver.kill()
        self.driver.wait()
        for pipe in (self.driver.stdin, self.driver.stdout):
            assert pipe is not None
            pipe.close()
        asyncio.run_coroutine_threadsafe(self.server.aclose(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def run(
        self, program: str, *, store: Path, resume: str | None = None, kill_at: int | None = None
    ) -> dict[str, Any]:
        """Return what the child told; it is killed when its `kill_at`-th request came."""
        self.jobs += 1
        self.bodies.clear()
        out = self.folder / f"out-{self.jobs}.jsonl"
        job = {"program": program, "url": self.server.url, "store": str(store), "out": str(out)}
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(json.dumps({**job, "resume": resume}) + "\n")
        self.driver.stdin.flush()
        child = int(self.driver.stdout.readline())
        if kill_at is not None:
            while len(self.bodies) < kill_at:
                assert Path(f"/proc/{child}/stat").exists(), "it ended before"
                time.sleep(0.0005)
            os.kill(child, signal.SIGKILL)
        status = int(self.driver.stdout.readline())
        assert status == (0 if kill_at is None else signal.SIGKILL)
        told: dict[str, Any] = {}
        for line in out.read_text().splitlines():
            told |= json.loads(line)
        return told

    @property
    def asked(self) -> list[str]:
        """What the last job asked, a text a request."""
        return [_shown(body) for body in self.bodies]


def _shown(body: dict[str, Any]) -> str:
    if "input" in body:
        return json.dumps([body["input"], None])
    messages = [[each["role"], each["content"]] for each in body["messages"]]
    return json.dumps([messages, body.get("seed")])


def journaled(store: Path, run_id: str) -> set[str]:
    """The requests whose answers the journal holds, as `Killer.asked` shows them."""

    async def read(opened: Store) -> set[str]:
        calls = await opened.load_calls(run_id)
        digests = [c.request_digest for c in calls if c.request_digest is not None]
        requests = await opened.artifacts(digests)
        found = [json.loads(requests[digest]) for digest in digests]
        return {json.dumps([f["prompt"], f["sampling"].get("seed")]) for f in found}

    return _read(store, read)


def paid_calls(store: Path, run_id: str) -> list[list[Any]]:
    """The calls of the journal that an engine answered, and what each cost."""

    async def read(opened: Store) -> list[list[Any]]:
        calls = [c for c in await opened.load_calls(run_id) if c.source == "engine"]
        return sorted([c.call_id, c.parent_id, c.operation, c.usage.tokens, c.cost] for c in calls)

    return _read(store, read)


def _read(store: Path, read: Callable[[Store], Awaitable[T]]) -> T:
    async def reading() -> T:
        opened = Store.open(store)
        try:
            return await read(opened)
        finally:
            opened.close()

    return asyncio.run(reading())


@pytest.fixture
def killer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Killer]:
    monkeypatch.setattr(stub_server, "derived_text", reply)
    made = Killer(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("program", QUICK)
def test_killed_at_some_requests_it_resumes_to_the_same_and_asks_nothing_again(
    program: str, killer: Killer, tmp_path: Path
) -> None:
    check(program, killer, tmp_path, most_points=3)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("program", [each for each in PROGRAMS if each not in QUICK])
def test_killed_all_along_its_way_each_program_resumes_and_asks_nothing_again(
    program: str, killer: Killer, tmp_path: Path
) -> None:
    """At four requests; at every one where MOTET_ALL_KILL_POINTS is set."""
    everywhere = bool(os.environ.get("MOTET_ALL_KILL_POINTS"))
    check(program, killer, tmp_path, most_points=100 if everywhere else 4)


def check(program: str, killer: Killer, folder: Path, *, most_points: int) -> None:
    """The value, what was paid, and each paid call are those of an uninterrupted run."""
    store = folder / "whole.db"
    whole = killer.run(program, store=store)
    everything = set(killer.asked)
    assert len(killer.asked) == len(everything) >= LEAST_REQUESTS.get(program, 3)
    assert "None" not in whole["value"] or program == "cascade"
    tree = paid_calls(store, whole["run_id"])
    assert sum(call[-1] for call in tree) == pytest.approx(whole["paid"][-1], rel=1e-9)
    assert tree == whole["tree"]
    num_kept = 0
    stride = -(-len(everything) // most_points)

    for kill_at in range(len(everything), 0, -stride):
        store = folder / f"{kill_at}.db"
        before = killer.run(program, store=store, kill_at=kill_at)
        asked = set(killer.asked)
        kept = journaled(store, before["run_id"])
        num_kept += len(kept)

        resumed = killer.run(program, store=store, resume=before["run_id"])

        assert not kept & set(killer.asked)
        assert asked | set(killer.asked) == everything
        assert (resumed["value"], resumed["paid"]) == (whole["value"], whole["paid"])
        assert paid_calls(store, before["run_id"]) == tree
    assert num_kept or program not in QUICK

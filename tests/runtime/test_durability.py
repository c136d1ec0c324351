"""kill -9 costs nothing that was paid for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from motet.store import Store

_DRIVER = Path(__file__).with_name("killed_programs.py")
_POINTS = 50
_SEARCH_POINTS = 30
_SEARCHES = ("beam", "astar", "mcts", "particles")


class Killer:
    """Runs jobs in children of a process that has everything imported, and kills them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count_file = folder / "requests.jsonl"
        self.stub = subprocess.Popen(
            [
                *(sys.executable, "-m", "motet.testing.stub_server", "--delay-ms", "12"),
                *("--count-file", str(self.count_file)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.driver = subprocess.Popen(
            [sys.executable, str(_DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.stub.stdout is not None
        self.url = self.stub.stdout.readline().strip()
        self.jobs = 0
        self.offset = 0

    def close(self) -> None:
        for process in (self.stub, self.driver):
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def run(self, program: str, store: Path, *, resume: str | None, kill_after_s: float | None):
        """Return what the child wrote."""
        self.jobs += 1
        out = self.folder / f"out-{self.jobs}.jsonl"
        job = {
            "program": program,
            "url": self.url,
            "store": str(store),
            "out": str(out),
            "resume": resume,
        }
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(json.dumps(job) + "\n")
        self.driver.stdin.flush()
        child = int(self.driver.stdout.readline())
        if kill_after_s is not None:
            while not out.exists() and Path(f"/proc/{child}").exists():
                time.sleep(0.001)
            time.sleep(kill_after_s)
            with contextlib.suppress(ProcessLookupError):  # it was through already
                os.kill(child, signal.SIGKILL)
        self.driver.stdout.readline()
        written: dict[str, Any] = {}
        for line in out.read_text().splitlines() if out.exists() else ():
            written |= json.loads(line)
        return written

    def seeds_asked(self) -> Counter[int]:
        """Seeds of the requests that the server saw since this was last asked."""
        with self.count_file.open() as file:
            file.seek(self.offset)
            lines = file.readlines()
            self.offset = file.tell()
        return Counter(json.loads(line)["seed"] for line in lines)


@pytest.fixture
def killer(tmp_path: Path):
    made = Killer(tmp_path)
    yield made
    made.close()


def _finished_seeds(path: Path, run_id: str) -> set[int]:
    """Seeds of the requests whose calls the journal holds as finished."""

    async def read() -> set[int]:
        store = Store.open(path)
        try:
            calls = await store.load_calls(run_id)
            digests = [c.request_digest for c in calls if c.request_digest is not None]
            requests = await store.artifacts(digests)
            return {json.loads(requests[d])["sampling"]["seed"] for d in digests}
        finally:
            store.close()

    return asyncio.run(read())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("program", ["fan_out", "nested", "growing", *_SEARCHES])
def test_a_killed_run_resumes_to_the_same_result_without_asking_again(program, killer, tmp_path):
    """Killed at 50 random points (a search at 30), every run resumes to the value of an
    uninterrupted one, a search's whole tree, and no call that the journal held is asked again."""
    rng = random.Random(program)
    points = _SEARCH_POINTS if program in _SEARCHES else _POINTS
    killer.run(program, tmp_path / "first.db", resume=None, kill_after_s=None)
    whole = killer.run(program, tmp_path / "whole.db", resume=None, kill_after_s=None)
    took = whole["took_s"]
    killed_midway = 0

    for point in range(3 * points):
        if killed_midway == points:
            break
        store = tmp_path / f"{point}.db"
        written = killer.run(program, store, resume=None, kill_after_s=rng.uniform(0, took))
        if "value" in written:
            took = min(took, written["took_s"])  # the first run may have been a slow one
        if "value" in written or "run_id" not in written:
            continue  # it was through already, or had not begun
        killed_midway += 1
        finished = _finished_seeds(store, written["run_id"])
        killer.seeds_asked()
        # A second blow, in the middle of the resumption, every third time.
        if point % 3 == 0:
            killer.run(
                program, store, resume=written["run_id"], kill_after_s=rng.uniform(0, took / 2)
            )
            assert not finished & set(killer.seeds_asked())
            finished = _finished_seeds(store, written["run_id"])

        resumed = killer.run(program, store, resume=written["run_id"], kill_after_s=None)

        assert resumed["value"] == whole["value"]
        assert resumed["calls"] == whole["calls"]
        assert not finished & set(killer.seeds_asked())
    assert killed_midway == points

"""vLLM in the process of a script: its start without a guard, its end, and its death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

SCRIPT = """
import asyncio, os, sys
from motet.engine import Request, Sampling
from motet.serving.vllm import connect
from motet.serving.vllm.inprocess_start import child_pids

print("top", flush=True)
engine = connect("vllm:smollm2?dtype=float32&max_model_len=512&kv_cache_memory_bytes=536870912")

async def run():
    sampling = Sampling(temperature=0.0, max_tokens=2)
    request = Request(model=None, prompt="The capital of France is", sampling=sampling)
    reply = await engine.complete(request)
    print("text", reply.completions[0].text, flush=True)
    print("pids", *child_pids((await engine._live()).llm), flush=True)

asyncio.run(run())
asyncio.run(run())
"""
CLOSE = """
asyncio.run(engine.aclose())
print("closed", flush=True)
"""
WAIT = "import time; time.sleep(100)"


def _start(tmp_path: Path, source: str) -> subprocess.Popen[str]:
    pytest.importorskip("vllm")
    path = tmp_path / "script.py"
    path.write_text(source)
    return subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _pids(output: list[str]) -> list[int]:
    return [int(each) for line in output if line.startswith("pids") for each in line.split()[1:]]


@pytest.mark.parametrize("end", ["", CLOSE])
def test_a_script_without_a_guard_runs_once_and_ends_clean(tmp_path: Path, end: str) -> None:
    process = _start(tmp_path, SCRIPT + end)

    output, errors = process.communicate(timeout=280)

    lines = output.splitlines()
    pids = _pids(lines)
    assert process.returncode == 0, errors
    assert lines.count("top") == 1
    assert sum(line.startswith("text  Paris") for line in lines) == 2, errors
    assert len(pids) == 2
    assert len(set(pids)) == 1, "the second loop started an engine of its own"
    assert not any(map(_is_alive, pids))
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    assert " ERROR " not in errors
    assert ("closed" in lines) == bool(end)


def test_the_engine_ends_with_a_script_that_is_killed(tmp_path: Path) -> None:
    process = _start(tmp_path, SCRIPT + WAIT)
    assert process.stdout is not None
    lines: list[str] = []
    try:
        while len(_pids(lines)) < 2:
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            lines.append(line)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    deadline_s = time.monotonic() + 30
    while any(map(_is_alive, _pids(lines))) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    left = [pid for pid in _pids(lines) if _is_alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left

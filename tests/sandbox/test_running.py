"""Programs run with their files and input, and end with an outcome; nothing is left of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from motet.errors import ConfigError, SandboxError
from motet.sandbox import Limits, Outcome, check_sandbox, run_code, running
from motet.sandbox.command import Tools

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)


def _run(program: Any, **settings: Any) -> Outcome:
    return asyncio.run(run_code(program, **settings))


def _left(marker: str) -> list[Path]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes():
                found.append(path)
        except OSError:
            continue
    return found


def _gone(marker: str, within_s: float = 10) -> bool:
    """Whether no process of `marker` is left; a kill takes the system a moment."""
    until = time.monotonic() + within_s
    while _left(marker) and time.monotonic() < until:
        time.sleep(0.05)
    return not _left(marker)


async def _running(marker: str) -> None:
    for _ in range(600):
        if _left(marker):
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"no process of {marker} is there")


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@needs_bubblewrap
def test_a_program_gets_its_input_and_files() -> None:
    """Source, files and input arrive as they were given, also what is no Unicode."""
    outcome = _run(
        "import sys, pathlib, helper\n"
        "print(sys.stdin.read(), helper.VALUE, pathlib.Path('a/b.bin').read_bytes())",
        files={"helper.py": "VALUE = 'ü'", "a/b.bin": b"\0\xff"},
        stdin="given é",
    )

    assert outcome.stdout.decode() == "given é ü b'\\x00\\xff'\n"
    assert (outcome.exit_code, outcome.ended, outcome.is_cut) == (0, "done", False)


@needs_bubblewrap
def test_a_command_runs_beside_python() -> None:
    """A list of words is a command, with its own exit code."""
    outcome = _run(["sh", "-c", "cat x; exit 7"], files={"x": "text"})
    unknown = _run(["no-such-program"])

    assert (outcome.stdout, outcome.exit_code) == (b"text", 7)
    assert unknown.exit_code == 127


@needs_bubblewrap
def test_an_exception_and_a_signal_are_told() -> None:
    """Standard error holds the traceback; a signal shows in the exit code, as in a shell."""
    failed = _run("raise ValueError('x')")
    killed = _run("import os\nos.kill(os.getpid(), 9)")

    assert (failed.exit_code, failed.signal) == (1, None)
    assert failed.stderr.endswith(b"ValueError: x\n")
    assert (killed.exit_code, killed.signal) == (137, signal.SIGKILL)


@needs_bubblewrap
@pytest.mark.parametrize("source", ["x = '\ud800'", "\0", "x = 'a'\0", ""])
def test_any_text_is_a_program(source: str) -> None:
    """What is no Python ends with an exit code, not with an error of motet's."""
    outcome = _run(source)

    assert outcome.exit_code in (0, 1)


@pytest.mark.parametrize(
    ("program", "files", "named"),
    [
        ([], {}, "program"),
        (["a\0b"], {}, "program"),
        (["x" * 200_000], {}, "100000"),
        ("", {"/etc/x": ""}, "'/etc/x'"),
        ("", {"a/../../x": ""}, "working folder"),
        ("", {"": ""}, "working folder"),
        ("", {"a\0": ""}, "working folder"),
        ("", {str(at): "" for at in range(300)}, "200"),
        ("", {"x": b"x" * (17 << 20)}, "max_file_mb"),
    ],
)
def test_what_cannot_be_run_is_said_before(program: Any, files: Any, named: str) -> None:
    """A command or a path that cannot be names itself."""
    with pytest.raises(ConfigError, match=named):
        _run(program, files=files)


@needs_bubblewrap
def test_a_cancelled_program_is_gone() -> None:
    """When the cancellation arrives at the caller, no process of the program is left."""
    marker = f"8{os.getpid()}.5"

    async def cancelled() -> float:
        source = f"import subprocess\nsubprocess.run(['sleep', '{marker}'], start_new_session=True)"
        task = asyncio.ensure_future(run_code(source, limits=Limits(wall_s=60)))
        await _running(marker)
        begun = time.monotonic()
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - begun

    assert asyncio.run(cancelled()) < 4
    assert _left(marker) == []


@needs_bubblewrap
@pytest.mark.parametrize("delay_s", [0.0, 0.001, 0.004, 0.01, 0.02, 0.05])
def test_cancelling_at_any_time_leaves_nothing(delay_s: float) -> None:
    """Whether the sandbox is just starting or long running, it ends, and its pipes with it."""
    before = _open_files()
    marker = f"9{os.getpid()}.5"

    async def cancelled() -> None:
        task = asyncio.ensure_future(run_code(["sleep", marker], limits=Limits(wall_s=60)))
        await asyncio.sleep(delay_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())

    assert _left(marker) == []
    assert _open_files() == before


@needs_bubblewrap
def test_a_loop_that_ends_takes_its_programs_along() -> None:
    """A program that nobody waits for any more does not outlive the event loop."""
    marker = f"6{os.getpid()}.5"

    async def abandon() -> None:
        task = asyncio.ensure_future(run_code(["sleep", marker], limits=Limits(wall_s=60)))
        await _running(marker)
        assert not task.done()

    asyncio.run(abandon())

    assert _gone(marker)


@needs_bubblewrap
def test_a_killed_process_takes_its_programs_along() -> None:
    """After `kill -9` of the process that runs it, a program is gone, too."""
    marker = f"5{os.getpid()}.5"
    source = (
        "import asyncio\nfrom motet.sandbox import Limits, run_code\n"
        f"asyncio.run(run_code(['sleep', '{marker}'], limits=Limits(wall_s=60)))"
    )
    process = subprocess.Popen([sys.executable, "-c", source], cwd=Path(__file__).parents[2])
    try:
        until = time.monotonic() + 60
        while len(_left(marker)) < 3 and time.monotonic() < until:
            time.sleep(0.05)
        assert _left(marker)
    finally:
        process.kill()
        process.wait()

    assert _gone(marker)


@needs_bubblewrap
def test_no_more_run_at_once_than_there_are_cores() -> None:
    """Of many programs, those that run overlap in no more than the number of cores."""
    source = "import time\na = time.monotonic()\ntime.sleep(0.5)\nprint(a, time.monotonic())"
    cores = len(os.sched_getaffinity(0))

    async def many() -> list[Outcome]:
        return list(await asyncio.gather(*(run_code(source) for _ in range(3 * cores))))

    spans = [tuple(map(float, o.stdout.split())) for o in asyncio.run(many())]
    most = max(sum(a <= begin < b for a, b in spans) for begin, _ in spans)
    assert 1 <= most <= cores
    assert most == cores


@needs_bubblewrap
def test_many_programs_leave_no_descriptor_open() -> None:
    """Pipes, files in memory and handles of processes are closed again."""
    before = _open_files()

    async def many() -> None:
        await asyncio.gather(*(run_code(["true"]) for _ in range(50)))

    asyncio.run(many())

    assert _open_files() == before


@needs_bubblewrap
def test_the_sandbox_is_checked_beforehand() -> None:
    """Where it works, the check ends without an error, in and out of an event loop."""
    check_sandbox.cache_clear()

    async def inside() -> None:
        check_sandbox()

    asyncio.run(inside())
    check_sandbox.cache_clear()
    check_sandbox()


def test_a_missing_bubblewrap_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is run without the sandbox; the error says what to install."""
    monkeypatch.setenv("PATH", "/nowhere")
    check_sandbox.cache_clear()

    with pytest.raises(SandboxError, match="apt-get install bubblewrap"):
        _run("open('/tmp/ran', 'w')")
    with pytest.raises(SandboxError, match="apt-get install bubblewrap"):
        check_sandbox()


@pytest.mark.parametrize(
    ("says", "remedy"),
    [
        ("bwrap: No permissions to create new namespace", "max_user_namespaces"),
        ("bwrap: setting up uid map: Permission denied", "apparmor_restrict_unprivileged_userns"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "systempaths"),
        ("bwrap: Unknown option --disable-userns", "0.8 or later"),
        ("", "ended with 1"),
    ],
)
def test_a_host_that_forbids_it_is_said_with_its_remedy(
    says: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What bubblewrap complains of is passed on, with what to do."""
    fake = tmp_path / "bwrap"
    fake.write_text(f'#!/bin/sh\n[ -z "{says}" ] || echo "{says}" >&2\nexit 1\n')
    fake.chmod(0o755)
    tools = Tools(bwrap=str(fake), prlimit="/usr/bin/prlimit", as_nobody=())
    monkeypatch.setattr(running, "find_tools", lambda: tools)
    check_sandbox.cache_clear()

    with pytest.raises(SandboxError, match=remedy) as caught:
        check_sandbox()

    assert says in str(caught.value)
    with pytest.raises(SandboxError):
        _run("1")

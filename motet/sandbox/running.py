"""Run a program in the sandbox, and see it out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final
from weakref import WeakKeyDictionary

from motet.errors import SandboxError
from motet.sandbox.command import READY, find_tools
from motet.sandbox.job import Job, Started, job_of, start
from motet.sandbox.memory import used_bytes
from motet.sandbox.outcome import Ended, Limits, Outcome

_CHUNK: Final = 65_536
_START_S: Final = 30.0
_POLL_S: Final = 0.05
_LINGER_S: Final = 5.0
"""Until bubblewrap itself is killed, where it does not end with what it runs."""
_SLOTS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
"""As many programs run at once in an event loop as there are cores."""


async def run_code(
    program: str | Sequence[str],
    *,
    files: Mapping[str, str | bytes] | None = None,
    stdin: str | bytes = b"",
    limits: Limits | None = None,
    has_proc: bool = True,
) -> Outcome:
    """Run a program where it can harm nothing, and return what came of it.

    It sees the system's programs and this interpreter with its standard library, read-only, and
    an empty folder that is its own. It has no network. Nothing of it is left when this returns,
    nor when this is cancelled.

    Args:
        program: The source of a Python program, or a command, such as `["python3", "a.py"]`.
        files: Content by path below the working folder.
        has_proc: Whether /proc shows the program its own processes.

    Raises:
        ConfigError: The command or a path in `files` cannot be.
        SandboxError: There is no sandbox here; see `check_sandbox`.
    """
    job = job_of(
        program, files=files or {}, stdin=stdin, limits=limits or Limits(), has_proc=has_proc
    )
    tools = find_tools()
    loop = asyncio.get_running_loop()
    async with _SLOTS.setdefault(loop, asyncio.Semaphore(len(os.sched_getaffinity(0)))):
        box = _Box(start(job, tools), job)
        life = asyncio.ensure_future(box.live())
        try:
            return await asyncio.shield(life)
        except asyncio.CancelledError:
            box.stop("time")
            while not life.done():
                with suppress(asyncio.CancelledError, SandboxError):
                    await asyncio.shield(life)
            raise


class _Box:
    """One sandbox, from its start until nothing of it is left."""

    def __init__(self, started: Started, job: Job) -> None:
        self._job = job
        self._process = started.process
        self._outputs = {started.stdout: bytearray(), started.stderr: bytearray()}
        self._stdout, self._stderr = started.stdout, started.stderr
        self._status = bytearray()
        self._status_fd = started.status
        self._init: tuple[int, int] | None = None
        """The first process inside, by number and descriptor, once it is known."""
        self._has_init = False
        self._is_stopped = False
        self._is_cut = False
        self._ended: Ended = "done"
        self._began_s: float | None = None
        self._open: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._gone = self._loop.create_future()
        self._deadline = self._loop.call_later(_START_S, self.stop, "time")
        self._watch: asyncio.TimerHandle | None = None

    async def live(self) -> Outcome:
        try:
            for fd in self._outputs:
                self._listen(fd, self._on_output)
            self._listen(self._status_fd, self._on_status)
            self._listen(os.pidfd_open(self._process.pid), self._on_end)
            await self._gone
        finally:
            for timer in (self._deadline, self._watch):
                if timer is not None:
                    timer.cancel()
            if self._open:
                self._process.kill()
            for fd in tuple(self._open):
                self._close(fd)
            code = self._process.wait()
        return self._outcome(code)

    def stop(self, why: Ended) -> None:
        """Kill everything inside; where nothing runs yet, as soon as something does."""
        if self._is_stopped or self._gone.done():
            return
        self._is_stopped = True
        self._ended = why
        self._kill()
        self._deadline.cancel()
        self._deadline = self._loop.call_later(_LINGER_S, self._process.kill)

    def _kill(self) -> None:
        if self._init is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init[1], signal.SIGKILL)

    def _outcome(self, code: int) -> Outcome:
        limit = self._job.limits.max_output_bytes
        stdout, stderr = bytes(self._outputs[self._stdout]), bytes(self._outputs[self._stderr])
        if self._began_s is None:
            said = stderr.decode("utf-8", "replace").strip()[-500:]
            raise SandboxError(
                f"the sandbox did not start the program: {said or f'bubblewrap ended with {code}'}"
            )
        is_by_itself = self._ended == "done"
        if is_by_itself and code == 128 + signal.SIGXCPU:
            self._ended = "cpu"
        return Outcome(
            stdout=stdout[len(READY) :][:limit],
            stderr=stderr[:limit],
            is_cut=self._is_cut,
            exit_code=code if is_by_itself else None,
            ended=self._ended,
            wall_s=time.monotonic() - self._began_s,
        )

    def _listen(self, fd: int, react: Callable[[int], bool]) -> None:
        """Call `react` whenever `fd` can be read, until it says that this was the last time."""

        def on_readable() -> None:
            try:
                if not react(fd):
                    self._close(fd)
            except (OSError, ValueError) as exc:
                self._fail(exc)
            if not self._open and not self._gone.done():
                self._gone.set_result(None)

        self._open.add(fd)
        self._loop.add_reader(fd, on_readable)

    def _fail(self, exc: Exception) -> None:
        if not self._gone.done():
            self._gone.set_exception(SandboxError(f"the sandbox cannot be watched: {exc}"))

    def _close(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._open.discard(fd)
        os.close(fd)

    def _on_output(self, fd: int) -> bool:
        chunk = os.read(fd, _CHUNK)
        output = self._outputs[fd]
        is_marked = fd == self._stdout
        if is_marked and self._began_s is None and chunk.startswith(READY):
            self._begin()
        room = self._job.limits.max_output_bytes + len(READY) * is_marked - len(output)
        output += chunk[:room]
        if len(chunk) > room:
            self._is_cut = True
            self.stop("output")
        return bool(chunk)

    def _begin(self) -> None:
        self._began_s = time.monotonic()
        if not self._is_stopped:
            self._deadline.cancel()
            self._deadline = self._loop.call_later(self._job.limits.wall_s, self.stop, "time")
            self._watch = self._loop.call_later(_POLL_S, self._watch_memory)

    def _watch_memory(self) -> None:
        if self._init is not None and used_bytes(self._init[0]) > self._job.limits.memory_mb << 20:
            self.stop("memory")
        if not self._is_stopped:
            self._watch = self._loop.call_later(_POLL_S, self._watch_memory)

    def _on_status(self, fd: int) -> bool:
        chunk = os.read(fd, _CHUNK)
        self._status += chunk
        if not self._has_init and b"\n" in self._status:
            self._has_init = True
            pid = json.loads(bytes(self._status).split(b"\n")[0])["child-pid"]
            with suppress(ProcessLookupError):
                self._init = pid, os.pidfd_open(pid)
                self._listen(self._init[1], self._on_end)
            if self._is_stopped:
                self._kill()
        return bool(chunk)

    def _on_end(self, fd: int) -> bool:
        if self._init is not None and fd == self._init[1]:
            self._init = None
        return False

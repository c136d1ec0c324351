"""A server's processes: started, waited for, and stopped with all that they started."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from motet.errors import EngineTimeoutError, EngineUnavailableError
from motet.serving.vllm import launch_child
from motet.serving.vllm.launch import Launch

_POLL_S = 0.1
_SHOWN_LINES = 20
_GRACE_S = 10.0
_TAIL_BYTES = 64 * 1024


@dataclass(slots=True)
class ServerProcess:
    """A started server. Its processes are one session, of which it is the leader."""

    launch: Launch
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return self.launch.url

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_ready(
        self, timeout_s: float, on_wait: Callable[[float, str], None] | None = None
    ) -> None:
        """Return when the server answers; `on_wait` gets the seconds so far and its last line.

        Raises:
            EngineUnavailableError: It ended; the message holds the last lines of its log.
            EngineTimeoutError: It does not answer within `timeout_s`.
        """
        began = time.monotonic()
        while not is_healthy(self.url):
            elapsed_s = time.monotonic() - began
            code = self.process.poll()
            if code is not None:
                raise EngineUnavailableError(
                    f"vLLM ended while it started ({shown_exit(code)}); the end of its log:\n"
                    + "\n".join(last_lines(self.log, _SHOWN_LINES))
                )
            if elapsed_s > timeout_s:
                raise EngineTimeoutError(
                    f"vLLM does not answer at {self.url} after {timeout_s:g} s; "
                    "the end of its log:\n" + "\n".join(last_lines(self.log, _SHOWN_LINES))
                )
            if on_wait is not None:
                on_wait(elapsed_s, "".join(last_lines(self.log, 1)))
            time.sleep(_POLL_S)

    def stop(self, number: int = signal.SIGTERM, *, grace_s: float = _GRACE_S) -> None:
        """End the server by a signal, and every process of its session; after `grace_s` by force."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace_s)
        kill_session(self.pid)
        self.process.wait()

    def release(self) -> None:
        """Leave the server to itself: it lives on when this process ends."""
        self.process.returncode = 0  # Popen would warn of a child that still runs


def start(launch: Launch, log: Path, *, is_bound: bool = True) -> ServerProcess:
    """Start a server whose output goes to `log`.

    Args:
        launch: What to start.
        log: A file, which is overwritten.
        is_bound: Whether the server ends when this process does, even by SIGKILL.
    """
    parent = os.getpid() if is_bound else 0
    child = [sys.executable, launch_child.__file__, str(parent), f"{_GRACE_S:.0f}"]
    command = [*child, *launch.command()]
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - its arguments are ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=launch.variables(),
            start_new_session=True,
        )
    return ServerProcess(launch, process, log)


@contextlib.contextmanager
def serving(launch: Launch, log: Path, *, timeout_s: float = 300.0) -> Iterator[ServerProcess]:
    """Start a server, wait until it answers, and stop it at the end."""
    server = start(launch, log)
    try:
        server.wait_ready(timeout_s)
        yield server
    finally:
        server.stop()


def is_healthy(url: str, *, timeout_s: float = 2.0) -> bool:
    """Say whether the server at `url` answers 200 on /health."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return fetched(url, "/health", timeout_s=timeout_s)[0] == 200
    return False


def fetched(url: str, path: str, *, timeout_s: float = 2.0) -> tuple[int, str]:
    """Return status and body of a GET."""
    address = url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode(errors="replace")
    finally:
        connection.close()


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last lines of `log` that are not blank."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]


def shown_exit(code: int) -> str:
    """`exit code 1`, or `SIGKILL` for -9 or a shell's 137."""
    number = -code if code < 0 else code - 128
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"exit code {code}"


def session_members(leader: int) -> list[int]:
    """Return the ids of all processes in the session of `leader`, which may have ended."""
    members = []
    for entry in Path("/proc").glob("[0-9]*"):
        fields = stat_fields(int(entry.name))
        if fields is not None and fields[3] == str(leader) and fields[0] != "Z":
            members.append(int(entry.name))
    return members


def stat_fields(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat behind the name: state, parent, group, session, ..."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def kill_session(leader: int) -> None:
    """Kill what is left of the session, and wait until it has gone."""
    until = time.monotonic() + 10.0
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    while members := session_members(leader):
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            return
        time.sleep(0.02)

"""Records of started servers, one JSON file each, by which other processes find and stop them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from motet.serving.vllm.launch_process import (
    ServerProcess,
    fetched,
    is_healthy,
    kill_session,
    session_members,
    stat_fields,
)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A server that was started on this machine."""

    name: str
    model: str
    """What requests call the model."""
    url: str
    """Without `/v1`."""
    pid: int
    started: str
    """Boot of the machine and the kernel's tick at which the process began."""
    log: str
    is_detached: bool

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs, not another one that got its id."""
        return self.started == start_mark(self.pid)

    @property
    def run_option(self) -> str:
        """What `motet run` needs to use the server."""
        return f"--model {self.url}/v1#{self.model}"

    def load(self) -> tuple[int, int] | None:
        """Return the number of running and of waiting requests; None where it is not told."""
        try:
            _, text = fetched(self.url, "/metrics")
        except OSError:
            return None
        counts = [
            sum(float(v) for v in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))
            for name in ("vllm:num_requests_running", "vllm:num_requests_waiting")
        ]
        return int(counts[0]), int(counts[1])

    def state(self) -> str:
        """`healthy`, `starting or hung`, or `ended`."""
        if not self.is_alive:
            return "ended"
        return "healthy" if is_healthy(self.url) else "starting or hung"

    def stop(self, *, grace_s: float = 10.0) -> bool:
        """End the server with all its processes; return whether any was there."""
        remove(self)
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            until = time.monotonic() + grace_s
            while self.is_alive and time.monotonic() < until:
                time.sleep(0.05)
        elif not self._has_orphans():
            return False
        kill_session(self.pid)
        return True

    def _has_orphans(self) -> bool:
        """Whether processes of the server outlived their leader."""
        boot, _, tick = self.started.partition(":")
        if boot != _boot() or start_mark(self.pid) is not None:
            return False
        members = [stat_fields(pid) for pid in session_members(self.pid)]
        return any(fields is not None and int(fields[19]) >= int(tick) for fields in members)


def records_folder() -> Path:
    """Return the folder of records and logs, which it makes."""
    folder = Path(platformdirs.user_state_dir("motet", appauthor=False)) / "engines"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def record_name(model: str, port: int) -> str:
    """Return a name such as `smollm2-8000`; a port has one server, so a name has."""
    plain = re.sub(r"[^\w.-]+", "-", model.rstrip("/").rpartition("/")[2]) or "model"
    return f"{plain}-{port}"


def write(server: ServerProcess, name: str, *, is_detached: bool) -> Record:
    """Record `server` under `name`."""
    record = Record(
        name=name,
        model=server.launch.name,
        url=server.url,
        pid=server.pid,
        started=start_mark(server.pid) or "",
        log=str(server.log),
        is_detached=is_detached,
    )
    path = records_folder() / f"{name}.json"
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps(asdict(record)), encoding="utf-8")
    scratch.replace(path)
    return record


def read_all() -> list[Record]:
    """Return all records by name; a damaged file is left out."""
    records = []
    for path in sorted(records_folder().glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            records.append(Record(**json.loads(path.read_text(encoding="utf-8"))))
    return records


def is_recorded(record: Record) -> bool:
    """Say whether nobody removed `record` or put another in its place."""
    return record in read_all()


def remove(record: Record) -> None:
    """Forget `record`; its log stays."""
    if is_recorded(record):
        (records_folder() / f"{record.name}.json").unlink(missing_ok=True)


def start_mark(pid: int) -> str | None:
    """Return what tells this process from others of the same id; None where it does not run."""
    fields = stat_fields(pid)
    return None if fields is None or fields[0] == "Z" else f"{_boot()}:{fields[19]}"


def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"

"""`motet engine up`: start a vLLM server, wait for it, and stay until it ends."""

from __future__ import annotations

import contextlib
import errno
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from motet.cli.failures import ENGINE, INTERRUPTED, OK, CommandError, exit_code
from motet.cli.terminal import as_json, note, one_line, stderr_console, write
from motet.errors import ConfigError, EngineError
from motet.serving.vllm import launch_records
from motet.serving.vllm.launch import (
    Launch,
    check_installed,
    free_port,
)
from motet.serving.vllm.launch_process import (
    ServerProcess,
    kill_session,
    last_lines,
    shown_exit,
    start,
)
from motet.serving.vllm.launch_records import Record

_POLL_S = 0.1
_GRACE_S = 15.0
_NOTE_EVERY_S = 15.0
_CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stopped(Exception):
    """The user wants the server to end."""


def up_command(
    model: str,
    flags: Sequence[str],
    *,
    port: int,
    host: str,
    name: str | None,
    has_layers: bool,
    is_detached: bool,
    timeout_s: float,
    is_json: bool,
) -> int:
    """Start a server; return when it ends, or, where `is_detached`, when it answers."""
    if flags and not flags[0].startswith("-"):
        raise CommandError(f"unexpected argument {flags[0]!r}", "vLLM's own flags follow --")
    check_installed()
    source, served = resolved(model)
    launch = Launch(
        model=source,
        name=name or served,
        port=_port(host, port),
        host=host,
        has_layers=has_layers,
        extra=tuple(flags),
    )
    try:
        folder = launch_records.records_folder()
    except OSError as exc:
        raise ConfigError(f"the state folder {exc.filename} cannot be written") from exc
    known_as = launch_records.record_name(launch.name, launch.port)
    with _caught() as signals, contextlib.ExitStack() as stack:
        server = start(launch, folder / f"{known_as}.log", is_bound=not is_detached)
        stack.callback(lambda: server.stop(signals.first, grace_s=_GRACE_S))
        signals.server = server
        record = launch_records.write(server, known_as, is_detached=is_detached)
        stack.callback(launch_records.remove, record)
        try:
            _wait(server, timeout_s, signals)
            _tell(record, is_json=is_json)
            if not is_detached:
                return _stay(server, record, signals)
        except _Stopped:
            note("stopping; once more stops at once")
            return INTERRUPTED
        stack.pop_all()
        server.release()
    return OK


@dataclass(slots=True)
class _Signals:
    """Signals that came, and the server that they are meant for."""

    received: list[int] = field(default_factory=list)
    server: ServerProcess | None = None

    @property
    def first(self) -> int:
        """What the server is ended by."""
        return self.received[0] if self.received else signal.SIGTERM

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received and self.server is not None:
            kill_session(self.server.pid)
        self.received.append(number)


@contextlib.contextmanager
def _caught() -> Iterator[_Signals]:
    signals = _Signals()
    before = {number: signal.signal(number, signals.on_signal) for number in _CAUGHT}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def resolved(model: str) -> tuple[str, str]:
    """Return what vLLM loads, a folder or a name on the hub, and what requests call it.

    Raises:
        ModelNotFoundError: The folder holds no model.
    """
    from motet.serving.local.model_files import (
        PACKAGED,
        check_model,
        is_folder_name,
        model_folder,
    )

    name = model.removeprefix("local:").removeprefix("vllm:")
    if not name or "://" in name:
        raise CommandError(f"MODEL is {model!r}", "give a folder or a name, not a server's URL")
    if name in PACKAGED:
        return str(model_folder(name, None)), name
    if is_folder_name(name):
        check_model(name)
        folder = Path(name).expanduser().resolve()
        return str(folder), folder.name
    return name, name


def _port(host: str, port: int) -> int:
    try:
        return free_port(host, port)
    except ConfigError as exc:
        is_taken = isinstance(exc.__cause__, OSError) and exc.__cause__.errno == errno.EADDRINUSE
        hint = "give another by --port, or --port 0 for a free one"
        raise CommandError(str(exc), hint if is_taken else None) from exc


def _wait(server: ServerProcess, timeout_s: float, signals: _Signals) -> None:
    """Wait until `server` answers, showing the seconds and its latest line."""
    launch = server.launch
    kind = "CPU" if launch.on_cpu else "GPU"
    note(f"starting vLLM with {launch.name} on the {kind}; log: {server.log}")
    with _progress() as show:

        def on_wait(elapsed_s: float, line: str) -> None:
            if signals.received:
                raise _Stopped
            show(elapsed_s, line)

        try:
            server.wait_ready(timeout_s, on_wait)
        except EngineError as exc:
            if signals.received:
                raise _Stopped from exc
            raise CommandError(
                str(exc), f"the whole log: {server.log}", code=exit_code(exc)
            ) from exc


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[float, str], None]]:
    if sys.stderr.isatty():
        with stderr_console().status("starting") as status:
            yield lambda elapsed_s, line: status.update(f"{elapsed_s:.0f} s  {one_line(line, 90)}")
        return
    told_s = 0.0

    def tell(elapsed_s: float, line: str) -> None:
        nonlocal told_s
        if elapsed_s - told_s >= _NOTE_EVERY_S:
            told_s = elapsed_s
            note(f"{elapsed_s:.0f} s  {one_line(line, 90)}")

    yield tell


def _tell(record: Record, *, is_json: bool) -> None:
    shown = {k: v for k, v in asdict(record).items() if k != "started"}
    write(as_json(shown) if is_json else record.url)
    note(f"use it by: motet run PROGRAM {record.run_option}")
    how = f"motet engine down {record.name}" if record.is_detached else "Ctrl-C"
    note(f"stop it by: {how}")


def _stay(server: ServerProcess, record: Record, signals: _Signals) -> int:
    """Wait for the server's end, and pass signals on to it."""
    while True:
        if signals.received:
            raise _Stopped
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = server.process.wait(_POLL_S)
            if not launch_records.is_recorded(record):
                note("stopped by `motet engine down`")
                return OK
            if signals.received:
                raise _Stopped
            ended = "\n".join(last_lines(server.log, 20))
            raise CommandError(
                f"vLLM ended ({shown_exit(code)}); the end of its log:\n{ended}",
                f"the whole log: {server.log}",
                code=ENGINE,
            )

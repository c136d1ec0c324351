"""Runs a program as the terminal wants it: progress, interruption, events, a summary."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from motet.cli.failures import INTERRUPTED, CommandError, InterruptedRunError, resume_command
from motet.cli.terminal import note, stderr_console
from motet.events import Event, Observer, RunStarted
from motet.observers import JsonLines, ProgressTree

if TYPE_CHECKING:
    from motet.cli.settings import Settings
    from motet.refs import Ref
    from motet.runtime.result import Result

T = TypeVar("T")
PATIENCE_S = 30.0
"""How long a first Ctrl-C waits for the requests in flight."""


class RunWatch:
    """Remembers the run's id as soon as there is one."""

    def __init__(self) -> None:
        self.run_id: str | None = None

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.run_id = event.run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to run, and how."""

    ref: Ref[Any]
    settings: Settings
    is_cached: bool = True
    resume: str | None = None
    stream: bool = False
    manifest: dict[str, Any] | None = None


def execute(job: Job, observers: list[Observer]) -> Result[Any]:
    """Run `job` and return its result.

    Raises:
        InterruptedRunError: The user stopped it.
    """
    from motet.runtime.running import arun

    settings = job.settings
    watch = RunWatch()
    is_kept = settings.store_or_none is not None

    async def work() -> Result[Any]:
        return await arun(
            job.ref,
            budget=settings.budget,
            seed=settings.seed,
            model=settings.make_model(settings.model),
            store=settings.store_or_none,
            cache=job.is_cached,
            resume=job.resume,
            observers=[watch, *observers],
            stream=job.stream,
            max_concurrency=settings.max_concurrency,
            manifest=job.manifest,
            patience_s=PATIENCE_S,
        )

    def hint() -> str | None:
        if watch.run_id is None or not is_kept:
            return None
        return resume_command(watch.run_id, settings.store_option)

    try:
        with contextlib.redirect_stdout(sys.stderr):
            return run_interruptibly(work(), hint)
    except asyncio.CancelledError:
        raise InterruptedRunError(
            watch.run_id, is_kept=is_kept, store_option=settings.store_option
        ) from None


def run_interruptibly(work: Coroutine[Any, Any, T], resume_hint: Callable[[], str | None]) -> T:
    """Run `work` on an event loop; a first Ctrl-C cancels it, a second ends the process at once."""

    async def main() -> T:
        with _on_interrupt(asyncio.current_task(), resume_hint):
            return await work

    return asyncio.run(main())


@contextlib.contextmanager
def _on_interrupt(
    task: asyncio.Task[Any] | None, resume_hint: Callable[[], str | None]
) -> Iterator[None]:
    assert task is not None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    is_stopping = False

    def stop() -> None:
        note("stopping: waiting for the requests in flight; Ctrl-C again stops at once")
        task.cancel()

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal is_stopping
        if is_stopping:
            _leave(resume_hint())
        is_stopping = True
        loop.call_soon_threadsafe(stop)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(hint: str | None) -> None:
    """End the process now: finished calls are in the store already."""
    show_cursor = "\x1b[?25h" if os.isatty(2) else ""
    told = f"resume it by: {hint}\n" if hint else ""
    os.write(2, f"{show_cursor}\ninterrupted\n{told}".encode())
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def opened_observers(
    *, events: str | None, is_quiet: bool, is_transient: bool = False
) -> Iterator[list[Observer]]:
    """Yield the observers that the options ask for, and end them."""
    with contextlib.ExitStack() as stack:
        observers: list[Observer] = []
        if events is not None:
            observers.append(JsonLines(stack.enter_context(_opened(events))))
        if not is_quiet:
            tree = ProgressTree(stderr_console(), is_transient=is_transient)
            observers.append(stack.enter_context(tree))
        yield observers


@contextlib.contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    try:
        stream = open(path, "w", encoding="ascii")  # noqa: PTH123, SIM115 - closed below
    except OSError as exc:
        raise CommandError(f"--events {path} cannot be written: {exc.strerror}") from None
    try:
        yield stream
    finally:
        with contextlib.suppress(OSError):  # the observer told it; the answer is to be shown
            stream.close()

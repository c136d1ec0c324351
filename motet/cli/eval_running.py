"""Runs a study in its folder: what is paid for is kept, and the same command goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.cli.eval_folder import Folder
from motet.cli.executing import PATIENCE_S, run_interruptibly
from motet.cli.failures import INTERRUPTED, STORE, CommandError
from motet.cli.settings import Settings
from motet.cli.terminal import counted, note, stderr_console
from motet.errors import ReplayMismatchError, RunFailedError, StoreError
from motet.events import CallFinished, Event, RunStarted

if TYPE_CHECKING:
    from motet.budget import Budget
    from motet.events import Observer
    from motet.refs import Ref
    from motet.runtime.result import Result

_MOST_TOLD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A study's call, and how its progress is counted."""

    call: Ref[Any]
    attempt: str
    """Operation that is called once an attempt."""
    total: int
    """Attempts in all."""


def tell_left_out(bad: Sequence[str]) -> None:
    """Tell of the rows that are no questions."""
    for each in bad[:_MOST_TOLD]:
        note(f"left out: {each}")
    if len(bad) > _MOST_TOLD:
        note(f"... and {counted(len(bad) - _MOST_TOLD, 'row')} more")


class _Keeper:
    """Writes down which run it is before it asks anything, and counts attempts."""

    def __init__(self, folder: Folder, attempt: str, *, is_quiet: bool) -> None:
        self._folder = folder
        self._is_told = is_quiet or folder.run_id is None
        self._attempt = attempt
        self.num_done = 0
        self.is_paid = False
        """Whether an engine has answered."""
        self.error: CommandError | None = None
        self.on_attempt: Callable[[int], None] = lambda num_done: None

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted) and self._folder.run_id != event.run_id:
            try:
                self._folder.begin(event.run_id)
            except CommandError as exc:
                self.error = exc
                task = asyncio.current_task()
                if task is not None:
                    task.cancel()  # before anything is asked: it could not be gone on with
        elif isinstance(event, CallFinished):
            self.is_paid = self.is_paid or event.usage.tokens > 0
            if self.is_paid and not self._is_told:
                self._is_told = True
                note(f"{self._folder.path} holds a study; going on with it")
            if event.operation == self._attempt:
                self.num_done += 1
                self.on_attempt(self.num_done)


def run_in_folder(
    work: Work,
    folder: Folder,
    settings: Settings,
    observers: list[Observer],
    *,
    is_quiet: bool,
    seed: int | None = None,
    budget: Budget | None = None,
) -> Result[Any]:
    """Run a study, or go on with the one that the folder holds.

    Args:
        work: What is run.
        folder: Where it is kept.
        settings: Of the command.
        observers: Told of every event.
        is_quiet: Whether nothing but failures is told.
        seed: Of the run.
        budget: Of the whole run, what it took before included.

    Raises:
        CommandError: It was interrupted, or the folder or its store cannot be used.
        RunFailedError: It failed.
    """
    from motet.runtime.running import arun

    keeper = _Keeper(folder, work.attempt, is_quiet=is_quiet)
    is_new = folder.run_id is None

    async def run() -> Result[Any]:
        return await arun(
            work.call,
            budget=budget,
            seed=seed,
            store=folder.store,
            cache=False,
            resume=folder.run_id,
            observers=[keeper, *observers],
            max_concurrency=settings.max_concurrency,
            patience_s=PATIENCE_S,
        )

    try:
        with _shown(keeper, work.total, is_quiet=is_quiet):
            result = run_interruptibly(run(), lambda: "the same command, started again")
            keeper.on_attempt(work.total)
        if not (is_new or is_quiet or keeper.is_paid):
            note(f"{folder.path} holds this study, finished; no model was asked")
        return result
    except asyncio.CancelledError:
        if keeper.error is not None:
            raise keeper.error from None
        raise CommandError(
            f"interrupted: {keeper.num_done} of {counted(work.total, 'attempt')} are kept",
            "start the same command again: it goes on",
            code=INTERRUPTED,
        ) from None
    except ReplayMismatchError as exc:
        raise CommandError(
            f"{folder.path} was begun with other questions, or by another version: {exc}",
            "give another --out",
        ) from None
    except StoreError as exc:
        raise CommandError(
            f"{folder.store} cannot be used: {exc}", "mend that, or give another --out", code=STORE
        ) from None
    except RunFailedError as exc:
        if keeper.is_paid or not is_new:
            note(
                f"{keeper.num_done} of {counted(work.total, 'attempt')} are kept; "
                "the same command goes on with them"
            )
        else:
            folder.forget()
        if isinstance(exc.__cause__, StoreError):
            hint = "mend that and start the same command again"
            raise CommandError(str(exc.__cause__), hint, code=STORE) from None
        raise


@contextlib.contextmanager
def _shown(keeper: _Keeper, total: int, *, is_quiet: bool) -> Iterator[None]:
    """Show a progress bar where stderr is a terminal."""
    console = stderr_console()
    if is_quiet or not console.is_terminal:
        yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, expand=True, redirect_stdout=False) as progress:
        task = progress.add_task("", total=total)
        keeper.on_attempt = lambda num_done: progress.update(task, completed=num_done)
        yield

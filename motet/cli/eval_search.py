"""`motet eval search`: a study's run and its table."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from motet.cli.eval_folder import Folder
from motet.cli.executing import PATIENCE_S, opened_observers, run_interruptibly
from motet.cli.failures import FAILED, INTERRUPTED, OK, STORE, CommandError
from motet.cli.settings import Settings, read_settings
from motet.cli.terminal import (
    as_json,
    counted,
    note,
    show_table,
    shown_usage,
    stderr_console,
    write,
)
from motet.errors import ReplayMismatchError, RunFailedError, StoreError
from motet.events import CallFinished, Event, RunStarted

if TYPE_CHECKING:
    from motet.events import Observer
    from motet.programs.frontier import Interval, Point, Study
    from motet.refs import Ref
    from motet.runtime.result import Result

_DRAWING = ("step_tokens", "answer_tokens", "temperature")
JUDGED = ("self", "grade")
"""Scorers that ask a model."""
_MOST_TOLD = 10
ATTEMPT = "motet.programs.frontier.attempts:attempt"
FIGURES, SUMMARY, PLOT = "figures.jsonl", "summary.json", "frontier.svg"


def search_command(values: dict[str, Any]) -> int:
    """Make a study of a command's values, or go on with it; print its table."""
    from motet.programs.frontier import Drawing, Study, find_task, read_questions, study_call

    if not values["budgets"]:
        raise CommandError("no budget is given", "give --budgets TOKENS, more than once for more")
    task = find_task(values["task"])
    bad: list[str] = []
    study = Study(
        task=task.name,
        questions=read_questions(
            values["taskfile"], task, limit=values["limit"], on_bad_row=bad.append
        ),
        algorithms=tuple(text.strip() for text in values["algorithms"] or ()),
        budgets=tuple(values["budgets"]),
        num_seeds=values["seeds"],
        drawing=Drawing(**{name: values[name] for name in _DRAWING}),
    )
    settings = read_settings(model=values["model"], max_concurrency=values["max_concurrency"])
    scorer, judge = values["scorer"], values["judge"]
    if judge is not None and scorer not in JUDGED:
        raise CommandError(f"--judge has no part where --scorer is {scorer}", "leave it out")
    call = study_call(
        study,
        model=settings.make_model(settings.model),
        scorer=None if scorer == "none" else scorer,
        judge=settings.make_model(judge) if judge is not None else None,
        concurrency=values["concurrency"],
    )
    signature = {
        "task": task.name,
        "questions": [question.id for question in study.questions],
        "algorithms": list(study.algorithms),
        "budgets": list(study.budgets),
        "seeds": study.num_seeds,
        "model": settings.model,
        "scorer": scorer,
        "judge": judge,
        **asdict(study.drawing),
    }
    is_quiet = values["quiet"]
    with opened_observers(events=values["events"], is_quiet=True) as observers:
        folder = Folder(values["out"], signature, (FIGURES, SUMMARY, PLOT))
        with contextlib.closing(folder):
            tell_left_out(bad)
            result = _run(call, folder, settings, observers, len(study.cells), is_quiet=is_quiet)
            _told(study, result, folder, bad, is_json=values["as_json"], is_quiet=is_quiet)
    return FAILED if bad else OK


def tell_left_out(bad: Sequence[str]) -> None:
    """Tell of the rows that are no questions."""
    for each in bad[:_MOST_TOLD]:
        note(f"left out: {each}")
    if len(bad) > _MOST_TOLD:
        note(f"... and {counted(len(bad) - _MOST_TOLD, 'row')} more")


class _Keeper:
    """Writes down which run it is before it asks anything, and counts attempts."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
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
            if event.operation == ATTEMPT:
                self.num_done += 1
                self.on_attempt(self.num_done)


def _run(
    call: Ref[Any],
    folder: Folder,
    settings: Settings,
    observers: list[Observer],
    total: int,
    *,
    is_quiet: bool,
) -> Result[Any]:
    from motet.runtime.running import arun

    keeper = _Keeper(folder)
    is_new = folder.run_id is None
    if not is_new and not is_quiet:
        note(f"{folder.path} holds a study; going on with it")

    async def work() -> Result[Any]:
        return await arun(
            call,
            store=folder.store,
            cache=False,
            resume=folder.run_id,
            observers=[keeper, *observers],
            max_concurrency=settings.max_concurrency,
            patience_s=PATIENCE_S,
        )

    try:
        with _shown(keeper, total, is_quiet=is_quiet):
            return run_interruptibly(work(), lambda: "the same command, started again")
    except asyncio.CancelledError:
        if keeper.error is not None:
            raise keeper.error from None
        raise CommandError(
            f"interrupted: {keeper.num_done} of {counted(total, 'attempt')} are kept",
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
                f"{keeper.num_done} of {counted(total, 'attempt')} are kept; "
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


def _told(
    study: Study,
    result: Result[Any],
    folder: Folder,
    bad: Sequence[str],
    *,
    is_json: bool,
    is_quiet: bool,
) -> None:
    """Write the files of the study, and print its table or its summary."""
    from motet.programs.frontier import figures_of, points_of
    from motet.programs.frontier.plot import frontier_svg

    figures = figures_of(study, result.value)
    points = points_of(figures)
    summary = {
        "task": study.task,
        "num_questions": len(study.questions),
        "num_rows_left_out": len(bad),
        "num_seeds": study.num_seeds,
        "drawing": asdict(study.drawing),
        "points": [asdict(point) for point in points],
        "usage": asdict(result.usage),
        "run_id": result.run_id,
    }
    folder.write(FIGURES, "".join(as_json(asdict(figure)) + "\n" for figure in figures))
    folder.write(SUMMARY, json.dumps(json.loads(as_json(summary)), indent=2) + "\n")
    title = f"{study.task}: {counted(len(study.questions), 'question')}"
    if study.num_seeds > 1:
        title += f", {study.num_seeds} seeds"
    folder.write(PLOT, frontier_svg(points, title=title))
    if is_json:
        write(as_json(summary))
    else:
        show_table(COLUMNS, [shown_point(point) for point in points])
    if not is_quiet:
        note(f"{counted(len(figures), 'attempt')}  {shown_usage(result.usage, result.cost, None)}")
        unanswered = sum(point.num_unanswered for point in points)
        if unanswered:
            note(f"{unanswered} of them state no answer; {folder.path / FIGURES} says why")
        note(f"{FIGURES}, {SUMMARY} and {PLOT} are in {folder.path}")


COLUMNS = [
    "METHOD", "BUDGET", "ACCURACY", "95%", "GAIN", "95%", "TOKENS", "SCORES", "SECONDS",
    "NO ANSWER",
]  # fmt: skip


def shown_point(point: Point) -> list[str]:
    """A point's row of the table: percents, and means of an attempt."""
    gain = point.gain
    return [
        point.method,
        f"{point.budget}",
        f"{100 * point.accuracy.mean:.1f}",
        bounds(point.accuracy),
        "-" if gain is None else f"{100 * gain.mean:+.1f}",
        "-" if gain is None else bounds(gain, "+"),
        f"{point.tokens:.0f}",
        f"{point.scores:.1f}",
        "-" if point.wall_s is None else f"{point.wall_s:.2f}",
        f"{point.num_unanswered}",
    ]


def bounds(interval: Interval, sign: str = "") -> str:
    """The ends of an interval, in percent."""
    return f"{100 * interval.low:{sign}.1f} to {100 * interval.high:{sign}.1f}"

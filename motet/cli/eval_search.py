"""`motet eval search`: the folder of a study, its run, its table."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet.cli.executing import PATIENCE_S, opened_observers, run_interruptibly
from motet.cli.failures import FAILED, INTERRUPTED, OK, CommandError
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
from motet.errors import ReplayMismatchError, RunFailedError
from motet.events import CallFinished, Event, RunStarted

if TYPE_CHECKING:
    from motet.events import Observer
    from motet.programs.frontier import Interval, Point, Study
    from motet.refs import Ref
    from motet.runtime.result import Result

_DRAWING = ("step_tokens", "answer_tokens", "temperature")
_STATE, _STORE = "study.json", "runs.db"
ATTEMPT = "motet.programs.frontier.attempts:attempt"
FIGURES, SUMMARY, PLOT = "figures.jsonl", "summary.json", "frontier.svg"


def search_command(values: dict[str, Any]) -> int:
    """Make a study of a command's values, or go on with it; print its table."""
    from motet.programs.frontier import Drawing, Study, find_task, read_questions, study_call

    if not values["budgets"]:
        raise CommandError("no budget is given", "give --budgets TOKENS, more than once for more")
    task = find_task(values["task"])
    study = Study(
        task=task.name,
        questions=read_questions(values["taskfile"], task, limit=values["limit"]),
        algorithms=tuple(text.strip() for text in values["algorithms"] or ()),
        budgets=tuple(values["budgets"]),
        num_seeds=values["seeds"],
        drawing=Drawing(**{name: values[name] for name in _DRAWING}),
    )
    settings = read_settings(model=values["model"], max_concurrency=values["max_concurrency"])
    scorer, judge = values["scorer"], values["judge"]
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
    folder = Folder(values["out"], signature)
    is_quiet = values["quiet"]
    with opened_observers(events=values["events"], is_quiet=True) as observers:
        result = _run(call, folder, settings, observers, len(study.cells), is_quiet=is_quiet)
    return _told(study, result, folder, is_json=values["as_json"], is_quiet=is_quiet)


class Folder:
    """Where a study is kept: its run, and what came of it."""

    def __init__(self, path: str, signature: dict[str, Any]) -> None:
        """Open or make the folder.

        Raises:
            CommandError: It cannot be written, or was begun with other settings.
        """
        self.path = Path(path)
        self._signature = signature
        self.run_id: str | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            kept = json.loads((self.path / _STATE).read_text(encoding="utf-8"))
            before, run_id = kept["signature"], kept["run_id"]
        except FileNotFoundError:
            return
        except OSError as exc:
            raise CommandError(f"--out {path} cannot be used: {exc.strerror}") from None
        except (ValueError, KeyError, TypeError):
            raise CommandError(
                f"{self.path / _STATE} is no state of `motet eval search`", "remove it"
            ) from None
        for name, value in signature.items():
            if before.get(name) != value:
                raise CommandError(
                    f"{path} was begun with {name} {_cut(before.get(name))}, not {_cut(value)}",
                    "give the same as then, or another --out",
                )
        self.run_id = run_id

    @property
    def store(self) -> str:
        return str(self.path / _STORE)

    def begin(self, run_id: str) -> None:
        """Remember the run that is to be gone on with."""
        self.run_id = run_id
        self.write(_STATE, json.dumps({"signature": self._signature, "run_id": run_id}))

    def write(self, name: str, text: str) -> None:
        """Put a file in the place of what was there.

        Raises:
            CommandError: There is no room.
        """
        scratch = self.path / f"{name}.new"
        try:
            scratch.write_text(text, encoding="utf-8")
            os.replace(scratch, self.path / name)  # noqa: PTH105
        except OSError as exc:
            with contextlib.suppress(OSError):
                scratch.unlink()
            raise CommandError(
                f"{self.path / name} cannot be written: {exc.strerror}",
                "make room and start the same command again: it goes on",
                code=FAILED,
            ) from exc


def _cut(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class _Keeper:
    """Writes down which run it is before it asks anything, and counts attempts."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.num_done = 0
        self.error: CommandError | None = None
        self.on_attempt: Callable[[int], None] = lambda num_done: None

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted) and self._folder.run_id != event.run_id:
            try:
                self._folder.begin(event.run_id)
            except CommandError as exc:
                self.error = exc
        elif isinstance(event, CallFinished) and event.operation == ATTEMPT:
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
    if folder.run_id is not None and not is_quiet:
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
            result = run_interruptibly(work(), lambda: None)
    except asyncio.CancelledError:
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
    except RunFailedError:
        note(
            f"{keeper.num_done} of {counted(total, 'attempt')} are kept; "
            "the same command goes on with them"
        )
        raise
    if keeper.error is not None:
        raise keeper.error
    return result


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
    study: Study, result: Result[Any], folder: Folder, *, is_json: bool, is_quiet: bool
) -> int:
    """Write the files of the study, and print its table or its summary."""
    from motet.programs.frontier import figures_of, points_of
    from motet.programs.frontier.plot import frontier_svg

    figures = figures_of(study, result.value)
    points = points_of(figures)
    summary = {
        "task": study.task,
        "num_questions": len(study.questions),
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
    return OK


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
        _bounds(point.accuracy),
        "-" if gain is None else f"{100 * gain.mean:+.1f}",
        "-" if gain is None else _bounds(gain, "+"),
        f"{point.tokens:.0f}",
        f"{point.scores:.1f}",
        "-" if point.wall_s is None else f"{point.wall_s:.2f}",
        f"{point.num_unanswered}",
    ]


def _bounds(interval: Interval, sign: str = "") -> str:
    return f"{100 * interval.low:{sign}.1f} to {100 * interval.high:{sign}.1f}"

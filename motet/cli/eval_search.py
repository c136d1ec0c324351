"""`motet eval search`: a study's run and its table."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from motet.cli.eval_folder import Folder
from motet.cli.eval_running import Work, run_in_folder, tell_left_out
from motet.cli.executing import opened_observers
from motet.cli.failures import FAILED, OK, CommandError
from motet.cli.settings import read_settings
from motet.cli.terminal import as_json, counted, note, show_table, shown_usage, write

if TYPE_CHECKING:
    from motet.programs.frontier import Interval, Point, Study
    from motet.runtime.result import Result

_DRAWING = ("step_tokens", "answer_tokens", "temperature")
JUDGED = ("self", "grade")
"""Scorers that ask a model."""
COMMAND = "motet eval search"
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
        folder = Folder(values["out"], signature, (FIGURES, SUMMARY, PLOT), COMMAND)
        with contextlib.closing(folder):
            tell_left_out(bad)
            work = Work(call=call, attempt=ATTEMPT, total=len(study.cells))
            result = run_in_folder(work, folder, settings, observers, is_quiet=is_quiet)
            _told(study, result, folder, bad, is_json=values["as_json"], is_quiet=is_quiet)
    return FAILED if bad else OK


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

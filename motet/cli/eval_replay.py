"""`motet eval replay`: what selectors and searches make of recorded solutions."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from motet.cli.eval_folder import write_file
from motet.cli.eval_running import tell_left_out
from motet.cli.eval_search import FIGURES, PLOT, SUMMARY, bounds
from motet.cli.failures import FAILED, OK, CommandError
from motet.cli.terminal import as_json, counted, note, show_table, write
from motet.errors import ConfigError

_EVALUATOR_HINT = "name one by --evaluator NAME"
COLUMNS = ["METHOD", "SOLUTIONS", "ACCURACY", "95%", "GAIN", "95%", "SCORES"]


def replay_command(values: dict[str, Any]) -> int:
    """Replay a file; print the table. Exit with 1 where rows were left out."""
    from motet.programs.frontier.plot import SCORES, SOLUTIONS, frontier_svg
    from motet.programs.frontier.points import points_of
    from motet.programs.frontier.recorded import UNNAMED, read_recorded
    from motet.programs.frontier.replay import ONE, replayed

    bad: list[str] = []
    try:
        problems = read_recorded(
            values["file"],
            limit=values["limit"],
            evaluator=values["evaluator"],
            aggregate=values["aggregate"],
            on_bad_row=bad.append,
        )
    except ConfigError as exc:
        if UNNAMED not in str(exc):
            raise
        raise CommandError(str(exc), _EVALUATOR_HINT) from exc
    figures = replayed(problems, budgets=values["budgets"] or None, num_seeds=values["seeds"])
    points = points_of(figures, base=ONE)
    tell_left_out(bad)
    if any(UNNAMED in each for each in bad):
        note(f"hint: {_EVALUATOR_HINT}")
    summary = {
        "num_questions": len(problems),
        "num_rows_left_out": len(bad),
        "num_seeds": values["seeds"],
        "points": [asdict(point) for point in points],
    }
    if values["out"] is not None:
        folder = Path(values["out"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise CommandError(f"--out {folder} cannot be used: {exc.strerror}") from None
        lines = [as_json(asdict(figure)) + "\n" for figure in figures]
        write_file(folder / FIGURES, "".join(lines))
        write_file(folder / SUMMARY, json.dumps(json.loads(as_json(summary)), indent=2) + "\n")
        title = f"{Path(values['file']).name}: {counted(len(problems), 'question')}"
        panels = (SOLUTIONS, SCORES)
        write_file(folder / PLOT, frontier_svg(points, title=title, base=ONE, panels=panels))
    if values["as_json"]:
        write(as_json(summary))
    else:
        rows = [
            [
                point.method,
                f"{point.budget}",
                f"{100 * point.accuracy.mean:.1f}",
                bounds(point.accuracy),
                "-" if point.gain is None else f"{100 * point.gain.mean:+.1f}",
                "-" if point.gain is None else bounds(point.gain, "+"),
                f"{point.scores:.1f}",
            ]
            for point in points
        ]
        show_table(COLUMNS, rows)
    if not values["quiet"]:
        note(f"{counted(len(problems), 'question')}; no model was asked")
    return FAILED if bad else OK

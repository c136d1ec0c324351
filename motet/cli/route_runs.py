"""Tables of outcomes from motet's own runs, and from what `motet eval` found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet.cli.failures import CommandError
from motet.cli.route_options import token_prices
from motet.cli.stores import find_run, opened_store
from motet.cli.terminal import counted, note

if TYPE_CHECKING:
    from motet.programs.run_outcomes import Harvest
    from motet.routing.outcomes import Outcomes
    from motet.store import Store

_MOST_RUNS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FromRuns:
    """Which runs teach, and what their answers were worth."""

    which: str
    """`all`, a date from which on, or ids with commas between them."""
    store: str | None
    scores: str | None
    scored_by: Sequence[str]
    score_range: str | None
    token_prices: Sequence[str]


def outcomes_of_runs(wanted: FromRuns) -> Outcomes:
    """Read the runs, and tell what was left out.

    Raises:
        CommandError: An option is wrong, or there is no store.
        DataError: The runs cannot teach a router.
    """
    from motet.cli.settings import read_settings
    from motet.programs.run_outcomes import SCORED_BY, outcomes_from_store
    from motet.routing.score_files import read_scores

    scores = None if wanted.scores is None else read_scores(wanted.scores)
    prices = token_prices(wanted.token_prices)
    score_range = _range(wanted.score_range)
    since = _date(wanted.which)

    async def work(store: Store) -> tuple[int, Harvest]:
        ids = await _ids(store, wanted.which, since)
        found = await outcomes_from_store(
            store,
            ids,
            scores=scores,
            scored_by=tuple(wanted.scored_by) or SCORED_BY,
            score_range=score_range,
            prices=prices,
        )
        return len(ids), found

    with opened_store(read_settings(store=wanted.store)) as store:
        num_runs, found = asyncio.run(work(store))
    left_out = told_left_out(found.left_out)
    note(
        f"{counted(found.num_answers, 'answer')} with a score in {counted(num_runs, 'run')}{left_out}"
    )
    return found.outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class FromEval:
    """A folder of `motet eval`, and the task that it was of."""

    folder: str
    task: str | None
    data: str | None


def outcomes_of_eval(wanted: FromEval) -> Outcomes:
    """Read what an evaluation found, and tell what was left out.

    Raises:
        CommandError: No task is named.
        ConfigError: The task is none.
        DataError: The figures cannot teach a router.
    """
    from motet.evaluation.task_files import read_task
    from motet.routing.figure_outcomes import outcomes_from_figures

    if wanted.task is None:
        raise CommandError("--from-eval needs the prompts", "name the task's file by --task TASK")

    def unasked(text: str) -> Callable[..., Any]:
        return lambda *_: None  # nothing is scored here, so no foreign code is loaded

    file = read_task(
        wanted.task, data=wanted.data, find_function=unasked, on_bad_row=lambda _: None
    )
    prompts = {row.id: row.prompt for row in file.task.rows}
    found = outcomes_from_figures(Path(wanted.folder) / "figures.jsonl", prompts)
    note(f"{counted(found.num_attempts, 'attempt')}{told_left_out(found.left_out)}")
    return found.outcomes


def told_left_out(left_out: Mapping[str, int]) -> str:
    """Return `; left out: 3 no score`, or nothing."""
    shown = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))
    return f"; left out: {shown}" if shown else ""


async def _ids(store: Store, which: str, since: float | None) -> list[str]:
    if which != "all" and since is None:
        names = [name.strip() for name in which.split(",")]
        if not all(names):
            raise CommandError(
                f"--from-runs is {which!r}; write all, a date such as 2026-11-01, or ids with "
                "commas between them"
            )
        return list(dict.fromkeys([(await find_run(store, name)).run_id for name in names]))
    runs = await store.list_runs(limit=_MOST_RUNS)
    found = [run.run_id for run in runs if since is None or run.created_at >= since]
    if not found:
        raise CommandError(
            "the store holds no runs" + ("" if since is None else f" since {which}"),
            "name another by --store PATH",
        )
    return found[::-1]


def _date(text: str) -> float | None:
    """Return a date as Unix seconds, local time where it names no zone; None of another text."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _range(text: str | None) -> tuple[float, float]:
    if text is None:
        return 0.0, 1.0
    low, mark, high = text.partition(":")
    try:
        found = float(low), float(high)
        if not mark or not found[0] < found[1]:
            raise ValueError
    except ValueError:
        raise CommandError(f"--score-range is {text!r}; write LOW:HIGH, such as 1:5") from None
    return found

"""`motet eval TASK`: a study's run, its table and its page."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet.cli.eval_checking import refuse_wrong_settings
from motet.cli.eval_contenders import read_contenders, split_settings
from motet.cli.eval_folder import DIGEST_OF, Folder
from motet.cli.eval_running import Work, run_in_folder, tell_left_out
from motet.cli.executing import opened_observers
from motet.cli.failures import BUDGET, FAILED, LIMIT_OPTION, OK, CommandError, describe
from motet.cli.loading import find_function
from motet.cli.settings import read_settings
from motet.cli.terminal import as_json, counted, note, one_line, show_table, shown_usage, write
from motet.digest import digest_bytes
from motet.errors import BudgetExhaustedError, ConfigError, RunFailedError
from motet.search.settings import whole

if TYPE_CHECKING:
    from motet.cli.settings import Settings
    from motet.evaluation.report import Report
    from motet.evaluation.task import Contender, Metric, Task
    from motet.evaluation.task_files import TaskFile
    from motet.model import Model
    from motet.programs.frontier.points import Interval
    from motet.runtime.result import Result

Table = tuple[list[str], list[list[str]]]
"""Columns and rows; the first column has names."""
COMMAND = "motet eval"
FIGURES, REPORT, PAGE = "figures.jsonl", "report.json", "report.html"
_SETTINGS = (
    "data", "price_prompt", "price_completion", "budget_tokens", "budget_calls", "budget_cost",
    "timeout", "max_concurrency", "seed",
)  # fmt: skip
_JUDGED = ("judge", "pairwise")
"""Metrics that ask a model."""
_WHOLE = {
    "num_rows": "-n", "seeds": "--seeds", "max_tokens": "--max-tokens",
    "sample_tokens": "--sample-tokens", "max_samples": "--max-samples",
    "concurrency": "--concurrency",
}  # fmt: skip
"""Values that are whole numbers from 1, and the options that give them."""
_MOST_SAID = 300
"""Characters of a sentence on failures."""
_MATCHING = ("match", "max_tokens", "temperature", "max_samples", "sample_tokens")


def task_command(values: dict[str, Any]) -> int:
    """Make a study of a command's values, or go on with it; print its table."""
    from motet.evaluation.study import ATTEMPT, cells_of, study_call

    if values["task"] is None:
        raise CommandError("no task is named", "give a task file, JSON lines or a data set's name")
    for name, option in _WHOLE.items():
        if values[name] is not None:
            whole(option, values[name])
    settings = read_settings(**{name: values[name] for name in _SETTINGS})
    bad: list[str] = []
    file = _read(values, settings, bad)
    task, programs = file.task, values["programs"] or _programs(file, values["task"])
    if not programs:
        raise CommandError(
            "no program is named", "give --program; `motet list` shows those built in"
        )
    if values["max_tokens"] is None:
        values["max_tokens"] = file.attempt_tokens
    own, foreign = settings.make_model, _foreign(settings)
    models = values["models"] or file.models or [settings.model]
    contenders = read_contenders(
        programs,
        _models(models, own if values["models"] or not file.models else foreign),
        own if values["programs"] else foreign,
    )
    call = study_call(
        task,
        contenders,
        num_seeds=values["seeds"],
        concurrency=values["concurrency"],
        **{name: values[name] for name in _MATCHING},
    )
    work = Work(call=call, attempt=ATTEMPT, total=len(cells_of(task, contenders, values["seeds"])))
    signature = _signature(values, task, contenders, settings)
    budget = settings.budget or file.budget
    if values["out"] is None:
        raise CommandError(
            "no folder for the report is named",
            "give --out FOLDER, where the report and the run are kept",
        )
    is_quiet = values["quiet"]
    with opened_observers(events=values["events"], is_quiet=True) as observers:
        folder = Folder(values["out"], signature, (FIGURES, REPORT, PAGE), COMMAND)
        with contextlib.closing(folder):
            tell_left_out(bad)
            if folder.run_id is None:
                refuse_wrong_settings(contenders, task)
            with _budget_of_file(values["task"] if settings.budget is None else None):
                result = run_in_folder(
                    work,
                    folder,
                    settings,
                    observers,
                    is_quiet=is_quiet,
                    seed=settings.seed,
                    budget=budget,
                )
            _tell(task, contenders, result, folder, values, num_left_out=len(bad))
    return FAILED if bad else OK


@contextlib.contextmanager
def _budget_of_file(path: str | None) -> Iterator[None]:
    """Name the file's setting where the budget that ends a run is the file's."""
    try:
        yield
    except RunFailedError as exc:
        cause = exc.__cause__
        if path is None or not isinstance(cause, BudgetExhaustedError):
            raise
        failure = describe(exc)
        raise CommandError(
            failure.message,
            f"raise {cause.limit} of budget in {path}, or give {LIMIT_OPTION[cause.limit]}; the "
            "same command goes on: what is finished is not paid for again",
            code=BUDGET,
        ) from exc


def _read(values: dict[str, Any], settings: Settings, bad: list[str]) -> TaskFile:
    from motet.evaluation.task_files import NO_DATA, NO_FOLDER, read_task

    is_typed = values["metric"] is not None
    is_own = is_typed or not values["task"].endswith(".toml")
    try:
        file = read_task(
            values["task"],
            data=settings.data,
            limit=values["num_rows"],
            metric=_metric(values, settings),
            make_model=settings.make_model if is_own else _foreign(settings),
            find_function=partial(_function, Path() if is_typed else Path(values["task"]).parent),
            on_bad_row=bad.append,
        )
    except ConfigError as exc:
        if NO_DATA not in str(exc) and NO_FOLDER not in str(exc):
            raise
        raise CommandError(str(exc), "name it by --data FOLDER or MOTET_DATA") from exc
    if values["judge"] is None or values["metric"] is not None:
        return file
    return replace(file, task=_judged(file.task, settings.make_model(values["judge"])))


def _function(folder: Path, text: str) -> Callable[..., Any]:
    found: Callable[..., Any] = find_function(str(folder / text))
    return found


def _metric(values: dict[str, Any], settings: Settings) -> str | Metric | None:
    """Return what `--metric` and `--judge` say together."""
    from motet.evaluation.metric_files import metric_of

    metric, judge = values["metric"], values["judge"]
    if metric in _JUDGED:
        if judge is None:
            raise CommandError(f"--metric {metric} needs a judge", "give --judge MODEL")
        return metric_of({"name": metric, "model": settings.make_model(judge)})
    if metric is not None and judge is not None:
        raise CommandError(f"--judge has no part where --metric is {metric}", "leave it out")
    given: str | None = metric
    return given


def _judged(task: Task, judge: Model) -> Task:
    """Return the task with another judge than its file names."""
    from motet.evaluation.judge_metrics import Judged, Preferred

    if not isinstance(task.metric, (Judged, Preferred)):
        raise CommandError(
            f"--judge has no part where the metric is {task.metric.name}",
            "leave it out, or give --metric judge",
        )
    return replace(task, metric=replace(task.metric, model=judge), digest="")


def _models(texts: Sequence[str], make_model: Callable[[str], Model]) -> dict[str, Model]:
    for text in texts:
        if list(texts).count(text) > 1:
            raise CommandError(f"--model names {text!r} twice")
    return {text: make_model(text) for text in texts}


def _foreign(settings: Settings) -> Callable[[str], Model]:
    """Return what makes models that a file names: they get no key of the user's."""
    return lambda text: settings.make_model(text, is_foreign=True)


def _programs(file: TaskFile, path: str) -> list[str]:
    """Return the programs of a task file; paths of Python files are relative to it."""
    folder = Path(path).parent
    found = []
    for text in file.programs:
        name = split_settings(text)[0]
        settings = text.strip().removeprefix(name)  # not as a path, which has no // as in a URL
        found.append(f"{folder / name}{settings}" if ".py:" in name else text)
    return found


def _signature(
    values: dict[str, Any], task: Task, contenders: Sequence[Contender], settings: Settings
) -> dict[str, Any]:
    """Return what a continuation must have the same; no secret is in it."""
    models = [each.model for each in contenders if each.model is not None]
    return {
        "task": task.name,
        "contenders": [each.name for each in contenders],
        "models": list(dict.fromkeys(model.identity for model in models)),
        "rows": len(task.rows),
        "metric": task.metric.name,
        "judge": values["judge"],
        "instruction": task.instruction,
        "inputs": dict(task.inputs),
        f"{DIGEST_OF}rows and metric": task.digest,
        "seeds": values["seeds"],
        "seed": settings.seed,
        "price_prompt": settings.price_prompt,
        "price_completion": settings.price_completion,
        **{name: values[name] for name in _MATCHING},
        **_sources(task, contenders),
    }


def _sources(task: Task, contenders: Sequence[Contender]) -> dict[str, str]:
    """Return the digest of each Python file of the user's that a program or metric stands in."""
    functions = [each.program.function for each in contenders]
    functions += [own] if (own := getattr(task.metric, "function", None)) is not None else []
    modules = {function.__module__ for function in functions}
    found = {}
    for name in sorted(modules):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path is not None and name.partition(".")[0] != "motet":
            found[f"{DIGEST_OF}{Path(path).name}"] = digest_bytes(Path(path).read_bytes())
    return found


def _tell(
    task: Task,
    contenders: Sequence[Contender],
    result: Result[Any],
    folder: Folder,
    values: dict[str, Any],
    *,
    num_left_out: int,
) -> None:
    """Write the files of the study, and print its table or its report."""
    from motet.evaluation.html import report_html
    from motet.evaluation.report_files import report_json
    from motet.evaluation.reporting import report_of
    from motet.evaluation.verdicts import reasons_of, verdicts_of

    report = report_of(task, contenders, result, match=values["match"], num_left_out=num_left_out)
    figures = result.value
    shown = report_json(report)
    folder.write(FIGURES, "".join(as_json(asdict(figure)) + "\n" for figure in figures))
    folder.write(REPORT, shown)
    folder.write(PAGE, report_html(report, figures, task.rows))
    if values["as_json"]:
        write(as_json(asdict(report)))
    else:
        show_fitting(lambda digits: table_of(report, digits=digits))
        for sentence in legend_of(report):
            note(sentence)
    for sentence in () if values["as_json"] and values["quiet"] else reasons_of(figures):
        note(one_line(sentence, _MOST_SAID))
    if values["quiet"]:
        return
    for sentence in verdicts_of(report):
        note(sentence)
    num_own = sum(not figure.is_matched for figure in figures)
    note(f"{counted(num_own, 'attempt')}  {shown_usage(result.usage, result.cost, None)}")
    note(f"{PAGE}, {REPORT} and {FIGURES} are in {folder.path}")


def legend_of(report: Report) -> list[str]:
    """Return what explains columns and cells of the table."""
    said = []
    if any(line.matched is not None for line in report.lines):
        said.append("VOTES: accuracy of self-consistency of the same compute; GAIN: over it")
    if any(line.own.wall_s is None for line in report.lines):
        said.append("SECONDS -: every attempt was cut in two when the command ended and went on")
    return said


def table_of(report: Report, *, digits: int = 1) -> Table:
    """Return the columns and rows of the terminal's table, without columns that say nothing.

    Args:
        report: What is shown.
        digits: Of the ends of intervals.
    """
    from motet.evaluation.html import missing_reasons
    from motet.evaluation.money import money

    lines = report.lines
    reasons = missing_reasons(lines)
    columns = ["CONTENDER", "ACCURACY", "95%"]
    has_matched = any(line.matched is not None for line in lines)
    has_cost = any(line.own.cost for line in lines)
    columns += ["VOTES", "GAIN", "95%"] if has_matched else []
    columns += ["LEAD", "95%"] if len(lines) > 1 else []
    columns += ["TOKENS", *(["COST"] if has_cost else []), "SECONDS"]
    columns += [reason.upper() for reason in reasons]
    rows = []
    for line in lines:
        own, matched = line.own, line.matched
        cells = [line.name, *interval_cells(own.judged, digits=digits)]
        if has_matched:
            cells.append("-" if matched is None else f"{100 * matched.accuracy.mean:.1f}")
            cells += interval_cells(line.gain, "+", digits=digits)
        if len(lines) > 1:
            cells += interval_cells(line.lead, "+", digits=digits)
        cells += [f"{own.tokens:.0f}", *([money(own.cost)] if has_cost else [])]
        cells.append("-" if own.wall_s is None else f"{own.wall_s:.2f}")
        rows.append([*cells, *(str(own.missing.get(reason, 0)) for reason in reasons)])
    return columns, rows


def show_fitting(make_table: Callable[[int], Table]) -> None:
    """Write a table; where the terminal is too narrow for it, with numbers in place of names.

    Args:
        make_table: Makes it, with so many digits of the ends of intervals.
    """
    columns, rows = make_table(1)
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    is_narrow = sum(widths) + 2 * len(widths) > shutil.get_terminal_size().columns
    if not (sys.stdout.isatty() and is_narrow):
        show_table(columns, rows)
        return
    columns, rows = make_table(0)
    numbered = [[str(at), *row[1:]] for at, row in enumerate(rows, 1)]
    show_table(["", *columns[1:]], numbered)
    for at, row in enumerate(rows, 1):
        write(f"{at}  {one_line(row[0], 500)}")


def interval_cells(interval: Interval | None, sign: str = "", *, digits: int = 1) -> list[str]:
    """Return a mean and its interval in percent, as two cells."""
    if interval is None:
        return ["-", "-"]
    low, high = (f"{100 * end:{sign}.{digits}f}" for end in (interval.low, interval.high))
    return [f"{100 * interval.mean:{sign}.1f}", f"{low} to {high}"]

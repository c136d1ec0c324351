"""Tasks from files: TOML that says all, plain JSON lines, and data sets by name."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from motet.budget import LIMITS, Budget
from motet.errors import ConfigError, DataError
from motet.evaluation.metric_files import metric_of
from motet.evaluation.metrics import check_metric
from motet.evaluation.names import hint
from motet.evaluation.row_files import Form, Rows, rows_of
from motet.evaluation.task import ROW_FIELDS, Metric, Task
from motet.grading.datasets import _READERS, read_rows
from motet.grading.datasets_code import CODE_READERS
from motet.grading.rows import Row
from motet.model import Model
from motet.programs.frontier.rows import BadRowError, cut, read_row
from motet.programs.frontier.rows import read_rows as read_lines
from motet.search.settings import whole

KEYS: Final = (
    "name", "rows", "dataset", "kind", "fields", "instruction", "inputs", "metric", "programs",
    "models", "budget", "limit", "attempt_tokens",
)  # fmt: skip
"""Of a task's TOML file."""
NO_DATA: Final = "no data folder is given"
"""In the error of a data set, by which a command knows what to advise."""
NO_FOLDER: Final = "no folder of data sets"
"""In the error of a data folder that is not there, or lacks the data set."""
_STATE = "End with a line of the form: The answer is "
INSTRUCTIONS: Final = {
    "choice": f"{_STATE}(X), where X is the letter of an option.",
    "number": f"{_STATE}<number>.",
    "maths": f"{_STATE}<answer>.",
    "plain": f"{_STATE}<answer>.",
    "literal": f"{_STATE}<value>, with the value as Python writes it.",
}
"""Of rows of a kind, where a task gives none; the other kinds have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    """A task as its file says it, and what else the file says."""

    task: Task
    left_out: tuple[str, ...] = ()
    """What is wrong with each row that was left out."""
    programs: tuple[str, ...] = ()
    """Names of programs, as a command takes them."""
    models: tuple[str, ...] = ()
    """URLs."""
    budget: Budget | None = None
    """Of the whole run."""
    attempt_tokens: int | None = None
    """Most tokens of an attempt."""


def datasets() -> tuple[str, ...]:
    """Names of the data sets that can be read from a data folder."""
    return tuple(sorted([*_READERS, *CODE_READERS]))


def read_task(
    source: str | Path,
    *,
    data: str | Path | None = None,
    limit: int | None = None,
    metric: str | Metric | None = None,
    make_model: Callable[[str], Model] = Model,
    find_function: Callable[[str], Callable[..., Any]] | None = None,
    on_bad_row: Callable[[str], None] | None = None,
) -> TaskFile:
    """Read a task: a TOML file, a file of JSON lines (`.jsonl`, `.jsonl.gz`), or a data set's name.

    Args:
        source: Of the task.
        data: The folder that holds data sets, a folder each.
        limit: Most rows; None for all, or as many as the file says.
        metric: Instead of the task's own: a name of `motet.evaluation.metrics`, or `FILE.py:NAME`.
        make_model: Makes the judge of its URL.
        find_function: Finds a metric of one's own by `FILE.py:NAME`; None refuses them.
        on_bad_row: Told of each row that is none, which is left out; None refuses the task for the
            first.

    Raises:
        ConfigError: A setting is unknown or wrong; names it and its value.
        DataError: A file holds no rows, or one that is none; names its place.
    """
    if limit is not None:
        whole("limit", limit)
    path = Path(source)
    settings: dict[str, Any] = {}
    if path.suffix == ".toml":
        settings = _settings(path)
    elif path.name.endswith((".jsonl", ".jsonl.gz")) or _is_file(path):
        settings = {"rows": path.name}
    elif str(source) in datasets():
        settings = {"dataset": str(source)}
    else:
        raise ConfigError(
            f"task is {cut(str(source))}, which is no file and no data set; {hint(source, datasets())}"
        )
    _check(settings, path)
    given = settings.get("limit") if limit is None else limit
    chosen = metric if metric is not None else settings.get("metric", "auto")
    scored_by = metric_of(chosen, make_model=make_model, find_function=find_function)
    rows = _rows(
        settings, path, data, given, on_bad_row, lambda row: check_metric(scored_by, (row,))
    )
    task = Task(
        name=settings.get("name", path.name.removesuffix(".gz").rpartition(".")[0] or path.name),
        rows=rows.rows,
        metric=scored_by,
        instruction=settings.get("instruction", default_instruction(rows.rows)),
        inputs=settings.get("inputs", {}),
        extras=rows.extras,
    )
    check_metric(task.metric, task.rows)
    budget = settings.get("budget")
    return TaskFile(
        task=task,
        left_out=rows.left_out,
        programs=tuple(settings.get("programs", ())),
        models=tuple(settings.get("models", ())),
        budget=None if budget is None else Budget(**budget),
        attempt_tokens=settings.get("attempt_tokens"),
    )


def default_instruction(rows: tuple[Row, ...]) -> str:
    """Return what says how answers to rows are to be stated; empty where it does not matter."""
    kinds = {row.kind for row in rows}
    if len(kinds) == 1:
        return INSTRUCTIONS.get(next(iter(kinds)), "")
    return INSTRUCTIONS["plain"] if kinds & set(INSTRUCTIONS) else ""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _settings(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror or exc}") from None
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} is no TOML: {exc}") from None


def _check(settings: Mapping[str, Any], path: Path) -> None:
    """Refuse settings that are unknown or of a wrong type."""
    for key, value in settings.items():
        if key not in KEYS:
            raise ConfigError(f"{path} has {key!r}, which is no setting; {hint(key, KEYS)}")
        if key in ("name", "dataset", "instruction") and not isinstance(value, str):
            raise ConfigError(f"{path}: {key} is {cut(value)}; it must be a text")
        if key in ("name", "dataset") and not value:
            raise ConfigError(f"{path}: {key} is ''; it must be some text")
        if key in ("programs", "models"):
            are_texts = isinstance(value, list) and all(isinstance(v, str) and v for v in value)
            if not are_texts:
                raise ConfigError(f"{path}: {key} is {cut(value)}; it must be a list of texts")
        if key in ("fields", "inputs", "budget") and not isinstance(value, dict):
            raise ConfigError(f"{path}: {key} is {cut(value)}; it must be a table")
        if key in ("limit", "attempt_tokens"):
            whole(f"{path}: {key}", value)
    for name, field in settings.get("inputs", {}).items():
        if not isinstance(field, str) or not field:
            raise ConfigError(f"{path}: inputs says {name} = {cut(field)}; it must be a field")
    for name in settings.get("budget", {}):
        if name not in LIMITS:
            raise ConfigError(f"{path}: budget has {name!r}; {hint(name, LIMITS)}")
    if ("rows" in settings) == ("dataset" in settings):
        how = "both rows and dataset" if "rows" in settings else "neither rows nor dataset"
        raise ConfigError(f"{path} has {how}; it must have one of them")
    for name in ("fields", "kind"):
        if name in settings and "dataset" in settings:
            raise ConfigError(f"{path}: {name} has no part where dataset is given; leave it out")


def _rows(
    settings: Mapping[str, Any],
    path: Path,
    data: str | Path | None,
    limit: int | None,
    on_bad_row: Callable[[str], None] | None,
    check: Callable[[Row], None],
) -> Rows:
    extras = tuple(
        dict.fromkeys(
            each for each in settings.get("inputs", {}).values() if each not in ROW_FIELDS
        )
    )
    if "dataset" in settings:
        return _dataset(settings["dataset"], data, limit, extras)
    form = Form(fields=settings.get("fields", {}), kind=settings.get("kind"), extras=extras)
    given = settings["rows"]
    if isinstance(given, str) and given:
        file = path.parent / given
        return rows_of(
            _lines(file), form, source=str(file), limit=limit, on_bad_row=on_bad_row, check=check
        )
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise ConfigError(f"{path}: rows is {cut(given)}; it must be a path or an array of tables")
    inline = ((f"row {number}", record) for number, record in enumerate(given, 1))
    return rows_of(inline, form, source=str(path), limit=limit, on_bad_row=on_bad_row, check=check)


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any] | BadRowError]]:
    for number, line in read_lines(path):
        try:
            yield f"line {number}", read_row(line)
        except BadRowError as exc:
            yield f"line {number}", exc


def _dataset(
    name: str, data: str | Path | None, limit: int | None, extras: tuple[str, ...]
) -> Rows:
    if name not in datasets():
        raise ConfigError(f"dataset is {name!r}; {hint(name, datasets())}")
    if data is None:
        raise ConfigError(f"dataset is {name!r}, and {NO_DATA}")
    if extras:
        raise ConfigError(f"inputs takes {extras[0]!r} of a row; {hint(extras[0], ROW_FIELDS)}")
    if not Path(data).is_dir():
        raise ConfigError(f"{data} is {NO_FOLDER}")
    try:
        rows = [replace(row, answers={}) for row in read_rows(data, name)[:limit]]
    except DataError as exc:
        if not isinstance(exc.__cause__, FileNotFoundError):
            raise
        raise ConfigError(
            f"{data} is {NO_FOLDER} with {name}: there is no {exc.__cause__.filename}"
        ) from exc
    ids: set[str] = set()
    for row in rows:
        if row.id in ids:
            raise DataError(f"data set {name} has the id {row.id!r} twice")
        ids.add(row.id)
    return Rows(rows=tuple(rows), extras={}, left_out=())

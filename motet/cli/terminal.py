"""What is written to the terminal: values to stdout, all else to stderr."""

from __future__ import annotations

import json
import shutil
import sys
from array import array
from typing import TYPE_CHECKING, Any, TextIO

from motet.observers.escaping import escaped, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from motet.engine import Usage

__all__ = [
    "as_json",
    "counted",
    "escaped",
    "fitted",
    "known_cost",
    "note",
    "one_line",
    "plain",
    "show_table",
    "shown_usage",
    "shown_value",
    "stderr_console",
    "summary_of",
    "write",
]


def stderr_console() -> Console:
    from rich.console import Console as RichConsole

    return RichConsole(stderr=True, highlight=False, markup=False)


def write(text: str, *, raw: bool = False, stream: TextIO | None = None) -> None:
    """Write `text` and a line end; on a terminal control characters are shown, not sent."""
    target = stream or sys.stdout
    if not raw and target.isatty():
        text = escaped(text)
    target.write(encodable(text + "\n", target))
    target.flush()


def encodable(text: str, stream: TextIO) -> str:
    """Replace what the stream's encoding lacks by escapes."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def note(text: str) -> None:
    """Tell the user something beside the value."""
    sys.stderr.write(encodable(escaped(text) + "\n", sys.stderr))
    sys.stderr.flush()


def plain(value: Any) -> Any:
    """Return `value` as JSON values; what is no data is shown by its repr."""
    from pydantic_core import to_json

    return json.loads(to_json(value, fallback=_dumped, inf_nan_mode="null", serialize_unknown=True))


def _dumped(value: Any) -> Any:
    """Numbers are a list of them, and a class that says itself how it is written is written so;
    any other shows its repr.
    """
    if isinstance(value, (range, array)):
        return list(value)
    kind: type = type(value)
    if not hasattr(kind, "__get_pydantic_core_schema__"):
        return repr(value)
    from motet.outputs import adapter

    return adapter(kind).dump_python(value, mode="json")


def as_json(value: Any) -> str:
    """Return `value` as one line of ASCII JSON."""
    return json.dumps(safe_plain(value))


def safe_plain(value: Any) -> Any:
    """As `plain`, for texts with lone surrogates too, which pydantic refuses."""
    if isinstance(value, str):
        return value
    try:
        return plain(value)
    except ValueError:
        if isinstance(value, dict):
            return {str(k): safe_plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [safe_plain(v) for v in value]
        return repr(value)


def shown_value(value: Any) -> str:
    """A text as it is, a value that sums itself up by its text, anything else as indented JSON."""
    if isinstance(value, str):
        return value
    if summary_of(value) is not None:
        return str(value)
    return json.dumps(safe_plain(value), indent=2, ensure_ascii=False)


def summary_of(value: Any) -> str | None:
    """What is told beside a search's solution; None for any other value."""
    solving = sys.modules.get("motet.programs.solve")
    if solving is None or not isinstance(value, solving.Solution):
        return None
    return str(value.summary())


def shown_usage(usage: Usage, cost: float, duration_s: float | None) -> str:
    """One line of what a run took."""
    from motet.evaluation.money import money
    from motet.observers.tree import shown_seconds

    parts = [
        counted(usage.calls, "call"),
        f"{counted(usage.tokens, 'token')} ({usage.prompt_tokens:,} in, {usage.completion_tokens:,} out)",
    ]
    if cost:
        parts.append(f"cost {money(cost, 6)}")
    if duration_s is not None:
        parts.append(shown_seconds(duration_s))
    return "  ".join(parts)


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def known_cost(cost: float, usage: Usage, *, is_priced: bool) -> float | None:
    """`cost`, or None where tokens were used whose price nobody gave."""
    return cost if cost or is_priced or not usage.tokens else None


def show_table(columns: list[str], rows: list[list[str]]) -> None:
    """Write a table to stdout; columns are parted by spaces, and cut to the terminal's width."""
    cells = [[one_line(cell, 500) for cell in row] for row in rows]
    table = [columns, *cells]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    for row in table:
        line = "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        write(fitted(line))


def fitted(line: str) -> str:
    """Cut `line` to the terminal's width; leave it whole where stdout is no terminal."""
    if not sys.stdout.isatty():
        return line
    most = max(20, shutil.get_terminal_size().columns)
    return line if len(line) <= most else line[: most - 3] + "..."

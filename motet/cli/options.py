"""Options of `run`, `plan` and `map`: those of every program, and those made of its signature."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from motet.cli.inputs import Input

_PREFIX = "input__"
POSITIONAL = "positional_input"
INPUTS, ENGINE, LIMITS, OUTPUT = "Inputs", "Model and engine", "Limits", "Output"


def _option(kind: Any, default: Any, *names: str, panel: str, doc: str, **more: Any) -> Any:
    option: Any = typer.Option(*names, help=doc, rich_help_panel=panel, **more)
    return Annotated[kind, option], default


PROGRAM_DOC = "A built-in program, file.py:name, or a graph file (plan.json)."
ENGINE_OPTIONS = {
    "model": _option(
        str | None, None, "--model", metavar="MODEL", panel=ENGINE,
        doc="Answers every prompt, and fills every required model input, that names no other. "
        "local:smollm2 (the default) or http://host:port/v1#name; also MOTET_MODEL.",
    ),
    "price_prompt": _option(
        float | None, None, "--price-prompt", panel=ENGINE, doc="Cost of a million prompt tokens.",
    ),
    "price_completion": _option(
        float | None, None, "--price-completion", panel=ENGINE,
        doc="Cost of a million completion tokens.",
    ),
    "operations": _option(
        list[str] | None, None, "--operations", metavar="FILE.PY", panel=ENGINE,
        doc="File whose operations a graph file may name; repeatable.",
    ),
}  # fmt: skip
LIMIT_OPTIONS = {
    "budget_tokens": _option(
        int | None, None, "--budget-tokens", panel=LIMITS,
        doc="Most prompt and completion tokens together.",
    ),
    "budget_calls": _option(
        int | None, None, "--budget-calls", panel=LIMITS, doc="Most model calls.",
    ),
    "budget_cost": _option(
        float | None, None, "--budget-cost", panel=LIMITS,
        doc="Most cost; needs --price-prompt and --price-completion.",
    ),
    "timeout": _option(
        float | None, None, "--timeout", panel=LIMITS, doc="Most seconds of the whole run.",
    ),
    "max_concurrency": _option(
        int | None, None, "--max-concurrency", panel=LIMITS,
        doc="Most requests in flight at one engine.",
    ),
}  # fmt: skip
RUN_OPTIONS = {
    "seed": _option(
        int | None, None, "--seed", panel=ENGINE, doc="Seeds of all calls derive from it.",
    ),
    "store": _option(
        str | None, None, "--store", metavar="PATH|URL|none", panel=ENGINE,
        doc="Where runs are kept, to be resumed and reused; also MOTET_STORE.",
    ),
    "no_cache": _option(
        bool, False, "--no-cache", panel=ENGINE, doc="Ask again what an earlier run has asked.",
    ),
    "events": _option(
        str | None, None, "--events", metavar="FILE", panel=OUTPUT,
        doc="Write every event there as a JSON line.",
    ),
    "quiet": _option(
        bool, False, "--quiet", "-q", panel=OUTPUT, doc="Show no progress and no summary.",
    ),
}  # fmt: skip
VALUE_OPTIONS = {
    "as_json": _option(
        bool, False, "--json", panel=OUTPUT,
        doc="Print one JSON object: value, usage, cost, run_id, duration_s.",
    ),
    "stream": _option(
        bool, False, "--stream", panel=OUTPUT,
        doc="Print the last stage's text as it is generated.",
    ),
    "raw": _option(
        bool, False, "--raw", panel=OUTPUT, doc="Leave control characters in what is printed.",
    ),
}  # fmt: skip
PLAN_OPTIONS = {
    "as_json": _option(
        bool, False, "--json", panel=OUTPUT, doc="Print the graph file that `motet run` takes.",
    ),
    "mermaid": _option(bool, False, "--mermaid", panel=OUTPUT, doc="Print a mermaid flowchart."),
    "dot": _option(bool, False, "--dot", panel=OUTPUT, doc="Print it in Graphviz's language."),
}  # fmt: skip
MAP_OPTIONS = {
    "output": _option(
        str | None, None, "--output", "-o", metavar="FILE", panel=OUTPUT,
        doc="Gets one JSON line a row, in order. Started again with the same file, the command "
        "goes on. Without it the lines go to stdout.",
    ),
    "concurrency": _option(int, 32, "--concurrency", panel=LIMITS, doc="Most rows at once."),
    "strict": _option(
        bool, False, "--strict", panel=LIMITS, doc="Stop at the first row that fails.",
    ),
    "force": _option(
        bool, False, "--force", panel=OUTPUT, doc="Begin the output anew; what it holds is lost.",
    ),
    "retry_failed": _option(
        bool, False, "--retry-failed", panel=OUTPUT,
        doc="Ask the output's failed rows again, and put the answers in their places.",
    ),
    "as_json": _option(
        bool, False, "--json", panel=OUTPUT, doc="Print a summary as one JSON object; needs -o.",
    ),
}  # fmt: skip


def rows_argument() -> dict[str, Any]:
    doc = "A file of JSON lines: objects of inputs, or texts for the first input. - is stdin."
    argument = typer.Argument(metavar="ROWS", help=doc, show_default=False)
    return {"rows": (Annotated[str, argument], "")}


def parameters_of(options: Mapping[str, Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function that takes `options` by name."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in options.items()
    ]


def program_argument(*, is_required: bool) -> dict[str, Any]:
    argument = typer.Argument(metavar="PROGRAM", help=PROGRAM_DOC, show_default=False)
    return {"program": (Annotated[str, argument], ... if is_required else "")}


def input_options(
    inputs: list[Input], reserved: set[str], *, default_model: str | None, has_positional: bool
) -> dict[str, Any]:
    """Return an option for each input, and an argument for the first that is a text."""
    made: dict[str, Any] = {}
    first = positional_input(inputs) if has_positional else None
    if first is not None:
        doc = f"{first.help or 'The first input.'} - reads stdin, @FILE reads a file."
        argument = typer.Argument(
            metavar=first.name.upper(), help=_escaped(doc), show_default=False
        )
        made[POSITIONAL] = (Annotated[str | None, argument], None)
    for entry in inputs:
        if is_default_model(entry):
            continue
        kind: Any = str | None
        names = [option_name(entry, reserved)]
        if entry.kind == "flag" and not entry.is_list:
            kind = bool | None
            names = [f"{names[0]}/--no-{names[0].removeprefix('--')}"]
        elif entry.is_list:
            kind = list[str] | None
        more = {} if kind == (bool | None) else {"metavar": entry.metavar}
        made[_PREFIX + entry.name] = _option(
            kind, None, *names, panel=INPUTS, doc=_doc(entry, default_model), **more
        )
    return made


def is_default_model(entry: Input) -> bool:
    """Whether `--model`, which every program has, gives this input."""
    return entry.name == "model" and entry.kind == "model" and not entry.is_list


def option_name(entry: Input, reserved: set[str]) -> str:
    name = entry.name.strip("_").replace("_", "-")
    return f"--input-{name}" if f"--{name}" in reserved else f"--{name}"


def positional_input(inputs: list[Input]) -> Input | None:
    """The first input that takes a text and is no list."""
    return next((i for i in inputs if i.kind == "text" and not i.is_list), None)


def given_texts(values: dict[str, Any]) -> dict[str, Any]:
    """Take the inputs out of a command's values: texts, lists of texts, and flags, by name."""
    names = [name for name in values if name.startswith(_PREFIX)]
    found = {name.removeprefix(_PREFIX): values.pop(name) for name in names}
    return {name: value for name, value in found.items() if value not in (None, [], ())}


def _doc(entry: Input, default_model: str | None) -> str:
    parts = [entry.help] if entry.help else []
    if entry.kind == "function":
        parts.append("A function, only from a file.")
    if entry.kind == "python":
        parts.append("An object, only from a program in a file.")
    if entry.algorithms:
        parts.append(f"One of {', '.join(entry.algorithms)}.")
    if entry.is_list:
        parts.append("Repeatable.")
    if entry.is_required and entry.kind == "model":
        parts.append(
            f"Default: --model ({default_model})." if default_model else "Default: --model."
        )
    elif entry.is_required:
        parts.append("Required.")
    elif not (entry.default is None or entry.default == ""):
        shown = _shown_default(entry.default)
        parts.append(f"Default: {shown if len(shown) <= 60 else shown[:57] + '...'}.")
    return _escaped(" ".join(parts))


def _shown_default(value: Any) -> str:
    if isinstance(value, str):
        return value if value.isprintable() else ascii(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        set_to = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        if all(each is None for each in set_to.values()):
            return "none"
        changed = [
            f"{each.name}={set_to[each.name]!r}"
            for each in dataclasses.fields(value)
            if each.default_factory is dataclasses.MISSING and set_to[each.name] != each.default
        ]
        return f"{type(value).__name__}({', '.join(changed)})"
    return str(getattr(value, "__name__", value))


def _escaped(text: str) -> str:
    """Text for a help page, where brackets would be markup."""
    from rich.markup import escape

    return escape(text)

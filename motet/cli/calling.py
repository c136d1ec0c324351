"""From a command's values to the call that it asks for, and back from what a run has kept."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet.cli.failures import CommandError
from motet.cli.inputs import Input, bind, inputs_of
from motet.cli.loading import (
    Found,
    built_in_operations,
    find_program,
    load_file,
    operations_in,
)
from motet.cli.options import POSITIONAL, given_texts, positional_input
from motet.errors import UnknownNameError

if TYPE_CHECKING:
    from motet.cli.settings import Settings
    from motet.refs import Ref

_KEPT = ("model", "max_concurrency", "price_prompt", "price_completion")


@dataclass(frozen=True, slots=True)
class Invocation:
    """A program with its inputs as JSON values; what a run keeps to be rebuilt."""

    found: Found
    inputs: Mapping[str, Any]
    operations: tuple[str, ...] = ()
    """Files whose operations a graph file may name."""

    def ref(self, settings: Settings) -> Ref[Any]:
        """Make the call.

        Raises:
            CommandError: An input is missing, unknown or of the wrong type.
            MotetError: The program refused its inputs.
        """
        operation = self.found.operation
        if operation is None:
            from motet.graph_files import load_graph

            modules = [load_file(path) for path in self.operations]
            allowed = [*built_in_operations(), *operations_in(modules)]
            try:
                return load_graph(self.found.graph_text or "", operations=allowed)
            except UnknownNameError as exc:
                hint = "a file's operations are allowed by --operations FILE.py"
                raise CommandError(str(exc), hint) from exc
        inputs = inputs_of(operation)
        values = bind(inputs, with_models(inputs, self.inputs, settings), settings.make_model)
        made: Ref[Any] = operation(**values)  # type: ignore[operator]
        return made

    def manifest(self, settings: Settings) -> dict[str, Any]:
        """Return what a run keeps, to be rebuilt by `from_manifest`; no secret is in it."""
        kept = {name: getattr(settings, name) for name in _KEPT}
        return {
            "command": {
                "program": self.found.text,
                "graph": self.found.graph_text,
                "operations": list(self.operations),
                "inputs": dict(self.inputs),
                "settings": {k: v for k, v in kept.items() if v is not None},
            }
        }


def from_manifest(manifest: Mapping[str, Any]) -> tuple[Invocation, dict[str, Any]]:
    """Return what `Invocation.manifest` wrote, and the settings that it kept.

    Raises:
        CommandError: The run was not started by `motet run`.
    """
    command: Any = manifest.get("command")
    if not isinstance(command, dict) or "program" not in command:
        raise CommandError(
            "this run was not started by `motet run`",
            "resume it where it was started: motet.run(..., resume=ID)",
        )
    if command.get("rows") is not None:
        raise CommandError(
            "this run is a part of `motet map`",
            f"start the same `motet map` again with -o {command.get('output')}: it goes on",
        )
    operations = tuple(command.get("operations", ()))
    graph = command.get("graph")
    if graph is not None:
        found = Found(command["program"], None, graph)
    else:
        found = find_program(command["program"])
    return Invocation(found, command["inputs"], operations), command.get("settings", {})


def with_models(
    inputs: list[Input], given: Mapping[str, Any], settings: Settings
) -> dict[str, Any]:
    """Fill the required model inputs that were not given by the default model."""
    filled = dict(given)
    for entry in inputs:
        if entry.kind == "model" and entry.is_required and entry.name not in filled:
            filled[entry.name] = [settings.model] if entry.is_list else settings.model
    return filled


def read_invocation(
    found: Found, values: dict[str, Any], *, is_partial: bool = False
) -> Invocation:
    """Take the inputs out of a command's values; `is_partial` where rows give the others.

    Raises:
        CommandError: One is missing, given twice, or of the wrong type.
    """
    operations = tuple(str(Path(path).resolve()) for path in values.pop("operations", None) or ())
    if found.operation is None:
        return Invocation(found, {}, operations)
    inputs = inputs_of(found.operation)
    texts = given_texts(values)
    given: dict[str, Any] = {}
    for entry in inputs:
        if entry.name not in texts:
            continue
        text = texts[entry.name]
        if isinstance(text, bool):
            given[entry.name] = text
        elif isinstance(text, (list, tuple)):
            given[entry.name] = [entry.plain(part) for part in text]
        else:
            given[entry.name] = entry.plain(text)
    _read_positional(inputs, given, values.pop(POSITIONAL, None))
    model = values.get("model")
    if model is not None and any(i.name == "model" and i.kind == "model" for i in inputs):
        given["model"] = model
    for entry in [] if is_partial else inputs:
        if entry.is_required and entry.name not in given and entry.kind != "model":
            _refuse_missing(entry, inputs, found.name)
    return Invocation(found, given, operations)


def _read_positional(inputs: list[Input], given: dict[str, Any], text: str | None) -> None:
    first = positional_input(inputs)
    if text is None or first is None:
        return
    if first.name in given:
        raise CommandError(f"{first.name} is given twice: as an argument and as an option")
    if text == "-":
        given[first.name] = _stdin()
    elif text.startswith("@"):
        given[first.name] = _file(text[1:])
    else:
        given[first.name] = text


def _stdin() -> str:
    try:
        return sys.stdin.read().rstrip("\n")
    except UnicodeDecodeError as exc:
        raise CommandError(f"stdin is no text: {exc}") from None


def _file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as exc:
        problem = exc.strerror if isinstance(exc, OSError) else exc
        raise CommandError(
            f"@{path} cannot be read: {problem}", "a text that begins with @ goes behind its option"
        ) from None


def _refuse_missing(entry: Input, inputs: list[Input], program: str) -> None:
    option = f"--{entry.name.strip('_').replace('_', '-')}"
    if entry.kind == "function":
        hint = f"give {option} FILE.PY:NAME"
    elif entry.kind == "python":
        hint = (
            f"{entry.name} is an object of Python: write a program in a file that makes it and "
            f"calls {program}, and run that by `motet run file.py:name`"
        )
    elif entry is positional_input(inputs):
        hint = f"give it behind the program's name, or as {option}; - reads stdin, @FILE a file"
    else:
        hint = f"give {option} {entry.metavar}"
        if entry.algorithms:
            hint += f", one of {', '.join(entry.algorithms)}; with settings as in beam(n=16)"
    raise CommandError(f"{program} needs {entry.name}", hint)

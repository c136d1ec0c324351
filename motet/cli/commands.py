"""Commands whose options depend on the program that their first argument names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, cast

import typer
from typer.core import TyperCommand

from motet.cli.failures import USAGE, CommandError
from motet.cli.loading import Found, find_program, looks_like_program
from motet.cli.options import input_options, parameters_of, program_argument

Action = Callable[[Found, dict[str, Any]], int]


class ProgramCommand(TyperCommand):
    """A command of the form `motet NAME PROGRAM`, with an option for each of its inputs.

    It first finds out which argument names the program, loads that, and lets a command that is
    made for it read the arguments.
    """

    options: ClassVar[dict[str, Any]]
    action: ClassVar[Callable[[Found, dict[str, Any]], int]]
    arguments: ClassVar[dict[str, Any]]
    """Arguments behind the program's name; without them the first text input is one."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        place = None if extra.get("resilient_parsing") else self._find(args)
        if place is None:
            return super().make_context(info_name, args, parent, **extra)
        found = find_program(args[place])
        command = self._command_for(found, info_name)
        command.program = args[place]  # type: ignore[attr-defined]
        return command.make_context(info_name, list(args), parent, **extra)

    def _find(self, args: list[str]) -> int | None:
        """Return the place of the program's name; None where there is none."""
        takes_value = {opt: not getattr(p, "is_flag", False) for p in self.params for opt in p.opts}
        candidates: list[int] = []
        place = 0
        while place < len(args):
            text = args[place]
            if text == "--":
                candidates.extend(range(place + 1, len(args)))
                break
            if text.startswith("-") and text != "-":
                is_known = text in takes_value
                if is_known and takes_value[text]:
                    place += 1
                elif not is_known and "=" not in text and candidates:
                    break
            else:
                candidates.append(place)
            place += 1
        for candidate in candidates:
            if looks_like_program(args[candidate]):
                return candidate
        has_unknown = any(a.startswith("--") and a.partition("=")[0] not in takes_value
                          for a in args if a != "--")  # fmt: skip
        return candidates[0] if candidates and not (has_unknown and candidates[0] > 0) else None

    def _command_for(self, found: Found, name: str | None) -> TyperCommand:
        from motet.cli.inputs import inputs_of
        from motet.cli.settings import read_settings

        options = dict(self.options)
        reserved = {"--help", *(n for p in self.params for n in p.opts)}
        arguments = program_argument(is_required=True)
        arguments.update(self.arguments)
        if found.operation is not None:
            arguments |= input_options(
                inputs_of(found.operation),
                reserved,
                default_model=read_settings().model,
                has_positional=not self.arguments,
            )
        doc = _help_of(found)
        action = type(self).action

        def call(**values: Any) -> int:
            return action(found, values)

        return make_command(name or "", {**arguments, **options}, call, doc)


def _help_of(found: Found) -> str:
    from rich.markup import escape

    text = inspect.cleandoc(found.operation.__doc__ or "") if found.operation is not None else ""
    body = text.partition("\nArgs:")[0].strip()
    paragraphs = [" ".join(part.split()) for part in body.split("\n\n")]
    return escape("\n\n".join(paragraphs) or f"Run {found.name}.")


def make_command(
    name: str, options: dict[str, Any], call: Callable[..., int], doc: str
) -> TyperCommand:
    """Return a command that takes `options` and calls `call` with their values by name."""
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name, help=doc)(with_signature(call, options))
    return cast("TyperCommand", typer.main.get_command(app))


def with_signature(call: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """Return `call` with a signature that typer makes these options of."""

    def wrapped(**values: Any) -> Any:
        return call(**values)

    parameters = parameters_of(options)
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    wrapped.__doc__ = call.__doc__
    return wrapped


def program_command(
    app: typer.Typer,
    name: str,
    doc: str,
    options: dict[str, Any],
    action: Action,
    *,
    extra: dict[str, Any] | None = None,
) -> None:
    """Add a command that takes a program to `app`."""

    class Command(ProgramCommand):
        pass

    Command.options = options
    Command.action = staticmethod(action)
    Command.arguments = extra or {}

    def call(**values: Any) -> int:
        raise CommandError("no program is named", "`motet list` shows those built in", code=USAGE)

    arguments = {**program_argument(is_required=False), **(extra or {})}
    app.command(name, help=doc, cls=Command)(with_signature(call, {**arguments, **options}))

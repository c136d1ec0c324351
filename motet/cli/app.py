"""The `motet` command: its commands, and what becomes of their failures."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from motet.cli.commands import program_command
from motet.cli.engine import register_engine
from motet.cli.eval import register_eval
from motet.cli.failures import (
    BROKEN_PIPE,
    BUG,
    FAILED,
    INTERRUPTED,
    OK,
    CommandError,
    InterruptedRunError,
    describe,
    exit_code,
    resume_command,
)
from motet.cli.options import (
    ENGINE_OPTIONS,
    LIMIT_OPTIONS,
    MAP_OPTIONS,
    PLAN_OPTIONS,
    RUN_OPTIONS,
    VALUE_OPTIONS,
    rows_argument,
)
from motet.cli.queries import register
from motet.cli.route import register_route
from motet.errors import MotetError

_Usage: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""What typer raises for a wrong command line; it exports only the class's children."""


class Motet(TyperGroup):
    """Turns every failure into a short message and an exit code."""

    def main(self, args: Any = None, *more: Any, **kwargs: Any) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        end = given.index("--") if "--" in given else len(given)
        is_debug = "--debug" in given[:end]
        given = [a for a in given[:end] if a != "--debug"] + given[end:]
        kwargs["standalone_mode"] = False
        work: Callable[[], Any] = lambda: super(Motet, self).main(given, *more, **kwargs)  # noqa: E731
        sys.exit(guarded(work, is_debug=is_debug))


def guarded(work: Callable[[], Any], *, is_debug: bool) -> int:
    """Do `work`; return its exit code, or tell what went wrong and return that one's."""
    try:
        code = _told(work, is_debug=is_debug)
        sys.stdout.flush()
    except BrokenPipeError:
        return _pipe_closed()
    except OSError as exc:
        return _complain(f"stdout cannot be written: {exc.strerror}", None, FAILED)
    return code


def _told(work: Callable[[], Any], *, is_debug: bool) -> int:
    try:
        return int(work() or OK)
    except BrokenPipeError:
        raise
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):  # typer makes it an exit of its own
            raise exc.__context__ from None
        raise
    except InterruptedRunError as exc:
        hint = None
        if exc.run_id and exc.is_kept:
            hint = f"resume it by: {resume_command(exc.run_id, exc.store_option)}"
        return _complain("interrupted", hint, INTERRUPTED, "")
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", None, INTERRUPTED, "")
    except Exception as exc:
        if is_debug:
            import traceback

            traceback.print_exc()
        return _tell(exc)


def _tell(exc: Exception) -> int:
    if isinstance(exc, CommandError):
        return _complain(str(exc), exc.hint, exc.code)
    if isinstance(exc, MotetError):
        failure = describe(exc)
        return _complain(failure.message, failure.hint, exit_code(exc) or FAILED)
    if isinstance(exc, _Usage):
        context: Any = getattr(exc, "ctx", None)
        hint = f"see `{_path(context)} --help`" if context is not None else None
        message = exc.format_message()  # type: ignore[attr-defined]
        if not message.strip():  # without arguments the help was shown instead
            return 2
        return _complain(message.replace("(Possible options:", "(did you mean:"), hint, 2)
    if isinstance(exc, OSError) and exc.filename is None and exc.strerror:
        return _complain(f"the output cannot be written: {exc.strerror}", None, FAILED)
    message = " ".join(str(exc).split())
    return _complain(
        f"motet failed unexpectedly: {type(exc).__name__}: {message}",
        "--debug shows where; please report it",
        BUG,
    )


def _path(context: Any) -> str:
    """Return the command as typed, with the program whose options it takes."""
    program = getattr(context.command, "program", None)
    return f"{context.command_path} {program}" if program else str(context.command_path)


def _complain(message: str, hint: str | None, code: int, label: str = "error: ") -> int:
    from motet.cli.terminal import note

    note(label + message)
    if hint:
        note(hint if not label else f"hint: {hint}")
    return code


def _pipe_closed() -> int:
    """Let nothing more be written, so that the interpreter ends in silence."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    return BROKEN_PIPE


app = typer.Typer(
    name="motet",
    cls=Motet,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        from motet import __version__
        from motet.cli.terminal import write

        write(f"motet {__version__}")
        raise typer.Exit


_DOC = """Run declarative LLM programs: budgeted, journaled, resumable.

Exit codes: 0 done; 1 the run failed; 2 wrong usage, program or configuration; 3 store; \
4 engine unreachable or model missing; 5 budget exhausted; 70 a bug \
of motet; 130 interrupted; 141 whoever read the output has gone.
"""


@app.callback(help=_DOC)
def motet_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    pass


def _run(found: Any, values: dict[str, Any]) -> int:
    from motet.cli.run import run_command

    return run_command(found, values)


def _plan(found: Any, values: dict[str, Any]) -> int:
    from motet.cli.plan import plan_command

    return plan_command(found, values)


def _map(found: Any, values: dict[str, Any]) -> int:
    from motet.cli.map import map_command

    return map_command(found, values)


program_command(
    app,
    "run",
    "Run a program; its value goes to stdout. `motet run PROGRAM --help` shows its inputs.",
    {**ENGINE_OPTIONS, **LIMIT_OPTIONS, **RUN_OPTIONS, **VALUE_OPTIONS},
    _run,
)
program_command(
    app,
    "plan",
    "Show what a program will do, and what is wrong with it; nothing is sent.",
    {**ENGINE_OPTIONS, **PLAN_OPTIONS},
    _plan,
)
program_command(
    app,
    "map",
    "Run a program on every row of a file; the results stand in the same order.",
    {**ENGINE_OPTIONS, **LIMIT_OPTIONS, **RUN_OPTIONS, **MAP_OPTIONS},
    _map,
    extra=rows_argument(),
)
register(app)
register_engine(app)
register_eval(app)
register_route(app)


def run_process() -> None:
    """Run the command that the process's arguments name, and exit with its code."""
    app()

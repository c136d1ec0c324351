"""Commands that run no program: list, runs, models, doctor."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StoreOption = Annotated[
    str | None, typer.Option("--store", metavar="PATH|URL", help="The store; also MOTET_STORE.")
]
Run = Annotated[str, typer.Argument(metavar="ID", help="A run's id, or the beginning of one.")]


def _settings(**options: Any) -> Any:
    from motet.cli.settings import read_settings

    return read_settings(**options)


def list_command(as_json: Json = False) -> int:
    """List the programs that come with motet."""
    from motet.cli.loading import built_in
    from motet.cli.terminal import as_json as to_json
    from motet.cli.terminal import show_table, write

    programs = {
        name: (operation.__doc__ or "").strip().partition("\n")[0]
        for name, operation in built_in().items()
    }
    if as_json:
        write(to_json([{"name": name, "doc": doc} for name, doc in programs.items()]))
    else:
        show_table(["PROGRAM", ""], [[name, doc] for name, doc in programs.items()])
    return 0


def models_command(
    url: Annotated[
        str | None, typer.Option("--url", help="A server's, such as http://host:8000/v1.")
    ] = None,
    as_json: Json = False,
) -> int:
    """List the models of a server, or the local ones."""
    from motet.cli.models import models_command

    return models_command(_settings(), url, is_json=as_json)


def doctor_command(
    url: Annotated[
        str | None, typer.Option("--url", help="A server to ask, such as http://host:8000/v1.")
    ] = None,
    store: StoreOption = None,
    as_json: Json = False,
) -> int:
    """Check the installation; say what is missing and how to mend it."""
    from motet.cli.doctor import doctor_command

    return doctor_command(_settings(store=store), url, is_json=as_json)


def runs_list(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most runs.")] = 20,
    program: Annotated[str | None, typer.Option("--program", help="Only of this program.")] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", help="Only running, finished, failed or cancelled ones."),
    ] = None,
    store: StoreOption = None,
    as_json: Json = False,
) -> int:
    """List the newest runs."""
    from motet.cli.failures import CommandError
    from motet.cli.runs import list_runs

    known = ("running", "finished", "failed", "cancelled")
    if status is not None and status not in known:
        raise CommandError(f"--status is {status!r}", f"give one of {', '.join(known)}")
    settings = _settings(store=store)
    return list_runs(settings, limit=limit, program=program, status=status, is_json=as_json)


def runs_show(
    run: Run,
    prompts: Annotated[bool, typer.Option("--prompts", help="Show what was asked.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Leave control characters.")] = False,
    store: StoreOption = None,
    as_json: Json = False,
) -> int:
    """Show a run: its calls, what they gave and what they used."""
    from motet.cli.runs import show_run

    settings = _settings(store=store)
    return show_run(settings, run, is_json=as_json, has_prompts=prompts, is_raw=raw)


def runs_resume(
    run: Run,
    budget_tokens: Annotated[
        int | None, typer.Option("--budget-tokens", help="A new limit; any of them replaces all.")
    ] = None,
    budget_calls: Annotated[
        int | None, typer.Option("--budget-calls", help="A new limit of model calls.")
    ] = None,
    budget_cost: Annotated[
        float | None, typer.Option("--budget-cost", help="A new limit of cost.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="A new limit in seconds.")
    ] = None,
    max_concurrency: Annotated[
        int | None, typer.Option("--max-concurrency", help="Most requests in flight.")
    ] = None,
    store: StoreOption = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print the last text as it comes.")
    ] = False,
    events: Annotated[
        str | None, typer.Option("--events", metavar="FILE", help="Write events there.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Leave control characters.")] = False,
    as_json: Json = False,
) -> int:
    """Go on with a run that stopped; what is finished is not paid for again."""
    from motet.cli.runs import resume_run

    options = {
        "budget_tokens": budget_tokens,
        "budget_calls": budget_calls,
        "budget_cost": budget_cost,
        "timeout": timeout,
        "max_concurrency": max_concurrency,
        "store": store,
    }
    flags = {
        "events": events,
        "is_quiet": quiet,
        "is_json": as_json,
        "is_streamed": stream,
        "is_raw": raw,
    }
    return resume_run(lambda given: _settings(**given), run, options, flags)


def runs_diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A run's id.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another's.")],
    store: StoreOption = None,
    as_json: Json = False,
) -> int:
    """Show the calls in which two runs differ; exit with 1 where there are any."""
    from motet.cli.diff import diff_runs

    return diff_runs(_settings(store=store), first, second, is_json=as_json)


def runs_rm(
    runs: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or beginnings of ids.")],
    store: StoreOption = None,
) -> int:
    """Remove runs."""
    from motet.cli.runs import remove_runs

    return remove_runs(_settings(store=store), runs)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("list")(list_command)
    runs = typer.Typer(
        name="runs", help="Earlier runs: list, show, resume, diff, rm.", no_args_is_help=True
    )
    for name, command in (
        ("list", runs_list),
        ("show", runs_show),
        ("resume", runs_resume),
        ("diff", runs_diff),
        ("rm", runs_rm),
    ):
        runs.command(name)(command)
    app.add_typer(runs)
    app.command("models")(models_command)
    app.command("doctor")(doctor_command)

"""Commands that start, list and stop engines of one's own: up, status, down."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def engine_up(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="smollm2, a model's folder, or a name on the hub."),
    ],
    flags: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- FLAGS]", help="vLLM's own flags; they win over motet's."),
    ] = None,
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    name: Annotated[
        str | None, typer.Option("--name", help="What requests call the model.")
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Keep the layers' hidden states, for DoLa.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave it running and return.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds until it must answer.")
    ] = 600.0,
    as_json: Json = False,
) -> int:
    """Start a vLLM server with motet's decoding rules; Ctrl-C stops it."""
    from motet.cli.engine_up import up_command

    return up_command(
        model,
        flags or [],
        port=port,
        host=host,
        name=name,
        has_layers=layers,
        is_detached=detach,
        timeout_s=timeout,
        is_json=as_json,
    )


def engine_status(as_json: Json = False) -> int:
    """List the servers that `motet engine up` started."""
    from motet.cli.engine_records import status_command

    return status_command(is_json=as_json)


def engine_down(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A server's name, model or port.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Stop every one.")] = False,
) -> int:
    """Stop a server that `motet engine up` started; without NAME the only one."""
    from motet.cli.engine_records import down_command

    return down_command(name, is_all=all_)


def register_engine(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    engine = typer.Typer(
        name="engine", help="vLLM servers of one's own: up, status, down.", no_args_is_help=True
    )
    for name, command in (("up", engine_up), ("status", engine_status), ("down", engine_down)):
        engine.command(name)(command)
    app.add_typer(engine)

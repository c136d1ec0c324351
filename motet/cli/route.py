"""Commands that train routers on outcomes, and measure and explain them."""

from __future__ import annotations

from typing import Annotated

import typer

_Table = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="Outcomes: prompt, model, score, cost; .jsonl (.gz too), .csv or .parquet.",
    ),
]
_Embedder = Annotated[str, typer.Option("--embedder", metavar="MODEL", help="Embeds the prompts.")]
_Store = Annotated[
    str | None,
    typer.Option("--store", metavar="PATH|URL|none", help="Where embeddings are kept."),
]


def route_train(
    table: _Table,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Gets the router, .npz.")],
    router: Annotated[
        str,
        typer.Option("--router", help='knn, linear, mlp, matrix-factorisation, elo; "knn(k=40)".'),
    ] = "knn",
    embedder: _Embedder = "local:minilm",
    store: _Store = None,
) -> int:
    """Train a router on a table of outcomes, and save it."""
    from motet.cli.routing import train_command

    return train_command(table, out, router, embedder, store)


def route_eval(
    table: _Table,
    test: Annotated[
        str | None,
        typer.Option("--test", metavar="TABLE", help="Held-out outcomes; else a part of TABLE."),
    ] = None,
    share: Annotated[
        float, typer.Option("--share", help="Of the prompts to train on, without --test.")
    ] = 0.7,
    routers: Annotated[
        list[str] | None, typer.Option("--router", help='"knn(k=40)"; repeatable. All, else.')
    ] = None,
    strong: Annotated[
        str | None, typer.Option("--strong", help="Of two models; the dearer, else.")
    ] = None,
    embedder: _Embedder = "local:minilm",
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="Gets the figures as JSON.")
    ] = None,
    resamples: Annotated[int, typer.Option("--resamples", help="For the intervals.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Of the split and the intervals.")] = 0,
    store: _Store = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> int:
    """Compare routers on prompts that they were not trained on, with 95 % intervals.

    AIQ is the mean quality over the costs between the cheapest and the dearest model; GAIN is what
    it has beyond mixing the models at random; APGR, of two models, is the share of the gap between
    them that is recovered.
    """
    from motet.cli.routing import eval_command

    return eval_command(
        {
            "table": table,
            "test": test,
            "share": share,
            "routers": routers,
            "strong": strong,
            "embedder": embedder,
            "out": out,
            "resamples": resamples,
            "seed": seed,
            "store": store,
            "as_json": as_json,
        }
    )


def route_explain(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A router that `train` saved.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="- reads stdin.")],
    embedder: _Embedder = "local:minilm",
    prices: Annotated[
        list[str] | None, typer.Option("--price", metavar="MODEL=NUMBER", help="Repeatable.")
    ] = None,
    willingness: Annotated[
        float | None,
        typer.Option("--willingness", help="What a score of 1 is worth, in the prices' unit."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
) -> int:
    """Say which model a saved router would ask, and why."""
    from motet.cli.routing import explain_command

    return explain_command(file, question, embedder, prices or [], willingness, as_json=as_json)


def register_route(app: typer.Typer) -> None:
    """Add `route` and its commands to `app`."""
    group = typer.Typer(
        name="route", help="Train routers on outcomes; measure and explain them.",
        no_args_is_help=True,
    )  # fmt: skip
    group.command("train")(route_train)
    group.command("eval")(route_eval)
    group.command("explain")(route_explain)

    @group.callback()
    def routes() -> None:
        """Train routers on outcomes; measure and explain them."""

    app.add_typer(group)

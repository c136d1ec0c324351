"""Commands that train routers on outcomes, and measure, explain and serve them."""

from __future__ import annotations

from typing import Annotated

import typer

_Table = Annotated[
    str | None,
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

_Scores = Annotated[
    str | None,
    typer.Option(
        "--scores",
        metavar="FILE",
        help="score with id, or with prompt and maybe model; .jsonl or .csv.",
    ),
]
_Rule = Annotated[
    str | None,
    typer.Option(
        "--rule",
        help="worth-its-price, best-within, cheapest-reaching, strong-from with their settings: "
        '"worth-its-price(willingness=40)". highest-score, else.',
    ),
]
_Prices = Annotated[
    list[str] | None,
    typer.Option("--price", metavar="MODEL=NUMBER", help="Of an answer; for the rule. Repeatable."),
]


def route_train(
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Gets the router, .npz.")],
    table: _Table = None,
    router: Annotated[
        str,
        typer.Option("--router", help='knn, linear, mlp, matrix-factorisation, elo; "knn(k=40)".'),
    ] = "knn",
    embedder: _Embedder = "local:minilm",
    store: _Store = None,
    from_runs: Annotated[
        str | None,
        typer.Option(
            "--from-runs",
            metavar="all|DATE|ID,ID",
            help="Train on the store's runs instead: all, those since a date, or these.",
        ),
    ] = None,
    from_eval: Annotated[
        str | None,
        typer.Option("--from-eval", metavar="FOLDER", help="Train on what `motet eval` found."),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Of --from-eval; has the prompts.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="FOLDER", help="Of data sets, for --task.")
    ] = None,
    scores: _Scores = None,
    score_by: Annotated[
        list[str] | None,
        typer.Option(
            "--score-by", help="Operation whose value is a score. verify and grade, else."
        ),
    ] = None,
    score_range: Annotated[
        str | None,
        typer.Option(
            "--score-range", metavar="LOW:HIGH", help="Of what operations say. 0:1, else."
        ),
    ] = None,
    token_prices: Annotated[
        list[str] | None,
        typer.Option("--token-price", metavar="MODEL=IN/OUT", help="A million tokens. Repeatable."),
    ] = None,
) -> int:
    """Train a router on a table of outcomes, or on motet's own runs or evaluations; save it."""
    from motet.cli.failures import CommandError
    from motet.cli.route_runs import FromEval, FromRuns
    from motet.cli.routing import train_command

    found: FromRuns | FromEval | None = None
    if from_runs is not None and from_eval is not None:
        raise CommandError("--from-runs and --from-eval do not go together")
    if from_eval is None and (task or data):
        raise CommandError("--task and --data go with --from-eval")
    if from_eval is not None:
        found = FromEval(folder=from_eval, task=task, data=data)
    if from_runs is not None:
        found = FromRuns(
            which=from_runs,
            store=store,
            scores=scores,
            scored_by=score_by or [],
            score_range=score_range,
            token_prices=token_prices or [],
        )
    elif scores or score_by or score_range or token_prices:
        raise CommandError("scores and prices go with --from-runs; other tables have their own")
    return train_command(table, out, router, embedder, store, found)


def route_eval(
    table: _Table = None,
    test: Annotated[
        str | None,
        typer.Option("--test", metavar="TABLE", help="Held-out outcomes; else a part of TABLE."),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option("--share", help="Of the prompts to train on, without --test. 0.7, else."),
    ] = None,
    routers: Annotated[
        list[str] | None,
        typer.Option("--router", help='"knn(k=40)"; repeatable. All, else. With --log a file.'),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option("--log", metavar="FILE", help="Evaluate on the log of `serve` instead."),
    ] = None,
    rule: _Rule = None,
    prices: _Prices = None,
    scores: _Scores = None,
    strong: Annotated[
        str | None, typer.Option("--strong", help="Of two models; the dearer, else.")
    ] = None,
    embedder: _Embedder = "local:minilm",
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="Gets the figures as JSON.")
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="FILE", help="Gets the curves of quality by cost, as SVG."),
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

    With --log: what the router of a file, with --rule, would have earned on the decisions of
    another one at work, by inverse propensities (IPS, SNIPS) and doubly robust. The log's choices
    must have been drawn by chance: serve with --explore. Without --router the logged estimates
    are decided on by --rule.
    """
    from motet.cli.failures import CommandError
    from motet.cli.routing import eval_command, log_command

    command = log_command if log is not None else eval_command
    if log is None and (rule or prices or scores):
        raise CommandError("--rule, --price and --scores go with --log")
    if log is not None and plot is not None:
        raise CommandError("--plot draws the routers of a TABLE; with --log there is none")
    return command(
        {
            "table": table,
            "test": test,
            "share": share,
            "routers": routers,
            "log": log,
            "rule": rule,
            "prices": prices or [],
            "scores": scores,
            "strong": strong,
            "embedder": embedder,
            "out": out,
            "plot": plot,
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
    rule: _Rule = None,
    prices: _Prices = None,
    willingness: Annotated[
        float | None,
        typer.Option("--willingness", help='As --rule "worth-its-price(willingness=...)".'),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
) -> int:
    """Say which model a saved router would ask, and why."""
    from motet.cli.routing import explain_command

    return explain_command(
        file, question, embedder, prices or [], willingness, rule, as_json=as_json
    )


def route_serve(
    file: Annotated[str, typer.Argument(metavar="ROUTER", help="A router that `train` saved.")],
    models: Annotated[
        list[str],
        typer.Option("--model", metavar="NAME=URL", help="Who may answer, by the router's names."),
    ],
    embedder: _Embedder = "local:minilm",
    rule: _Rule = None,
    prices: _Prices = None,
    token_prices: Annotated[
        list[str] | None,
        typer.Option(
            "--token-price",
            metavar="MODEL=IN/OUT",
            help="Cost of a million prompt and completion tokens; for the log. Repeatable.",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 finds a free one.")] = 8100,
    log: Annotated[
        str | None, typer.Option("--log", metavar="FILE", help="Gets a JSON line a decision.")
    ] = None,
    log_text: Annotated[
        bool, typer.Option("--log-text", help="Log the prompts, not their digests only.")
    ] = False,
    explore: Annotated[
        float,
        typer.Option("--explore", metavar="EPS", help="Chance to draw any model, each alike."),
    ] = 0.0,
    seed: Annotated[int | None, typer.Option("--seed", help="Of what is drawn.")] = None,
    fallback: Annotated[
        bool, typer.Option("--fallback", help="Ask the next best model where one is away.")
    ] = False,
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", envvar="MOTET_SERVE_API_KEY", help="What clients must send."),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", help="Of an answer, where the client names no number.")
    ] = 1024,
    max_body: Annotated[
        int, typer.Option("--max-body", metavar="BYTES", help="Largest request.")
    ] = 8 * 2**20,
) -> int:
    """Serve a router as an OpenAI-compatible endpoint, until Ctrl-C.

    Clients ask the model `motet-router`, or a member by its name. The first line printed is the
    endpoint's URL.
    """
    from motet.cli.route_serve import Serving, serve_command

    return serve_command(
        Serving(
            file=file,
            models=models,
            embedder=embedder,
            rule=rule,
            prices=prices or [],
            token_prices=token_prices or [],
            host=host,
            port=port,
            log=log,
            has_text=log_text,
            explore=explore,
            seed=seed,
            has_fallback=fallback,
            api_key=api_key,
            max_tokens=max_tokens,
            max_body_bytes=max_body,
        )
    )


def register_route(app: typer.Typer) -> None:
    """Add `route` and its commands to `app`."""
    group = typer.Typer(
        name="route", help="Train routers on outcomes; measure, explain and serve them.",
        no_args_is_help=True,
    )  # fmt: skip
    group.command("train")(route_train)
    group.command("eval")(route_eval)
    group.command("explain")(route_explain)
    group.command("serve")(route_serve)

    @group.callback()
    def routes() -> None:
        """Train routers on outcomes; measure, explain and serve them."""

    app.add_typer(group)

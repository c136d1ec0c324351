"""Commands that compare methods on a task."""

from __future__ import annotations

from typing import Annotated

import typer


def eval_search(
    taskfile: Annotated[
        str, typer.Argument(metavar="TASKFILE", help="JSON lines, plain or .gz: the questions.")
    ],
    task: Annotated[
        str, typer.Option("--task", help="gsm8k, math, game24, countdown, or jsonl for any.")
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Gets the figures, the plot and the run. Started again with the same folder, the "
            "command goes on.",
        ),
    ],
    algorithms: Annotated[
        list[str] | None,
        typer.Option("--algorithms", help='"beam(n=16, width=4)"; repeatable.'),
    ] = None,
    budgets: Annotated[
        list[int] | None,
        typer.Option("--budgets", help="Tokens of an attempt, scorer included; repeatable."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Answers the questions.")] = None,
    scorer: Annotated[
        str, typer.Option("--scorer", help="self, grade, exact for number games, or none.")
    ] = "self",
    judge: Annotated[
        str | None, typer.Option("--judge", help="The model that scores; --model by default.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="How often all is done anew.")] = 1,
    limit: Annotated[int | None, typer.Option("--limit", help="First questions only.")] = None,
    step_tokens: Annotated[int, typer.Option("--step-tokens", help="Most tokens of a step.")] = 128,
    answer_tokens: Annotated[
        int, typer.Option("--answer-tokens", help="Most tokens of a whole answer.")
    ] = 512,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Of all samples but greedy ones.")
    ] = 0.8,
    concurrency: Annotated[int, typer.Option("--concurrency", help="Most attempts at once.")] = 64,
    max_concurrency: Annotated[
        int | None, typer.Option("--max-concurrency", help="Most requests in flight.")
    ] = None,
    events: Annotated[
        str | None, typer.Option("--events", metavar="FILE", help="Every event as a JSON line.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")] = False,
) -> int:
    """Compare searches on a task at equal token budgets, beside greedy and self-consistency.

    An attempt has so many tokens, those of prompts and of the scorer included; when they are
    spent its best so far counts. The folder gets figures.jsonl, a line an attempt, summary.json
    and frontier.svg.
    """
    from motet.cli.eval_search import search_command

    return search_command(
        {
            "taskfile": taskfile,
            "task": task,
            "out": out,
            "algorithms": algorithms,
            "budgets": budgets,
            "model": model,
            "scorer": scorer,
            "judge": judge,
            "seeds": seeds,
            "limit": limit,
            "step_tokens": step_tokens,
            "answer_tokens": answer_tokens,
            "temperature": temperature,
            "concurrency": concurrency,
            "max_concurrency": max_concurrency,
            "events": events,
            "as_json": as_json,
            "quiet": quiet,
        }
    )


def eval_replay(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON lines, plain or .gz: recorded solutions.")
    ],
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FOLDER", help="Gets figures and plot.")
    ] = None,
    budgets: Annotated[
        list[int] | None,
        typer.Option("--budgets", help="Solutions to choose from; repeatable. 1, 2, 4, ... else."),
    ] = None,
    evaluator: Annotated[
        str | None, typer.Option("--evaluator", help="Whose scores, where there are several.")
    ] = None,
    aggregate: Annotated[
        str, typer.Option("--aggregate", help="Of step scores: last, min, prod or mean.")
    ] = "min",
    seeds: Annotated[int, typer.Option("--seeds", help="Random subsets of a budget.")] = 20,
    limit: Annotated[int | None, typer.Option("--limit", help="First problems only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")] = False,
) -> int:
    """Compare ways to choose among recorded solutions, by their scores or votes; asks no model.

    Reads solutions with their scores, whole or a step, and logs of trees of thoughts.
    """
    from motet.cli.eval_replay import replay_command

    return replay_command(
        {
            "file": file,
            "out": out,
            "budgets": budgets,
            "evaluator": evaluator,
            "aggregate": aggregate,
            "seeds": seeds,
            "limit": limit,
            "as_json": as_json,
            "quiet": quiet,
        }
    )


def register_eval(app: typer.Typer) -> None:
    """Add `eval` and its commands to `app`."""
    group = typer.Typer(
        name="eval", help="Compare methods on a task, with confidence intervals.",
        no_args_is_help=True,
    )  # fmt: skip
    group.command("search")(eval_search)
    group.command("replay")(eval_replay)

    @group.callback()
    def evaluate() -> None:
        """Compare methods on a task, with confidence intervals."""

    app.add_typer(group)

"""Commands that evaluate programs on a task, and compare methods."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from motet.cli.eval_published import eval_published
from motet.cli.failures import CommandError

TASK = "task"
"""The command that a first word stands for which is none."""
_RUN, _MODEL, _BESIDE, _LIMITS, _OUTPUT = (
    "What is run", "Model and engine", "Self-consistency beside it", "Limits", "Output",
)  # fmt: skip


def eval_task(
    context: typer.Context,
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="TASK",
            help="A task file (.toml), JSON lines (.jsonl, .gz too), or a data set's name.",
            show_default=False,
        ),
    ] = None,
    programs: Annotated[
        list[str] | None,
        typer.Option(
            "--program",
            metavar="PROGRAM",
            rich_help_panel=_RUN,
            help='A built-in or file.py:name, with settings as in "self_consistency(n=8)"; '
            "repeatable. The others are compared with the first.",
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            rich_help_panel=_MODEL,
            help="Answers what names no other model. Repeatable: every program runs with each.",
        ),
    ] = None,
    num_rows: Annotated[
        int | None,
        typer.Option("-n", "--rows", metavar="ROWS", rich_help_panel=_RUN, help="First rows only."),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", rich_help_panel=_RUN, help="Attempts on each row.")
    ] = 1,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            rich_help_panel=_OUTPUT,
            help="Required. Gets report.html, report.json, figures.jsonl and the run. Started again "
            "with the same folder, the command goes on. With --compare, where it may be left out: "
            "the file of the page.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", metavar="METRIC", rich_help_panel=_RUN, help="Instead of the task's own."
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge", metavar="MODEL", rich_help_panel=_MODEL, help="Of metrics that ask a model."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            rich_help_panel=_RUN,
            help="Where data sets are, each in a folder of its name; also MOTET_DATA.",
        ),
    ] = None,
    match: Annotated[
        str,
        typer.Option(
            "--match", rich_help_panel=_BESIDE, help="What it spends as much of: tokens or cost."
        ),
    ] = "tokens",
    sample_tokens: Annotated[
        int,
        typer.Option("--sample-tokens", rich_help_panel=_BESIDE, help="Most tokens of a sample."),
    ] = 1024,
    max_samples: Annotated[
        int,
        typer.Option("--max-samples", rich_help_panel=_BESIDE, help="Most samples of a row."),
    ] = 64,
    temperature: Annotated[
        float, typer.Option("--temperature", rich_help_panel=_BESIDE, help="Of its samples.")
    ] = 0.7,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            rich_help_panel=_LIMITS,
            help="Most tokens of an attempt, prompts included; one that needs more has failed.",
        ),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            "--budget-tokens", rich_help_panel=_LIMITS, help="Most tokens of the whole run."
        ),
    ] = None,
    budget_calls: Annotated[
        int | None,
        typer.Option("--budget-calls", rich_help_panel=_LIMITS, help="Most model calls."),
    ] = None,
    budget_cost: Annotated[
        float | None,
        typer.Option(
            "--budget-cost",
            rich_help_panel=_LIMITS,
            help="Most cost; needs --price-prompt and --price-completion.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", rich_help_panel=_LIMITS, help="Most seconds of the whole run."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", rich_help_panel=_LIMITS, help="Most attempts at once.")
    ] = 64,
    max_concurrency: Annotated[
        int | None,
        typer.Option(
            "--max-concurrency",
            rich_help_panel=_LIMITS,
            help="Most requests in flight at one engine.",
        ),
    ] = None,
    price_prompt: Annotated[
        float | None,
        typer.Option(
            "--price-prompt", rich_help_panel=_MODEL, help="Cost of a million prompt tokens."
        ),
    ] = None,
    price_completion: Annotated[
        float | None,
        typer.Option(
            "--price-completion",
            rich_help_panel=_MODEL,
            help="Cost of a million completion tokens.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", rich_help_panel=_RUN, help="Seeds of all calls derive from it."),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare",
            metavar="BEFORE AFTER",
            rich_help_panel=_OUTPUT,
            help="Instead of a task: two reports, as folders or report.json.",
        ),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            "--events",
            metavar="FILE",
            rich_help_panel=_OUTPUT,
            help="Every event as a JSON line.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=_OUTPUT, help="Print the report as JSON.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", rich_help_panel=_OUTPUT, help="Print no progress.")
    ] = False,
) -> int:
    """Evaluate programs on a task: accuracy with intervals, tokens, cost and seconds.

    Beside every program stands self-consistency of the same model that may spend as much.

    `motet eval --help` shows the commands for other comparisons.
    """
    values = dict(context.params)
    if compare is not None:
        _refuse_beside_compare(context)
        return eval_compare(*compare, out=out, as_json=as_json, quiet=quiet)
    from motet.cli.eval_task import task_command

    return task_command(values)


def eval_compare(
    before: Annotated[
        str, typer.Argument(metavar="BEFORE", help="A folder of `motet eval`, or its report.json.")
    ],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The same, of later.")],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help="Gets the page, as HTML."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no notes.")] = False,
) -> int:
    """Compare two reports of one task: what changed, with intervals paired by row."""
    from motet.cli.eval_compare import compare_command

    return compare_command(before, after, out, is_json=as_json, is_quiet=quiet)


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


class _Evaluation(TyperGroup):
    """A group of commands whose first word may also be a task."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        if not args or args[0] in self.commands or args[0] in ("-h", "--help"):
            return super().make_context(info_name, args, parent, **extra)
        _refuse_half_a_comparison(args)
        if not args[0].startswith("-"):
            _refuse_misspelt(args[0], [name for name in self.commands if name != TASK])
        return self.commands[TASK].make_context(info_name, args, parent, **extra)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the options of a task beside the commands."""
        task = self.commands[TASK]
        others = {name: command for name, command in self.commands.items() if name != TASK}
        whole = TyperGroup(
            name=self.name, commands=others, params=task.params, help=task.help,
            rich_markup_mode=self.rich_markup_mode, subcommand_metavar="| COMMAND [ARGS]...",
        )  # fmt: skip
        whole.format_help(ctx, formatter)


def _refuse_misspelt(word: str, names: list[str]) -> None:
    """Refuse a first word that is no task, where it is nearly a command."""
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
    if close and not Path(word).exists():
        raise CommandError(
            f"motet eval has no command {word!r}, and there is no file of that name",
            f"did you mean `motet eval {close[0]}`?",
        )


def _refuse_half_a_comparison(args: list[str]) -> None:
    """Refuse --compare with fewer than two reports behind it, and say how it is written."""
    if "--compare" not in args or "--help" in args or "-h" in args:
        return
    at = args.index("--compare")
    reports = [each for each in args[at + 1 : at + 3] if not each.startswith("-")]
    if len(reports) < 2:
        raise CommandError(
            "--compare takes two reports",
            "write --compare BEFORE AFTER, each a folder of `motet eval` or its report.json",
        )


def _refuse_beside_compare(context: typer.Context) -> None:
    """Refuse what has no part in a comparison, rather than leave it out in silence."""
    for parameter in context.command.params:
        name = parameter.name or ""
        is_given = str(context.get_parameter_source(name)).endswith("COMMANDLINE")
        if is_given and name not in ("compare", "out", "as_json", "quiet"):
            shown = "a task" if name == "task" else parameter.opts[0]
            raise CommandError(f"{shown} has no part beside --compare", "leave it out")


def register_eval(app: typer.Typer) -> None:
    """Add `eval` and its commands to `app`."""
    group = typer.Typer(
        name="eval", cls=_Evaluation, help="Evaluate programs on a task, with intervals.",
        no_args_is_help=True,
    )  # fmt: skip
    group.command(TASK, hidden=True)(eval_task)
    group.command("compare")(eval_compare)
    group.command("search")(eval_search)
    group.command("replay")(eval_replay)
    group.command("published")(eval_published)

    @group.callback()
    def evaluate() -> None:
        """Evaluate programs on a task, with intervals."""

    app.add_typer(group)

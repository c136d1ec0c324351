"""`motet route`: what its commands do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet.cli.eval_folder import write_file
from motet.cli.failures import OK, CommandError
from motet.cli.route_options import check_rule, rule_and_prices
from motet.cli.route_runs import FromEval, FromRuns, outcomes_of_eval, outcomes_of_runs
from motet.cli.terminal import as_json, counted, note, show_table, write

if TYPE_CHECKING:
    from motet.routing.comparison import Compared
    from motet.routing.intervals import Interval
    from motet.routing.outcomes import Outcomes

SHARE = 0.7
"""Of the prompts of a table that routers are trained on, where nothing else is said."""
_NOT_OF_LOGS = {"table": "TABLE", "test": "--test", "share": "--share", "strong": "--strong"}
COLUMNS = ["ROUTER", "AIQ", "95%", "GAIN", "95%", "APGR", "95%", "TRAINED IN"]


def train_command(
    table: str | None,
    out: str,
    router: str,
    embedder: str,
    store: str | None,
    found: FromRuns | FromEval | None,
) -> int:
    """Train a router on a table, on runs or on an evaluation, and save it."""
    from motet.routing.registry import find_router
    from motet.routing.saving import save

    chosen = find_router(router)
    if not out.endswith(".npz"):
        raise CommandError(f"--out is {out}; a router's file ends with .npz")
    _check_place(out)
    if table is None:
        if found is None:
            raise CommandError("train on a TABLE, or else by --from-runs or --from-eval")
        if isinstance(found, FromRuns):
            outcomes = outcomes_of_runs(found)
        else:
            outcomes = outcomes_of_eval(found)
    elif found is not None:
        raise CommandError("train on a TABLE, or else by --from-runs or --from-eval, not on both")
    else:
        outcomes = _read(table)
    _note_missing(outcomes)
    trained = chosen.fit(outcomes, _embedded(outcomes.prompts, embedder, store))
    save(trained, out, embedder=embedder)
    note(
        f"{router} of {', '.join(outcomes.models)}, trained on "
        f"{counted(len(outcomes.prompts), 'prompt')}: {out}"
    )
    return OK


def eval_command(values: dict[str, Any]) -> int:
    """Fit routers on one part of a table, and measure them on the other; print a table."""
    from motet.routing.comparison import ORACLE, ZERO, compare_routers
    from motet.routing.plots import cost_quality_svg
    from motet.routing.registry import ROUTERS, find_router

    if values["table"] is None:
        raise CommandError("compare routers on a TABLE, or evaluate one by --log FILE")
    routers = {name: find_router(name) for name in values["routers"] or ROUTERS}
    _check_place(values["out"])
    train = _read(values["table"])
    _note_missing(train)
    if values["test"] is not None:
        test = _read(values["test"])
        _note_missing(test, of=f" of {values['test']}")
    else:
        share = SHARE if values["share"] is None else values["share"]
        train, test = train.split(share, values["seed"])
    num_held_out = len(test.prompts)
    test = test.complete()
    if len(test.prompts) < num_held_out:
        left_out = num_held_out - len(test.prompts)
        note(f"{left_out:,} of {num_held_out:,} held-out prompts lack a cell, and are left out")
    untrained: dict[str, str] = {}

    def tell_unfit(name: str, why: str) -> None:
        untrained[name] = why
        note(f"{name} cannot be trained, and is left out: {why}")

    found = compare_routers(
        train,
        test,
        _embedded(train.prompts, values["embedder"], values["store"]),
        _embedded(test.prompts, values["embedder"], values["store"]),
        routers,
        strong=values["strong"],
        num_resamples=values["resamples"],
        seed=values["seed"],
        on_fitted=lambda name: note(f"{name} is trained"),
        on_unfit=tell_unfit,
    )
    summary = {
        "models": train.models,
        "num_train": len(train.prompts),
        "num_test": len(test.prompts),
        "embedder": values["embedder"],
        "routers": [asdict(each) for each in found],
        "untrained": untrained,
    }
    if values["out"] is not None:
        text = json.dumps(json.loads(as_json(summary)), indent=2) + "\n"
        write_file(Path(values["out"]), text)
    if values["plot"] is not None:
        title = f"{counted(len(test.prompts), 'held-out prompt')} of {values['test'] or values['table']}"
        drawn = cost_quality_svg(found, title=title, unit="the table's unit", dashed=(ZERO, ORACLE))
        write_file(Path(values["plot"]), drawn)
    if values["as_json"]:
        write(as_json(summary))
    else:
        show_table(COLUMNS, [_row(each) for each in found])
        note(
            f"trained on {counted(len(train.prompts), 'prompt')}, tested on "
            f"{len(test.prompts):,}; no router is better where its interval holds 0"
        )
    return OK


def log_command(values: dict[str, Any]) -> int:
    """Estimate what another router would have earned on the decisions of a log."""
    from motet.cli.route_policy import LogQuestion, policy_command

    for name, option in _NOT_OF_LOGS.items():
        if values[name] is not None:
            raise CommandError(f"{option} does not go with --log")
    _check_place(values["out"])
    files = values["routers"] or []
    if len(files) > 1:
        raise CommandError(f"--router is given {len(files)} times; with --log it is one file")
    asked = LogQuestion(
        log=values["log"],
        router=files[0] if files else None,
        rule=values["rule"],
        prices=values["prices"],
        scores=values["scores"],
        embedder=values["embedder"],
        out=values["out"],
        resamples=values["resamples"],
        seed=values["seed"],
        as_json=values["as_json"],
    )
    return policy_command(
        asked, lambda prompts: _embedded(prompts, values["embedder"], values["store"])
    )


def explain_command(
    file: str,
    question: str,
    embedder: str,
    prices: Sequence[str],
    willingness: float | None,
    rule: str | None,
    *,
    as_json: bool,
) -> int:
    """Print what a saved router decides."""
    from motet.cli.terminal import as_json as json_of
    from motet.routing.deciding import WorthItsPrice
    from motet.routing.saving import load

    if rule is not None and willingness is not None:
        raise CommandError('--willingness W is --rule "worth-its-price(willingness=W)"; give one')
    router = load(file, embedder=embedder)
    how, known = rule_and_prices(rule, prices, router.models)
    if willingness is not None:
        how = WorthItsPrice(willingness=willingness)
    check_rule(how, known, router.models)
    text = sys.stdin.read() if question == "-" else question
    vector = _embedded((text,), embedder, "none")
    found = dict(zip(router.models, map(float, router.estimate(vector)[0]), strict=True))
    decision = how.decide(found, known)
    if as_json:
        write(json_of(asdict(decision)))
        return OK
    write(decision.model)
    note(decision.reason)
    rows = sorted(found.items(), key=lambda each: -each[1])
    show_table(
        ["MODEL", "SCORE", "PRICE"],
        [[n, f"{s:.3f}", f"{known[n]:g}" if n in known else "-"] for n, s in rows],
    )
    return OK


def _check_place(out: str | None) -> None:
    """Refuse a file that cannot be written where it is to be, before anything is embedded."""
    if out is None:
        return
    folder = Path(out).absolute().parent
    if not folder.is_dir():
        raise CommandError(f"--out is {out}; there is no folder {folder}")
    if Path(out).is_dir():
        raise CommandError(f"--out is {out}, which is a folder")
    if not os.access(folder, os.W_OK):
        raise CommandError(f"--out is {out}; the folder {folder} cannot be written to")


def _note_missing(outcomes: Outcomes, of: str = "") -> None:
    """Tell how many cells of a table have no score, and how many no cost."""
    import numpy as np

    for name, values in (("scores", outcomes.scores), ("costs", outcomes.costs)):
        number = int(np.isnan(values).sum())
        if number:
            note(
                f"{number:,} of {values.size:,} {name}{of} {'is' if number == 1 else 'are'} missing"
            )


def _read(path: str) -> Outcomes:
    from motet.routing.outcome_files import read_outcomes

    return read_outcomes(path)


def _embedded(prompts: Sequence[str], embedder: str, store: str | None) -> Any:
    """Embed each distinct prompt once; what the store's cache holds is not embedded again."""
    import numpy as np

    import motet
    from motet.cli.settings import read_settings
    from motet.programs.choices import beginning_embedded
    from motet.runtime.running import DEFAULT_STORE

    settings = read_settings(store=store)
    where = settings.store_or_none
    distinct = list(dict.fromkeys(prompts))
    note(f"embedding {counted(len(distinct), 'prompt')} by {embedder}")
    model = settings.make_model(embedder)
    call = motet.map(beginning_embedded, distinct, embedder=model)
    vectors = motet.run(call, store=DEFAULT_STORE if where == "default" else where).value
    place = {prompt: row for row, prompt in enumerate(distinct)}
    rows = np.asarray([each.values for each in vectors], dtype=np.float64)
    return rows[[place[prompt] for prompt in prompts]]


def _row(each: Compared) -> list[str]:
    return [
        each.name,
        f"{each.aiq.estimate:.4f}",
        _bounds(each.aiq),
        f"{each.gain.estimate:+.4f}",
        _bounds(each.gain),
        "-" if each.apgr is None else f"{each.apgr.estimate:.3f}",
        "-" if each.apgr is None else _bounds(each.apgr),
        f"{each.train_s:.1f} s" if each.train_s else "-",
    ]


def _bounds(interval: Interval) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}"

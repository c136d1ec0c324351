"""`motet route eval --log`: what another router would have earned on logged decisions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet.cli.eval_folder import write_file
from motet.cli.failures import OK, CommandError
from motet.cli.route_options import check_rule, rule_and_prices
from motet.cli.route_runs import told_left_out
from motet.cli.terminal import as_json, counted, note, show_table, write
from motet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from motet.routing.decision_log import LoggedDecision
    from motet.routing.intervals import Interval
    from motet.routing.logged_policy import PolicyReport, Reward, Usable

FARTHEST = 0.1
"""Share by which the sum of the weights may miss the number of decisions and not be told."""
COLUMNS = ["OF", "ESTIMATOR", "VALUE", "95%", "EFFECTIVE SIZE", "LARGEST WEIGHT"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuestion:
    """What `motet route eval --log` was told."""

    log: str
    router: str | None
    """A saved router; None keeps that of the log, by its logged estimates."""
    rule: str | None
    prices: Sequence[str]
    scores: str | None
    embedder: str
    out: str | None
    resamples: int
    seed: int
    as_json: bool


def policy_command(asked: LogQuestion, embedded: Callable[[Sequence[str]], Any]) -> int:
    """Print the estimates of score and cost, with intervals.

    Args:
        embedded: Gives the embeddings [P, D] of prompts.
    """
    from motet.routing.decision_log import read_decisions
    from motet.routing.score_files import Scores, read_scores

    scores = Scores() if asked.scores is None else read_scores(asked.scores)
    file = read_decisions(asked.log)
    rewards: dict[str, Reward] = {"cost": lambda each: each.cost}
    if asked.scores is not None:
        rewards = {
            "score": lambda each: scores.find(each.id, each.prompt, each.answered),
            **rewards,
        }
    policy = _Policy(asked, embedded)
    summary: dict[str, Any] = {
        "log": asked.log,
        "router": asked.router,
        "rule": repr(policy.rule_of(file.decisions)),
        "num_decisions": len(file.decisions),
        "num_torn": file.num_torn,
        "of": {},
    }
    rows: list[list[str]] = []
    for name, reward in rewards.items():
        told = _evaluated(file.decisions, reward, policy, asked, name)
        if told is None:
            continue
        found, report = told
        summary["of"][name] = {**asdict(report), "left_out": dict(found.left_out)}
        rows += _rows(name, report)
        note(
            f"{name}: {counted(report.num_decisions, 'decision')}, of which the policy takes "
            f"{report.num_matches:,} as they were drawn{told_left_out(found.left_out)}"
        )
        if abs(report.weight_sum / report.num_decisions - 1) > FARTHEST:
            note(
                f"{name}: the weights sum to {report.weight_sum:,.0f}, of "
                f"{counted(report.num_decisions, 'decision')}: these should be alike, so maybe what "
                "is scored depends on the model, or the log is short"
            )
    if file.num_torn:
        note(f"{counted(file.num_torn, 'line')} of the log cut short and passed over")
    if asked.out is not None:
        write_file(Path(asked.out), json.dumps(json.loads(as_json(summary)), indent=2) + "\n")
    if asked.as_json:
        write(as_json(summary))
    else:
        show_table(COLUMNS, rows)
    return OK


def _evaluated(
    decisions: Sequence[LoggedDecision],
    reward: Reward,
    policy: _Policy,
    asked: LogQuestion,
    name: str,
) -> tuple[Usable, PolicyReport] | None:
    """Return the estimates of a reward; None of costs that tell nothing, beside known scores."""
    from motet.routing.logged_policy import evaluate_policy, usable

    if name == "cost" and all(each.cost is None for each in decisions):
        if asked.scores is None:
            raise CommandError(
                "the log knows neither scores nor costs", "give the scores by --scores FILE"
            )
        return None
    try:
        found = usable(decisions, reward)
    except DataError as exc:
        if name == "cost" and asked.scores is not None:
            note(f"cost: {exc}")
            return None
        raise
    choices, estimates = policy.choose(found.decisions)
    report = evaluate_policy(
        found,
        choices,
        estimates if name == "score" else None,
        num_resamples=asked.resamples,
        seed=asked.seed,
    )
    return found, report


class _Policy:
    """A router and a rule, asked what they would have chosen."""

    def __init__(self, asked: LogQuestion, embedded: Callable[[Sequence[str]], Any]) -> None:
        from motet.routing.saving import load

        self._asked = asked
        self._embedded = embedded
        self._router = None
        if asked.router is not None:
            self._router = load(asked.router, embedder=asked.embedder)
        self._scores: dict[str, Mapping[str, float]] = {}

    def rule_of(self, decisions: Sequence[LoggedDecision]) -> Any:
        members = sorted({model for each in decisions for model in each.propensities})
        return rule_and_prices(self._asked.rule, self._asked.prices, members)[0]

    def choose(
        self, decisions: Sequence[LoggedDecision]
    ) -> tuple[list[str], list[Mapping[str, float]]]:
        """Return the model for each decision, and the scores that it expects of all.

        Raises:
            DataError: The router does not know a model of the log, or the log has no prompts.
        """
        members = sorted({model for each in decisions for model in each.propensities})
        rule, prices = rule_and_prices(self._asked.rule, self._asked.prices, members)
        check_rule(rule, prices, members)
        estimates = self._estimates(decisions, members)
        choices = [rule.decide(each, prices).model for each in estimates]
        return choices, estimates

    def _estimates(
        self, decisions: Sequence[LoggedDecision], members: Sequence[str]
    ) -> list[Mapping[str, float]]:
        if self._router is None:
            return [_logged_estimates(each) for each in decisions]
        for name in members:
            if name not in self._router.models:
                known = ", ".join(self._router.models)
                raise DataError(
                    f"{self._asked.router} does not know the log's model {name!r}; it knows {known}"
                )
        prompts = {each.prompt_digest: each.prompt for each in decisions}
        texts = {digest: text for digest, text in prompts.items() if text is not None}
        if len(texts) < len(prompts):
            raise DataError(
                f"{self._asked.log} has digests of {len(prompts) - len(texts)} prompts only, which "
                "no router can read; serve with --log-text, or leave --router out to try another "
                "rule on the logged estimates"
            )
        new = [digest for digest in texts if digest not in self._scores]
        if new:
            found = self._router.estimate(self._embedded([texts[digest] for digest in new]))
            for digest, row in zip(new, found, strict=True):
                scores = dict(zip(self._router.models, map(float, row), strict=True))
                self._scores[digest] = scores
        return [
            {name: self._scores[each.prompt_digest][name] for name in each.propensities}
            for each in decisions
        ]


def _logged_estimates(decision: LoggedDecision) -> Mapping[str, float]:
    missing = [name for name in decision.propensities if name not in decision.estimates]
    if missing:
        raise DataError(f"decision {decision.id} has no estimate of {missing[0]!r}")
    return decision.estimates


def _rows(name: str, report: PolicyReport) -> list[list[str]]:
    rows = [[name, "the log itself", *_shown(report.logged), "-", "-"]]
    for each in report.estimates:
        value = each.value
        sizes = [f"{value.effective_size:.0f}", f"{value.largest_weight:.1f}"]
        rows.append([name, each.name, *_shown(each.interval), *sizes])
    return rows


def _shown(interval: Interval) -> list[str]:
    return [f"{interval.estimate:.4g}", f"{interval.low:.4g} to {interval.high:.4g}"]

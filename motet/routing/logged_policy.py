"""Off-policy evaluation of a router: what it would have earned, from the log of another at work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from motet.errors import DataError
from motet.routing.intervals import Interval, mean_interval, statistic_interval
from motet.routing.off_policy import (
    Logged,
    PolicyValue,
    chosen,
    doubly_robust,
    inverse_propensity,
    self_normalised,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.decision_log import LoggedDecision
    from motet.routing.outcomes import Floats

LEAST_MATCHES: Final = 10
"""Entries whose model the new policy would have chosen too; with fewer nothing can be said."""

Reward = Callable[["LoggedDecision"], "float | None"]
"""What an answer was worth; None where that is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usable:
    """Decisions that were drawn with chances for more than one model, and their rewards."""

    decisions: tuple[LoggedDecision, ...]
    rewards: tuple[float, ...]
    left_out: Mapping[str, int]
    """Other decisions, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """The mean reward of a policy, by one estimator."""

    name: str
    interval: Interval
    """By bootstrap over the prompts."""
    value: PolicyValue


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReport:
    """What a new policy would have earned on the decisions of a log."""

    num_decisions: int
    num_matches: int
    """Decisions where the new policy chooses what was drawn; only these weigh."""
    weight_sum: float
    """Of 1 / chance over the matches. Expected is the number of decisions: where it is far from
    that, which decisions are left may depend on the model that was drawn."""
    logged: Interval
    """Mean reward of the log itself."""
    estimates: tuple[Estimated, ...]


def usable(decisions: Sequence[LoggedDecision], reward: Reward) -> Usable:
    """Part the decisions that tell something of other policies from the rest.

    Raises:
        DataError: None does, as nothing was drawn, or always the same; or a propensity is 0; or
            no reward is known of a model that was drawn often, so that its choices are missing.
    """
    left_out: Counter[str] = Counter()
    kept: list[LoggedDecision] = []
    rewards: list[float] = []
    unrewarded: Counter[str] = Counter()
    for each in decisions:
        why = _unusable(each)
        value = reward(each) if why is None else None
        if why is not None or value is None:
            left_out[why or "without a reward"] += 1
            if why is None:
                unrewarded[each.chosen] += 1
            continue
        kept.append(each)
        rewards.append(value)
    if not kept:
        counted = ", ".join(f"{count} {why}" for why, count in sorted(left_out.items()))
        hint = "; serve with --explore EPS" if set(left_out) & {_CERTAIN, _UNDRAWN} else ""
        raise DataError(f"no decision of the log can be used: {counted or 'it is empty'}{hint}")
    rewarded = {each.chosen for each in kept}
    for model, count in unrewarded.items():
        if model not in rewarded and count >= LEAST_MATCHES:
            raise DataError(
                f"none of the {count} answers of {model!r} has a reward: without them what is left "
                "is no longer drawn as the log says"
            )
    return Usable(decisions=tuple(kept), rewards=tuple(rewards), left_out=dict(left_out))


_CERTAIN: Final = "drawn with certainty"
_UNDRAWN: Final = "without a propensity"


def _unusable(decision: LoggedDecision) -> str | None:
    if decision.asked == "member":
        return "asked for by the client"
    if decision.propensity is None:
        return _UNDRAWN
    if not 0 < decision.propensity <= 1:
        raise DataError(
            f"decision {decision.id}: the propensity of {decision.chosen!r} is "
            f"{decision.propensity:g}; it must be above 0, at most 1"
        )
    if max(decision.propensities.values()) >= 1:
        return _CERTAIN
    if decision.answered is None:
        return "without an answer"
    return None if decision.is_drawn else "answered by another model"


def evaluate_policy(
    found: Usable,
    choices: Sequence[str],
    expected: Sequence[Mapping[str, float]] | None = None,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> PolicyReport:
    """Estimate the mean reward of a policy by IPS, SNIPS and, with `expected`, doubly robust.

    Args:
        found: N decisions.
        choices: [N], the model that the policy takes in each.
        expected: [N], reward of each model by a predictor that was not trained on this log.

    Raises:
        DataError: Lengths differ, a choice had no chance of being drawn, or too few choices match
            what was drawn: the log says nothing of this policy.
        ConfigError: A setting is out of range.

    Source: `motet.routing.off_policy`; intervals by `motet.routing.intervals`. A resample in which
    the policy takes no drawn model has SNIPS's value of the whole log.
    """
    import numpy as np

    count = len(found.decisions)
    if len(choices) != count or (expected is not None and len(expected) != count):
        raise DataError(f"{len(choices)} choices for {count} decisions")
    without = [
        choice
        for choice, each in zip(choices, found.decisions, strict=True)
        if not each.propensities.get(choice, 0) > 0
    ]
    if without:
        raise DataError(
            f"no overlap: in {len(without)} of {count} decisions the policy takes a model that "
            f"could not have been drawn, such as {without[0]!r}"
        )
    matches = sum(c == each.chosen for c, each in zip(choices, found.decisions, strict=True))
    if matches < LEAST_MATCHES:
        raise DataError(
            f"too little overlap: the policy takes what was drawn in {matches} of {count} "
            f"decisions; {LEAST_MATCHES} are needed, so log more, or explore more"
        )
    models = sorted({model for each in found.decisions for model in each.propensities})
    column = {model: place for place, model in enumerate(models)}
    log = Logged(
        rows=np.arange(count),
        actions=np.array([column[each.chosen] for each in found.decisions]),
        rewards=np.array(found.rewards, dtype=np.float64),
        propensities=np.array([each.propensity for each in found.decisions], dtype=np.float64),
    )
    target = chosen([column[choice] for choice in choices], len(models))
    prompts = [each.prompt_digest for each in found.decisions]
    weights = target[log.rows, log.actions] / log.propensities
    ones = np.ones(count)
    # Each estimate is the quotient of two sums over the decisions, which are what is resampled.
    parts = {
        "IPS": (inverse_propensity(log, target), weights * log.rewards, ones),
        "SNIPS": (self_normalised(log, target), weights * log.rewards, weights),
    }
    if expected is not None:
        table = np.array([[each.get(model, 0.0) for model in models] for each in expected])
        missed = log.rewards - table[log.rows, log.actions]
        terms = (target * table).sum(axis=1) + weights * missed
        parts["doubly robust"] = doubly_robust(log, target, table), terms, ones
    settings: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed}
    estimates = []
    for name, (value, above, below) in parts.items():
        interval = statistic_interval(_quotient(above, below), count, prompts, **settings)
        estimates.append(Estimated(name=name, interval=interval, value=value))
    return PolicyReport(
        num_decisions=count,
        num_matches=matches,
        weight_sum=float(weights.sum()),
        logged=mean_interval(log.rewards, prompts, **settings),
        estimates=tuple(estimates),
    )


def _quotient(above: Floats, below: Floats) -> Callable[[NDArray[np.int64]], float]:
    whole = float(above.sum() / below.sum())

    def statistic(rows: NDArray[np.int64]) -> float:
        total = float(below[rows].sum())
        return float(above[rows].sum()) / total if total else whole

    return statistic

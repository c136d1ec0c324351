"""Guidance: what a bandit knows, as texts for the prompt of a model that is to explore."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from motet.errors import ConfigError, DataError
from motet.routing.bandits.arms import Arms
from motet.routing.bandits.greedy import EpsilonGreedy, Greedy
from motet.routing.bandits.linucb import LinearArms, LinUCB
from motet.routing.bandits.memory import observe
from motet.routing.bandits.thompson import Thompson
from motet.routing.bandits.ucb import UCB
from motet.search.settings import some_text

DIGITS: Final = 2
"""After the point, of every number but the rewards of a raw history."""


def statistics(rounds: Sequence[tuple[int, float]], num_arms: int) -> Arms:
    """Return the statistics of a history of (arm, reward).

    Raises:
        DataError: There is no such arm.
    """
    state = Arms.empty(num_arms)
    for arm, reward in rounds:
        state = observe(state, arm, reward)
    return state


def raw_history(rounds: Sequence[tuple[int, float]], names: Sequence[str]) -> str:
    """Return one line a round, the oldest first, with rewards in full.

    Raises:
        DataError: There is no such arm.
    """
    lines = []
    for place, (arm, reward) in enumerate(rounds, start=1):
        if not 0 <= arm < len(names):
            raise DataError(f"round {place} is of arm {arm}; there are {len(names)}")
        lines.append(f"{place}. {names[arm]}: reward {reward!r}")
    return "\n".join(lines) or "Nothing was tried yet."


def summary(state: Arms, names: Sequence[str]) -> str:
    """Return one line an arm: how often it was tried, and its mean reward.

    Raises:
        DataError: There are not as many names as arms.
    """
    _check_names(names, len(state.counts))
    lines = []
    for name, count, mean in zip(names, state.counts, state.means, strict=True):
        known = "not tried yet"
        if mean is not None:
            times = f"{count:.0f}" if count == round(count) else f"{count:.{DIGITS}f}"
            known = f"tried {times} times, mean reward {mean:.{DIGITS}f}"
        lines.append(f"{name}: {known}")
    return "\n".join(lines)


def hints(
    policy: UCB | Greedy | EpsilonGreedy | Thompson | LinUCB,
    state: Arms | LinearArms,
    names: Sequence[str],
    *,
    context: Any = None,
    step: int | None = None,
) -> str:
    """Return one line an arm: the figures by which `policy` would choose at this step.

    Source: EVOLvE (Nie et al. 2024, arXiv:2410.06238), algorithm-guided support. What Thompson
    sampling draws for the hint is what it chooses by; in the authors' code it is drawn anew.

    Raises:
        ConfigError: The policy is of no known kind, or the state is another policy's.
        DataError: There are not as many names as arms, or the context does not fit.
    """
    _check_names(names, len(state.counts))
    if isinstance(policy, LinUCB) and isinstance(state, LinearArms):
        figures = [
            _bonus_and_value(policy.bonus(state, arm, context), policy.value(state, arm, context))
            for arm in range(len(names))
        ]
    elif not isinstance(state, Arms):
        raise ConfigError(f"policy is {policy!r}; the state is of {type(state).__name__}")
    elif isinstance(policy, UCB):
        figures = [
            _bonus_and_value(policy.bonus(state, arm), policy.value(state, arm))
            for arm in range(len(names))
        ]
    elif isinstance(policy, Thompson):
        pairs = zip(policy.posterior(state), policy.samples(state, step), strict=True)
        figures = [
            f"posterior Beta({_short(alpha)}, {_short(beta)}), sample {_short(sample)}"
            for (alpha, beta), sample in pairs
        ]
    elif isinstance(policy, (Greedy, EpsilonGreedy)):
        figures = [f"exploitation value {_short(mean or 0.0)}" for mean in state.means]
    else:
        raise ConfigError(f"policy is {policy!r}; the state is of {type(state).__name__}")
    return "\n".join(f"{name}: {text}" for name, text in zip(names, figures, strict=True))


def prompt(
    task: str,
    history: str,
    names: Sequence[str],
    *,
    hints: str = "",
    examples: str = "",
    unit: str = "option",
) -> str:
    """Return the prompt of a model that is to choose an arm.

    Args:
        task: What is going on, and what a reward is.
        history: From `raw_history` or `summary`.
        hints: From `hints`; left out where empty.
        examples: From `demonstrations`; left out where empty.
        unit: What an arm is called.

    Raises:
        ConfigError: `task` or `unit` is empty.
    """
    some_text("task", task)
    some_text("unit", unit)
    parts = [task]
    if examples:
        parts.append(f"This is how a good algorithm chose in such a task:\n\n{examples}")
        parts.append("Now it is your turn.")
    parts.append(f"So far:\n{history}")
    if hints:
        parts.append(f"What an algorithm says of each {unit}:\n{hints}")
    parts.append(f"Which {unit} is to be tried next? Answer with one of: {', '.join(names)}.")
    return "\n\n".join(parts)


def _bonus_and_value(bonus: float, value: float) -> str:
    return f"exploration bonus {_short(bonus)}, exploitation value {_short(value)}"


def _short(value: float) -> str:
    return f"{value:.{DIGITS}f}" if math.isfinite(value) else "infinite"


def _check_names(names: Sequence[str], num_arms: int) -> None:
    if len(names) != num_arms:
        raise DataError(f"there are {len(names)} names of {num_arms} arms")

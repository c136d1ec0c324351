"""Demonstrations: choices of a good algorithm in a game that was played, for a model's prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from motet.errors import ConfigError, DataError
from motet.routing.bandits.greedy import EpsilonGreedy, Greedy
from motet.routing.bandits.guidance import hints, raw_history, statistics, summary
from motet.routing.bandits.regret import Play
from motet.routing.bandits.thompson import Thompson
from motet.routing.bandits.ucb import UCB
from motet.search.settings import one_of, some_text, whole

Form: TypeAlias = Literal["summary", "raw"]
FORMS: Final = ("summary", "raw")


def demonstrations(
    game: Play,
    names: Sequence[str],
    *,
    form: Form = "summary",
    guide: UCB | Greedy | EpsilonGreedy | Thompson | None = None,
    num: int = 5,
    skip: int = 2,
    every: int = 2,
    unit: str = "option",
) -> str:
    """Return examples: what was known at a step of the game, and what the algorithm chose then.

    They go into `guidance.prompt`, where a model that is to explore finds them before its own
    history. The game may be of other arms and names than the model's.

    Source: EVOLvE (Nie et al. 2024, arXiv:2410.06238), few-shot demonstrations from trajectories
    of an oracle, UCB there; the first steps are left out since there is nothing to learn from them.
    The numbers are those of the authors' code, the wording is ours.

    Args:
        game: Of the algorithm, from `regret.play`.
        names: Of the game's arms.
        form: The history of an example: counts and means, or each round.
        guide: Adds its hints to each example, as the model's own prompt may have them. Its settings
            are those of the algorithm that played.
        num: Most examples.
        skip: Steps left out at the beginning.
        every: Steps from one example to the next.
        unit: What an arm is called.

    Raises:
        DataError: The game has no step behind those left out, or arms without a name.
        ConfigError: A setting is out of range, or the guide is of no known kind.
    """
    one_of("form", form, FORMS)
    whole("num", num)
    whole("skip", skip, 0)
    whole("every", every)
    some_text("unit", unit)
    if guide is not None and not isinstance(guide, UCB | Greedy | EpsilonGreedy | Thompson):
        raise ConfigError(
            f"guide is {guide!r}; it must be UCB, Greedy, EpsilonGreedy, Thompson or None"
        )
    rounds = list(zip(game.arms, game.rewards, strict=True))
    steps = range(skip, len(rounds), every)[:num]
    if not steps:
        raise DataError(f"the game has {len(rounds)} steps; skip is {skip}, so none is left")
    nameless = [arm for arm in game.arms if not 0 <= arm < len(names)]
    if nameless:
        raise DataError(f"the game has an arm {nameless[0]}; there are {len(names)} names")
    return "\n\n".join(
        _example(place, rounds, step, names, form, guide, unit)
        for place, step in enumerate(steps, start=1)
    )


def _example(
    place: int,
    rounds: Sequence[tuple[int, float]],
    step: int,
    names: Sequence[str],
    form: Form,
    guide: Any,
    unit: str,
) -> str:
    before = rounds[:step]
    known = statistics(before, len(names))
    history = raw_history(before, names) if form == "raw" else summary(known, names)
    parts = [f"Example {place}", f"So far:\n{history}"]
    if guide is not None:
        state = guide.init(len(names))
        for at, (arm, reward) in enumerate(before):
            state = guide.update(state, arm, reward, step=at)
        parts.append(
            f"What an algorithm says of each {unit}:\n{hints(guide, state, names, step=step)}"
        )
    parts.append(f"The {unit} to be tried next: {names[rounds[step][0]]}")
    return "\n".join(parts)

"""Demonstrations: what an oracle knew at a step, and what it chose."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.bandits.demonstrations import demonstrations
from motet.routing.bandits.greedy import Greedy
from motet.routing.bandits.guidance import prompt, raw_history, statistics, summary
from motet.routing.bandits.linucb import LinUCB
from motet.routing.bandits.memory import Memory
from motet.routing.bandits.regret import Configuration, Play, play
from motet.routing.bandits.thompson import Thompson
from motet.routing.bandits.ucb import UCB

NAMES = ("red", "green", "blue")
WORLD = Configuration(means=(0.2, 0.8, 0.5))


def game(*rounds: tuple[int, float]) -> Play:
    return Play(
        arms=tuple(arm for arm, _ in rounds),
        rewards=tuple(reward for _, reward in rounds),
        regrets=(0.0,) * len(rounds),
        optimal_share=0.0,
        is_suffix_failure=False,
    )


def test_golden_texts() -> None:
    """Two examples of a game of five rounds, as counts and as rounds."""
    played = game((0, 1.0), (1, 0.5), (2, 0.0), (0, 1.0), (1, 0.0))

    assert demonstrations(played, NAMES, unit="hat") == (
        "Example 1\nSo far:\nred: tried 1 times, mean reward 1.00\n"
        "green: tried 1 times, mean reward 0.50\nblue: not tried yet\n"
        "The hat to be tried next: blue\n\n"
        "Example 2\nSo far:\nred: tried 2 times, mean reward 1.00\n"
        "green: tried 1 times, mean reward 0.50\nblue: tried 1 times, mean reward 0.00\n"
        "The hat to be tried next: green"
    )
    assert demonstrations(played, NAMES, form="raw", num=1) == (
        "Example 1\nSo far:\n1. red: reward 1.0\n2. green: reward 0.5\n"
        "The option to be tried next: blue"
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99), num=st.integers(1, 6), skip=st.integers(0, 8), every=st.integers(1, 5)
)
def test_an_example_is_a_step_of_the_oracle(seed: int, num: int, skip: int, every: int) -> None:
    """Its history is of what came before, and its choice is what the oracle makes of that."""
    oracle = UCB()
    played = play(oracle, WORLD, horizon=20, seed=seed)
    rounds = list(zip(played.arms, played.rewards, strict=True))

    text = demonstrations(played, NAMES, num=num, skip=skip, every=every)

    steps = list(range(skip, 20, every))[:num]
    examples = text.split("\n\n")
    assert len(examples) == len(steps)
    for example, step in zip(examples, steps, strict=True):
        known = statistics(rounds[:step], 3)
        assert f"So far:\n{summary(known, NAMES)}\n" in example
        assert example.endswith(f": {NAMES[oracle.choose(known)]}")


@pytest.mark.parametrize("guide", [UCB(), UCB(memory=Memory(window=4)), Greedy(), Thompson(seed=3)])
def test_hints_of_an_example_are_those_the_choice_was_made_by(guide: Any) -> None:
    """What the guide says is highest is what it chose, forgetting and drawing as it did."""
    played = play(guide, WORLD, horizon=30, seed=5)

    text = demonstrations(played, NAMES, guide=guide, skip=3, every=3, num=9)

    for example in text.split("\n\n"):
        told = re.findall(
            r"^(\w+): .*?(?:bonus (\S+), exploitation value|sample|value) (\S+)$",
            example,
            re.MULTILINE,
        )
        totals = {name: float(bonus.replace("infinite", "inf") or 0) + float(value)
                  for name, bonus, value in told}  # fmt: skip
        chosen = example.rsplit(": ", 1)[1]
        assert len(totals) == 3
        assert totals[chosen] >= max(totals.values()) - 0.011


def test_examples_stand_before_the_models_own_history() -> None:
    """Behind the task, which begins every prompt alike; without them nothing is said of them."""
    with_examples = prompt("Sell hats.", "H", NAMES, examples="E", hints="red: good", unit="hat")

    assert with_examples == (
        "Sell hats.\n\nThis is how a good algorithm chose in such a task:\n\nE\n\n"
        "Now it is your turn.\n\nSo far:\nH\n\nWhat an algorithm says of each hat:\nred: good\n\n"
        "Which hat is to be tried next? Answer with one of: red, green, blue."
    )
    assert "turn" not in prompt("Sell hats.", "H", NAMES)


def test_a_raw_history_of_the_first_step_is_empty() -> None:
    """With nothing skipped the first example knows nothing."""
    text = demonstrations(game((1, 0.5)), NAMES, skip=0, form="raw")

    assert raw_history([], NAMES) in text
    assert text.endswith(": green")


def test_wrong_input_is_refused() -> None:
    """By typed errors that name it."""
    played = game((0, 1.0), (1, 0.5), (2, 0.0))
    other: Any = LinUCB(dimensions=2)
    none: Any = object()
    wrong: Any = "counts"
    for call, error, message in [
        (lambda: demonstrations(played, NAMES, skip=3), DataError, "3 steps; skip is 3"),
        (lambda: demonstrations(game(), NAMES), DataError, "0 steps"),
        (lambda: demonstrations(played, NAMES[:2]), DataError, "an arm 2; there are 2 names"),
        (lambda: demonstrations(played, NAMES, num=0), ConfigError, "num is 0"),
        (lambda: demonstrations(played, NAMES, every=0), ConfigError, "every is 0"),
        (lambda: demonstrations(played, NAMES, skip=-1), ConfigError, "skip is -1"),
        (lambda: demonstrations(played, NAMES, form=wrong), ConfigError, "form is 'counts'"),
        (lambda: demonstrations(played, NAMES, unit=""), ConfigError, "unit is ''"),
        (lambda: demonstrations(played, NAMES, guide=other), ConfigError, "guide is LinUCB"),
        (lambda: demonstrations(played, NAMES, guide=none), ConfigError, "guide is <object"),
    ]:
        with pytest.raises(error, match=message):
            call()

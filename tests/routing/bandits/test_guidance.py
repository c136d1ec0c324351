"""Guidance: texts that say what the statistics say."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.bandits.arms import Arms
from motet.routing.bandits.greedy import EpsilonGreedy, Greedy
from motet.routing.bandits.guidance import hints, prompt, raw_history, statistics, summary
from motet.routing.bandits.linucb import LinUCB
from motet.routing.bandits.thompson import Thompson
from motet.routing.bandits.ucb import UCB

NAMES = ("red", "green", "blue")
GOLDEN = Arms((4.0, 5.0, 1.0), (2.0, 3.0, 0.2), (2.0, 3.0, 0.04))
ROUNDS = st.lists(st.tuples(st.integers(0, 2), st.floats(-5, 5)), min_size=1, max_size=30)


@given(ROUNDS)
def test_summary_and_raw_history_imply_the_same_statistics(rounds: Any) -> None:
    """Whoever reads the raw list and counts has the very state that the summary is written from."""
    read = re.findall(r"^\d+\. (\w+): reward (\S+)$", raw_history(rounds, NAMES), re.MULTILINE)

    counted = statistics([(NAMES.index(name), float(reward)) for name, reward in read], 3)

    assert len(read) == len(rounds)
    assert counted == statistics(rounds, 3)
    for name, count, mean in zip(NAMES, counted.counts, counted.means, strict=True):
        told = re.search(rf"{name}: tried (\d+) times, mean reward (\S+)", summary(counted, NAMES))
        assert (told is None) == (mean is None)
        if told is not None and mean is not None:
            assert (int(told[1]), float(told[2])) == (count, pytest.approx(mean, abs=0.00501))


def test_golden_texts() -> None:
    """A history of three rounds, raw and as a summary."""
    rounds = [(0, 1.0), (2, 0.25), (0, 0.5)]

    assert raw_history(rounds, NAMES) == (
        "1. red: reward 1.0\n2. blue: reward 0.25\n3. red: reward 0.5"
    )
    assert summary(statistics(rounds, 3), NAMES) == (
        "red: tried 2 times, mean reward 0.75\n"
        "green: not tried yet\n"
        "blue: tried 1 times, mean reward 0.25"
    )
    assert raw_history([], NAMES) == "Nothing was tried yet."


def test_hints_of_ucb_are_its_two_parts() -> None:
    """Golden, and infinite where an arm was never tried."""
    assert hints(UCB(), GOLDEN, NAMES) == (
        "red: exploration bonus 0.54, exploitation value 0.50\n"
        "green: exploration bonus 0.48, exploitation value 0.60\n"
        "blue: exploration bonus 1.07, exploitation value 0.20"
    )
    assert hints(UCB(), Arms.empty(1), ["one"]) == (
        "one: exploration bonus infinite, exploitation value 0.00"
    )


@pytest.mark.parametrize("policy", [Greedy(), EpsilonGreedy()])
def test_hints_of_greedy_have_no_bonus(policy: Any) -> None:
    """The mean alone."""
    assert hints(policy, GOLDEN, NAMES).splitlines()[1] == "green: exploitation value 0.60"
    assert "bonus" not in hints(policy, GOLDEN, NAMES)


def test_the_sample_of_a_hint_is_what_thompson_chooses_by() -> None:
    """At each of 30 steps the highest sample told is of the arm chosen; the Beta is the state's."""
    policy = Thompson(seed=8)

    for step in range(30):
        text = hints(policy, GOLDEN, NAMES, step=step)
        samples = [float(each) for each in re.findall(r"sample (\S+)", text)]
        assert samples[policy.choose(GOLDEN, step=step)] == max(samples)
        assert text.splitlines()[0].startswith("red: posterior Beta(3.00, 3.00), sample 0.")


def test_hints_of_linucb_are_of_the_context() -> None:
    """One reward of 1 at (1, 0): value 1/2 and bonus .5/sqrt(2) there, 0 and .5 at (0, 1)."""
    policy = LinUCB(dimensions=2)
    state = policy.update(policy.init(1), 0, 1.0, [1, 0])

    assert hints(policy, state, ["one"], context=[1, 0]) == (
        "one: exploration bonus 0.35, exploitation value 0.50"
    )
    assert hints(policy, state, ["one"], context=[0, 1]) == (
        "one: exploration bonus 0.50, exploitation value 0.00"
    )


def test_a_prompt_has_its_parts_in_order() -> None:
    """Task, history, hints where there are any, and the question with the names."""
    with_hints = prompt("Sell hats.", "H", NAMES, hints="red: good", unit="hat")

    assert with_hints == (
        "Sell hats.\n\nSo far:\nH\n\nWhat an algorithm says of each hat:\nred: good\n\n"
        "Which hat is to be tried next? Answer with one of: red, green, blue."
    )
    assert "algorithm" not in prompt("Sell hats.", "H", NAMES)


def test_wrong_input_is_refused() -> None:
    """By typed errors that name it."""
    other: Any = LinUCB(dimensions=2)
    none: Any = object()
    for call, error, message in [
        (lambda: summary(GOLDEN, NAMES[:2]), DataError, "2 names of 3 arms"),
        (lambda: hints(UCB(), GOLDEN, NAMES[:2]), DataError, "2 names of 3 arms"),
        (lambda: raw_history([(0, 1.0), (3, 1.0)], NAMES), DataError, "round 2 is of arm 3"),
        (lambda: statistics([(3, 1.0)], 3), DataError, "no arm 3"),
        (lambda: hints(other, GOLDEN, NAMES), ConfigError, "state is of Arms"),
        (lambda: hints(UCB(), other.init(3), NAMES), ConfigError, "state is of LinearArms"),
        (lambda: hints(none, GOLDEN, NAMES), ConfigError, "policy is"),
        (lambda: prompt("", "H", NAMES), ConfigError, "task is ''"),
    ]:
        with pytest.raises(error, match=message):
            call()

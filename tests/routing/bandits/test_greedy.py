"""Greedy bandits: no bonus, and chance by the seed and the step alone."""

import pytest

from motet.errors import ConfigError, DataError
from motet.routing.bandits.arms import Arms
from motet.routing.bandits.greedy import EpsilonGreedy, Greedy
from motet.routing.bandits.ucb import UCB

GOLDEN = Arms((4.0, 5.0, 1.0), (2.0, 3.0, 0.2), (2.0, 3.0, 0.04))


def test_greedy_has_no_bonus() -> None:
    """Where UCB takes the third arm for being unknown, greedy takes the second, of the best mean;
    with the bonus of UCB, as in the authors' code, it would take the third."""
    assert UCB().choose(GOLDEN) == 2
    assert Greedy().choose(GOLDEN) == 1
    assert EpsilonGreedy(epsilon=0).choose(GOLDEN) == 1


def test_greedy_stays_with_the_first_luck() -> None:
    """After one try each it never leaves the arm of the best mean."""
    policy = Greedy()
    state = policy.init(3)
    tried = []

    for _ in range(60):
        tried.append(policy.choose(state))
        state = policy.update(state, tried[-1], (0.3, 0.5, 0.2)[tried[-1]])

    assert tried == [0, 1, 2, *[1] * 57]


def test_epsilon_is_the_share_of_free_choices() -> None:
    """With epsilon .3 and 3 arms a non-best arm is tried in a fifth of the steps."""
    policy = EpsilonGreedy(epsilon=0.3, seed=4)

    tried = [policy.choose(GOLDEN, step=step) for step in range(5000)]

    assert tried.count(0) + tried.count(2) == pytest.approx(1000, abs=4 * 28.3)
    assert tried.count(0) == pytest.approx(500, abs=4 * 21.2)


def test_chance_is_of_the_seed_and_the_step() -> None:
    """The same again; another with another seed; the state's own step where none is named."""
    policy, other = EpsilonGreedy(epsilon=1, seed=1), EpsilonGreedy(epsilon=1, seed=2)
    steps = range(50)

    first = [policy.choose(GOLDEN, step=step) for step in steps]

    assert first == [policy.choose(GOLDEN, step=step) for step in steps]
    assert first != [other.choose(GOLDEN, step=step) for step in steps]
    moved = Arms(GOLDEN.counts, GOLDEN.sums, GOLDEN.squares, 17)
    assert policy.choose(moved) == first[17]


def test_wrong_settings_are_refused() -> None:
    """By name and value."""
    with pytest.raises(ConfigError, match="epsilon is 1.5"):
        EpsilonGreedy(epsilon=1.5)
    with pytest.raises(ConfigError, match="seed is -1"):
        EpsilonGreedy(seed=-1)
    with pytest.raises(DataError, match="-0.1"):
        Greedy().update(GOLDEN, 0, -0.1)

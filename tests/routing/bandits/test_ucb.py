"""UCB: its indices, what it tries first, and what it refuses."""

import math

import pytest

from motet.errors import ConfigError, DataError
from motet.routing.bandits.arms import Arms
from motet.routing.bandits.ucb import UCB

GOLDEN = Arms((4.0, 5.0, 1.0), (2.0, 3.0, 0.2), (2.0, 3.0, 0.04))


def test_golden_indices() -> None:
    """alpha .5, t 10, (mean, n) (.5, 4), (.6, 5), (.2, 1): 1.0365, 1.0799, 1.2730: the third."""
    policy = UCB(alpha=0.5)

    indices = [policy.value(GOLDEN, arm) + policy.bonus(GOLDEN, arm) for arm in range(3)]

    assert indices == pytest.approx([1.0365, 1.0799, 1.2730], abs=5e-5)
    assert policy.choose(GOLDEN) == 2


def test_the_bonus_decides() -> None:
    """With a small alpha the second arm's mean wins."""
    assert UCB(alpha=0.01).choose(GOLDEN) == 1
    assert UCB(alpha=0.0).choose(GOLDEN) == 1


def test_each_arm_is_tried_once_before_any_twice() -> None:
    """In their order, however good the first ones are."""
    policy = UCB()
    state, tried = policy.init(5), []

    for _ in range(5):
        tried.append(policy.choose(state))
        state = policy.update(state, tried[-1], 1.0)

    assert tried == [0, 1, 2, 3, 4]
    assert policy.bonus(policy.init(1), 0) == math.inf
    assert policy.choose(state) == 0


def test_rewards_stay_in_their_range() -> None:
    """Outside of 0 to 1 they are refused, unless another range or none is set."""
    state = UCB().init(2)

    with pytest.raises(DataError, match="1.2"):
        UCB().update(state, 0, 1.2)
    assert UCB(rewards=(-2, 2)).update(state, 0, 1.25).sums == (1.25, 0)
    assert UCB(rewards=None).update(state, 0, -70).sums == (-70, 0)
    with pytest.raises(ConfigError, match="alpha is -1"):
        UCB(alpha=-1)


def test_counts_under_one_have_no_bonus_below_zero() -> None:
    """A total of 0.5 has a negative logarithm, which counts as 0."""
    thin = Arms((0.25, 0.25), (0.1, 0.2), (0.0, 0.0))

    assert UCB().bonus(thin, 0) == 0
    assert UCB().choose(thin) == 1

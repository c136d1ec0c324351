"""Thompson sampling: its posteriors, its chance, and that runs can be resumed."""

import json
import random

import pytest

from motet.errors import ConfigError, DataError
from motet.routing.bandits.arms import Arms
from motet.routing.bandits.thompson import Thompson


def test_golden_posteriors() -> None:
    """Rewards 1, .25 and .5 of Beta(1, 1) give Beta(2.75, 2.25); an untried arm stays as it was."""
    policy = Thompson()
    state = policy.init(2)

    for reward in (1, 0.25, 0.5):
        state = policy.update(state, 0, reward)

    assert policy.posterior(state) == [(2.75, 2.25), (1, 1)]


def test_samples_are_of_the_posterior() -> None:
    """Mean 2.75/5 and the Beta's variance, over 4000 steps within 4 standard errors."""
    state = Arms((3.0,), (1.75,), (0.0,))

    drawn = [Thompson().samples(state, step)[0] for step in range(4000)]

    mean, variance = 0.55, 0.55 * 0.45 / 6
    assert sum(drawn) / 4000 == pytest.approx(mean, abs=4 * (variance / 4000) ** 0.5)
    assert sum((x - mean) ** 2 for x in drawn) / 4000 == pytest.approx(variance, rel=0.1)


def test_arms_are_tried_as_often_as_they_are_likely_to_be_best() -> None:
    """Beta(3, 1) is above Beta(1, 1) with probability 3/4."""
    state = Arms((2.0, 0.0), (2.0, 0.0), (2.0, 0.0))

    tried = [Thompson().choose(state, step=step) for step in range(4000)]

    assert tried.count(0) / 4000 == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 4000) ** 0.5)


def test_a_resumed_run_chooses_the_same() -> None:
    """Broken off after any step, written as JSON and read back, the choices go on as they were."""
    policy, world = Thompson(seed=3), (0.3, 0.6, 0.5)

    def run(state: Arms, steps: range) -> tuple[list[int], Arms]:
        tried = []
        for step in steps:
            arm = policy.choose(state)
            tried.append(arm)
            reward = float(random.Random(step).random() < world[arm])
            state = policy.update(state, arm, reward)
        return tried, state

    whole, end = run(policy.init(3), range(60))
    first, state = run(policy.init(3), range(25))
    again, resumed = run(Arms.from_json(json.loads(json.dumps(state.to_json()))), range(25, 60))

    assert first + again == whole
    assert resumed == end
    assert len(set(whole)) == 3


def test_steps_under_way_draw_for_themselves() -> None:
    """Twenty choices from one state, each with its step, are not all the same arm."""
    policy = Thompson()
    state = policy.init(4)

    assert len({policy.choose(state, step=step) for step in range(20)}) == 4
    assert len({policy.choose(state) for _ in range(20)}) == 1


def test_another_seed_draws_otherwise() -> None:
    """And the same seed the same."""
    state = Thompson().init(4)

    def drawn(seed: int) -> list[float]:
        return Thompson(seed=seed).samples(state, 5)

    assert drawn(1) == drawn(1) != drawn(2)


def test_rewards_outside_0_to_1_are_refused() -> None:
    """Also those that a state holds from elsewhere."""
    policy = Thompson()

    with pytest.raises(DataError, match="-0.5"):
        policy.update(policy.init(1), 0, -0.5)
    with pytest.raises(DataError, match="arm 0 has 2.0 rewards with a sum of -3.0"):
        policy.choose(Arms((2.0,), (-3.0,), (9.0,)))
    with pytest.raises(ConfigError, match="alpha is 0"):
        Thompson(alpha=0)
    with pytest.raises(ConfigError, match="beta is -1"):
        Thompson(beta=-1)

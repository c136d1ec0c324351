"""LinUCB: its closed form, its rank-one updates, and what it refuses."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.bandits.linucb import LinearArms, LinUCB


def learn(policy: LinUCB, num_arms: int, entries: Any) -> LinearArms:
    state = policy.init(num_arms)
    for arm, reward, context in entries:
        state = policy.update(state, arm, reward, context)
    return state


def some_entries(number: int, dimensions: int, num_arms: int, seed: int = 0) -> list[Any]:
    generator = np.random.default_rng(seed)
    return [
        (
            int(generator.integers(num_arms)),
            float(generator.random()),
            generator.normal(size=dimensions),
        )
        for _ in range(number)
    ]


def test_one_hot_contexts_give_the_form_of_single_arms() -> None:
    """Golden: theta = sum / (1 + n) and bonus = alpha / sqrt(1 + n), each context for itself."""
    policy, chances = LinUCB(dimensions=3, alpha=0.5), np.random.default_rng(1)
    entries = [
        (int(chances.integers(2)), float(chances.random()), int(chances.integers(3)))
        for _ in range(40)
    ]

    state = learn(policy, 2, [(a, r, np.eye(3)[c]) for a, r, c in entries])

    for arm in range(2):
        for context in range(3):
            rewards = [r for a, r, c in entries if (a, c) == (arm, context)]
            n, x = len(rewards), np.eye(3)[context]
            assert policy.value(state, arm, x) == pytest.approx(sum(rewards) / (1 + n))
            assert policy.bonus(state, arm, x) == pytest.approx(0.5 / math.sqrt(1 + n))
            assert policy.theta(state, arm)[context] == pytest.approx(sum(rewards) / (1 + n))


def test_rank_one_updates_are_the_inverse() -> None:
    """After 3000 updates of 8 numbers it is inv(ridge I + sum x xT), to 1e-9."""
    policy, entries = LinUCB(dimensions=8, ridge=0.5), some_entries(3000, 8, 2)

    state = learn(policy, 2, entries)

    for arm in range(2):
        outer = sum((np.outer(x, x) for a, _, x in entries if a == arm), 0.5 * np.eye(8))
        moment = sum((r * x for a, r, x in entries if a == arm), np.zeros(8))
        assert state.inverses[arm] == pytest.approx(np.linalg.inv(outer), abs=1e-9)
        assert policy.theta(state, arm) == pytest.approx(np.linalg.solve(outer, moment), abs=1e-9)
    assert sum(state.counts) == 3000


@given(st.integers(0, 1000), st.randoms(use_true_random=False))
def test_rewards_in_any_order_give_the_same_state(seed: int, chance: Any) -> None:
    """But for rounding: sums commute."""
    policy, entries = LinUCB(dimensions=3), some_entries(25, 3, 2, seed)
    late = list(entries)
    chance.shuffle(late)

    one, two = learn(policy, 2, entries), learn(policy, 2, late)

    assert one.counts == two.counts
    for arm in range(2):
        assert two.inverses[arm] == pytest.approx(one.inverses[arm], abs=1e-12)
        assert two.moments[arm] == pytest.approx(one.moments[arm], abs=1e-12)


def test_the_choice_is_of_the_highest_sum() -> None:
    """As a loop over value and bonus has it; the first where nothing is known."""
    policy = LinUCB(dimensions=4)
    state = learn(policy, 5, some_entries(30, 4, 5))
    queries = np.random.default_rng(9).normal(size=(20, 4))

    for x in queries:
        sums = [policy.value(state, a, x) + policy.bonus(state, a, x) for a in range(5)]
        assert policy.choose(state, x) == int(np.argmax(sums))
    assert policy.choose(policy.init(3), queries[0]) == 0


def test_arms_far_below_zero_are_chosen_too() -> None:
    """Where all sums are under -1 the authors' code has no choice; here the best is it."""
    policy = LinUCB(dimensions=1, rewards=(-10, 0))
    state = learn(policy, 2, [(0, -9, [1.0])] * 30 + [(1, -8, [1.0])] * 30)

    assert policy.choose(state, [1.0]) == 1


def test_it_learns_which_arm_fits_which_context() -> None:
    """Two arms, each right for one side of a line: the last 200 of 500 choices are 95 % right."""
    policy, generator = LinUCB(dimensions=3), np.random.default_rng(5)
    state, right = policy.init(2), []

    for _ in range(500):
        x = np.append(generator.normal(size=2), 1.0)
        arm = policy.choose(state, x)
        right.append(arm == int(x[0] > 0))
        state = policy.update(state, arm, float(right[-1]), x)

    assert sum(right[-200:]) >= 190


def test_a_state_survives_json() -> None:
    """Written and read back it is equal; another one is not."""
    policy = LinUCB(dimensions=2)
    state = learn(policy, 3, some_entries(7, 2, 3))

    back = LinearArms.from_json(json.loads(json.dumps(state.to_json())))

    assert back == state
    assert policy.update(back, 0, 0.5, [1, 2]) == policy.update(state, 0, 0.5, [1, 2]) != state
    assert state != learn(policy, 3, some_entries(7, 2, 3, seed=1))


def test_an_update_leaves_the_old_state_as_it_was() -> None:
    """States share what did not change."""
    policy = LinUCB(dimensions=2)
    old = policy.init(2)
    before = json.dumps(old.to_json())

    new = policy.update(old, 1, 1.0, [1.0, 0.0])

    assert json.dumps(old.to_json()) == before
    assert new.inverses[0] is old.inverses[0]


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (None, "missing"),
        ([1.0], r"shape \(1,\); it must be \(2,\)"),
        ([[1.0, 2.0]], "shape"),
        ([1.0, float("nan")], "not finite"),
        (["a", "b"], "context is list"),
    ],
)
def test_contexts_that_do_not_fit_are_refused(context: Any, message: str) -> None:
    """When choosing and when learning."""
    policy = LinUCB(dimensions=2)
    state = policy.init(2)

    with pytest.raises(DataError, match=message):
        policy.choose(state, context)
    with pytest.raises(DataError, match=message):
        policy.update(state, 0, 0.5, context)


def test_other_wrong_input_is_refused() -> None:
    """By typed errors that name it."""
    policy = LinUCB(dimensions=2)
    state = policy.init(2)
    whole = state.to_json()

    for call, error, message in [
        (lambda: LinUCB(dimensions=0), ConfigError, "dimensions is 0"),
        (lambda: LinUCB(dimensions=1, alpha=-1), ConfigError, "alpha is -1"),
        (lambda: LinUCB(dimensions=1, ridge=0), ConfigError, "ridge is 0"),
        (lambda: policy.init(0), ConfigError, "num_arms is 0"),
        (lambda: policy.update(state, 2, 0.5, [1, 1]), DataError, "no arm 2"),
        (lambda: policy.update(state, 0, 1.5, [1, 1]), DataError, "reward is 1.5"),
        (lambda: LinearArms.from_json({}), DataError, "no state of LinUCB"),
        (lambda: LinearArms.from_json({**whole, "counts": [0]}), DataError, "do not agree"),
        (lambda: LinearArms.from_json({**whole, "counts": [0, -1]}), DataError, "0 or more"),
        (
            lambda: LinearArms.from_json({**whole, "moments": [[0, 0], [0, float("inf")]]}),
            DataError,
            "finite",
        ),
    ]:
        with pytest.raises(error, match=message):
            call()

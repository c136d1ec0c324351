"""What bandits remember: sums that commute, windows and discounts."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.bandits.arms import Arms
from motet.routing.bandits.memory import Memory, observe
from motet.routing.bandits.ucb import UCB

REWARDS = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0, 1, allow_nan=False)), min_size=1, max_size=40
)


def fill(entries: Any, memory: Memory = Memory(), num_arms: int = 4) -> Arms:
    state = Arms.empty(num_arms)
    for step, (arm, reward) in entries:
        state = observe(state, arm, reward, memory, step)
    return state


@given(REWARDS, st.randoms(use_true_random=False), st.booleans())
def test_rewards_in_any_order_give_the_same_state(entries: Any, chance: Any, named: bool) -> None:
    """To the last bit, whether steps are named or not: a reward is a whole number of grains."""
    steps = list(enumerate(entries)) if named else [(None, entry) for entry in entries]
    late = list(steps)
    chance.shuffle(late)

    assert fill(late) == fill(steps)


@given(REWARDS, st.randoms(use_true_random=False), st.integers(1, 45))
def test_a_window_forgets_by_the_number_of_the_step(entries: Any, chance: Any, window: int) -> None:
    """Late rewards in any order give the state of the last `window` steps, to the last bit."""
    steps = list(enumerate(entries))
    late = list(steps)
    chance.shuffle(late)
    memory = Memory(window=window)

    state, last = fill(late, memory), fill(steps[-window:])

    assert state == fill(steps, memory)
    assert (state.counts, state.sums, state.squares) == (last.counts, last.sums, last.squares)
    assert [step for step, _, _ in state.recent] == [step for step, _ in steps[-window:]]


@given(REWARDS, st.randoms(use_true_random=False), st.floats(0.5, 1))
def test_a_discount_weighs_by_the_number_of_the_step(
    entries: Any, chance: Any, discount: float
) -> None:
    """A reward counts as discount ** age, in whatever order it came."""
    late = list(enumerate(entries))
    chance.shuffle(late)

    state = fill(late, Memory(discount=discount))

    ages = [len(entries) - 1 - step for step in range(len(entries))]
    for arm in range(4):
        mine = [(discount**age, r) for age, (a, r) in zip(ages, entries, strict=True) if a == arm]
        assert state.counts[arm] == pytest.approx(sum(w for w, _ in mine), abs=1e-6)
        assert state.sums[arm] == pytest.approx(sum(w * r for w, r in mine), abs=1e-6)
        assert state.squares[arm] == pytest.approx(sum(w * r * r for w, r in mine), abs=1e-6)


@pytest.mark.parametrize("memory", [Memory(), Memory(window=3), Memory(discount=0.9)])
def test_the_next_step_is_one_above_the_newest(memory: Memory) -> None:
    """Steps 9, 4 and 20, in this order, leave it at 21, and one without a number at 22."""
    state = fill([(9, (0, 0.5)), (4, (1, 0.5)), (20, (2, 0.5))], memory)

    assert state.step == 21
    assert observe(state, 0, 0.5, memory).step == 22


def test_what_has_all_but_faded_is_as_never_tried() -> None:
    """After 40 halvings a count is under the least, and the arm has no mean of rounded rests."""
    memory = Memory(discount=0.5)
    state = observe(Arms.empty(2), 0, 0.7, memory)

    for _ in range(40):
        state = observe(state, 1, 0.2, memory)

    assert state.counts[0] == state.sums[0] == state.squares[0] == 0
    assert state.means[0] is None and state.untried == 0


def test_a_bandit_with_a_memory_follows_a_drift() -> None:
    """The first arm falls from 0.9 to 0.1: with a window or a discount the other one is chosen 300
    steps later, without it the first still is."""
    chosen = {}
    for name, memory in {
        "none": Memory(),
        "window": Memory(window=100),
        "discount": Memory(discount=0.98),
    }.items():
        policy = UCB(memory=memory)
        state = policy.init(2)
        for step in range(1300):
            arm = policy.choose(state)
            state = policy.update(state, arm, (0.9 if step < 1000 else 0.1, 0.5)[arm])
        chosen[name] = policy.choose(state), state.means

    assert chosen["window"][0] == chosen["discount"][0] == 1
    assert chosen["none"][0] == 0


@pytest.mark.parametrize("memory", [Memory(), Memory(window=1000), Memory(discount=0.99)])
def test_updates_are_fast(memory: Memory) -> None:
    """50,000 a second on an idle machine; a tenth of it is asked here, where others may run."""
    policy = UCB(memory=memory)
    state, start = policy.init(20), time.process_time()

    for step in range(5000):
        state = policy.update(state, step % 20, 0.3)

    assert time.process_time() - start < 1.0


def test_wrong_settings_and_steps_are_refused() -> None:
    """By typed errors that name the setting or the value."""
    state = Arms.empty(2)
    for call, error, message in [
        (lambda: Memory(discount=0), ConfigError, "discount is 0"),
        (lambda: Memory(discount=1.1), ConfigError, "discount is 1.1"),
        (lambda: Memory(window=0), ConfigError, "window is 0"),
        (lambda: Memory(window=5, discount=0.9), ConfigError, "window is set, is 0.9"),
        (lambda: observe(state, 2, 0.5), DataError, "no arm 2; there are 2"),
        (lambda: observe(state, -1, 0.5), DataError, "no arm -1"),
        (lambda: observe(state, 0.5, 0.5), DataError, "no arm 0.5"),  # type: ignore[arg-type]
        (lambda: observe(state, 0, 0.5, step=-1), DataError, "step is -1"),
    ]:
        with pytest.raises(error, match=message):
            call()

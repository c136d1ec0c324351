"""Statistics of arms: their figures, priors from tables, plain JSON."""

import json
from typing import Any

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.bandits.arms import GRAIN, Arms
from motet.routing.bandits.memory import Memory, observe
from motet.routing.bandits.ucb import UCB
from motet.routing.outcomes import Outcomes


def fill(entries: Any, memory: Memory = Memory(), num_arms: int = 4) -> Arms:
    state = Arms.empty(num_arms)
    for step, (arm, reward) in entries:
        state = observe(state, arm, reward, memory, step)
    return state


def test_means_and_variances_are_those_of_the_rewards() -> None:
    """To the grain; None where nothing was tried."""
    state = fill([(None, (1, reward)) for reward in (0.1, 0.4, 0.7)], num_arms=2)

    assert state.means == (None, pytest.approx(0.4, abs=GRAIN))
    assert state.variances == (None, pytest.approx(0.06, abs=4 * GRAIN))


@pytest.mark.parametrize("memory", [Memory(), Memory(window=3), Memory(discount=0.9)])
def test_a_state_survives_json(memory: Memory) -> None:
    """Written and read back it is equal, and goes on to the same states."""
    state = fill([(None, (step % 4, step / 9)) for step in range(9)], memory)

    back = Arms.from_json(json.loads(json.dumps(state.to_json())))

    assert back == state
    assert observe(back, 2, 0.3, memory) == observe(state, 2, 0.3, memory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": [1.0]}, "must agree"),
        ({"counts": [], "sums": [], "squares": []}, "must agree"),
        ({"sums": [float("nan"), 0.0]}, "finite"),
        ({"counts": [-1.0, 0.0]}, "0 or more"),
        ({"squares": "ab"}, "no state of arms"),
        ({"recent": [[0, 7, 0.5]]}, "no arm"),
        ({"recent": [[9, 0, 0.5]]}, "newer"),
    ],
)
def test_a_broken_state_is_refused(change: Any, message: str) -> None:
    """By a typed error that says what does not fit."""
    whole = fill([(0, (0, 0.5)), (1, (1, 0.5))], Memory(window=5), 2).to_json()
    Arms.from_json(whole)

    with pytest.raises(DataError, match=message):
        Arms.from_json({**whole, **change})
    with pytest.raises(DataError, match="no state of arms"):
        Arms.from_json({name: value for name, value in whole.items() if name not in change})


def table(scores: Any, costs: Any) -> Outcomes:
    scores = np.asarray(scores, dtype=float)
    return Outcomes(
        prompts=tuple(f"p{i}" for i in range(len(scores))),
        models=tuple(f"m{i}" for i in range(scores.shape[1])),
        scores=scores,
        costs=np.asarray(costs, dtype=float),
    )


def test_a_table_of_outcomes_becomes_supposed_observations() -> None:
    """Golden: means .75, .5 and none; counts are those of the table, at most `strength`."""
    nan = float("nan")
    outcomes = table([[1, 0, nan], [0.5, 1, nan], [nan, 0.5, nan]], [[1, 2, nan]] * 3)

    state = Arms.of_outcomes(outcomes, strength=2.5)
    paid = Arms.of_outcomes(outcomes, strength=100, price=0.25)

    assert state.counts == (2, 2.5, 0)
    assert state.means == (0.75, pytest.approx(0.5), None)
    assert state.squares == (1.25, pytest.approx(2.5 * 1.25 / 3, abs=GRAIN), 0)
    assert paid.counts == (2, 3, 0) and paid.means == (0.5, 0.0, None)
    assert UCB().choose(state) == 2


def test_a_price_needs_the_costs() -> None:
    """An unknown cost of a known score is an error that names the model; without a price it is
    not looked at."""
    outcomes = table([[1, 0], [1, 1]], [[1, float("nan")], [1, 1]])

    with pytest.raises(DataError, match="'m1' on row 0"):
        Arms.of_outcomes(outcomes, strength=2, price=0.1)
    assert Arms.of_outcomes(outcomes, strength=2).counts == (2, 2)
    with pytest.raises(ConfigError, match="strength is -1"):
        Arms.of_outcomes(outcomes, strength=-1)


def test_there_is_at_least_one_arm() -> None:
    """None, or none of a number, is a wrong setting."""
    with pytest.raises(ConfigError, match="num_arms is 0"):
        Arms.empty(0)

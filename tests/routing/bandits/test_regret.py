"""Regret: what is counted, and what UCB loses on the configurations of EVOLvE."""

from typing import Any

import pytest

from motet.errors import ConfigError, DataError
from motet.routing.bandits.greedy import EpsilonGreedy, Greedy
from motet.routing.bandits.regret import Configuration, play, read_configuration, run_trials
from motet.routing.bandits.thompson import Thompson
from motet.routing.bandits.ucb import UCB


class Fixed:
    """Chooses by a list; learns nothing."""

    def __init__(self, arms: list[int]) -> None:
        self.arms = arms

    def init(self, num_arms: int) -> int:
        return 0

    def choose(self, state: int, context: Any = None, *, step: int | None = None) -> int:
        return self.arms[state]

    def update(
        self, state: int, arm: int, reward: float, context: Any = None, *, step: int | None = None
    ) -> int:
        return state + 1


WORLD = Configuration(means=(0.9, 0.1, 0.9))


def test_golden_figures_of_a_game() -> None:
    """Arms 0 1 1 2: regret 0 .8 1.6 1.6, half of the steps best, no suffix failure."""
    game = play(Fixed([0, 1, 1, 2]), WORLD, horizon=4)

    assert game.regrets == pytest.approx((0, 0.8, 1.6, 1.6))
    assert (game.optimal_share, game.is_suffix_failure) == (0.5, False)
    assert play(Fixed([0, 2, 1, 1]), WORLD, horizon=4).is_suffix_failure
    assert play(Fixed([1, 0, 1, 1]), WORLD, horizon=4).is_suffix_failure
    assert not play(Fixed([1, 1, 1, 0]), WORLD, horizon=4).is_suffix_failure


def test_golden_figures_of_trials() -> None:
    """Two games of regret 0 and 3.2: mean 1.6, error 1.6, half are suffix failures."""
    lists = {0: [0, 0, 0, 0], 1: [1, 1, 1, 1]}

    trials = run_trials(lambda seed: Fixed(lists[seed]), WORLD, horizon=4, seeds=(0, 1))

    assert trials.curve == pytest.approx((0.4, 0.8, 1.2, 1.6))
    assert (trials.mean_regret, trials.standard_error) == pytest.approx((1.6, 1.6))
    assert (trials.optimal_share, trials.suffix_failures) == (0.5, 0.5)
    single = run_trials(lambda seed: Fixed(lists[seed]), WORLD, horizon=4, seeds=(0,))
    assert single.standard_error is None


@pytest.mark.parametrize(
    "policy_of", [lambda seed: UCB(), lambda seed: Thompson(seed=seed)], ids=["ucb", "thompson"]
)
def test_regret_grows_slower_than_the_steps(policy_of: Any) -> None:
    """On rates .9 and .1: regret from step 500 to 1000 is under half of that of the first 500."""
    world = Configuration(means=(0.9, 0.1))

    trials = run_trials(policy_of, world, horizon=1000, seeds=range(10))

    assert trials.curve[999] - trials.curve[499] < 0.5 * trials.curve[499]
    assert trials.suffix_failures == 0
    assert trials.optimal_share > 0.95


def test_greedy_fails_where_exploring_does_not() -> None:
    """On 4 rates of .4 and one of .6 greedy has suffix failures, and UCB none; with the bonus of
    UCB, as in the authors' code, greedy would have none either."""
    world = Configuration(means=(0.4, 0.4, 0.4, 0.4, 0.6))
    seeds = range(20)

    greedy = run_trials(lambda seed: Greedy(), world, horizon=400, seeds=seeds)
    ucb = run_trials(lambda seed: UCB(), world, horizon=400, seeds=seeds)
    mixed = run_trials(lambda seed: EpsilonGreedy(seed=seed), world, horizon=400, seeds=seeds)

    assert greedy.suffix_failures >= 0.3
    assert ucb.suffix_failures == mixed.suffix_failures == 0


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"reward": "poisson", "arm_params": [1]}, "'poisson'"),
        ({"reward": "bernoulli"}, "no configuration"),
        ({"reward": "bernoulli", "arm_params": []}, "one an arm"),
        ({"reward": "bernoulli", "arm_params": [0.5, 1.5]}, "rates are from 0 to 1"),
        ({"reward": "gaussian", "arm_params": [0.5]}, "no configuration"),
        ({"reward": "gaussian", "arm_params": [[0.5, -1]]}, "0 or more"),
        ({"reward": "gaussian", "arm_params": [[float("nan"), 1]]}, "finite"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(record: Any, message: str) -> None:
    """By a typed error that says why."""
    with pytest.raises(DataError, match=message):
        read_configuration(record)


def test_other_wrong_input_is_refused() -> None:
    """By typed errors."""
    gaussian = read_configuration({"reward": "gaussian", "arm_params": [[0.5, 100.0]]})

    with pytest.raises(ConfigError, match="horizon is 1"):
        play(UCB(), WORLD, horizon=1)
    with pytest.raises(DataError, match="from 0 to 1"):
        play(UCB(), gaussian, horizon=5)
    with pytest.raises(DataError, match="2 variances of 1 arms"):
        Configuration(means=(0.5,), variances=(1.0, 1.0))
    with pytest.raises(DataError, match="no seed"):
        run_trials(lambda seed: UCB(), WORLD, horizon=5, seeds=())

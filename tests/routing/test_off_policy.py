"""Off-policy estimates: golden numbers, and what a Monte Carlo over a known table says."""

from typing import Any

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.off_policy import (
    Logged,
    chosen,
    doubly_robust,
    inverse_propensity,
    self_normalised,
)

TRUTH = np.array([[0.9, 0.2, 0.5], [0.1, 0.6, 0.3], [0.4, 0.8, 0.7], [0.5, 0.5, 0.1]])
"""Chance of a reward of 1 of each action in each context."""
LOGGING = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.1, 0.45, 0.45], [0.8, 0.1, 0.1]])
TARGET = np.array([[0.1, 0.1, 0.8], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25], [0.2, 0.6, 0.2]])
VALUE = float((TARGET * TRUTH).sum(axis=1).mean())
WRONG = 1.3 - TRUTH


def draw(seed: int, size: int = 200) -> Logged:
    generator = np.random.default_rng(seed)
    rows = np.arange(size) % 4
    actions = (generator.random(size)[:, None] > LOGGING[rows].cumsum(axis=1)).sum(axis=1)
    rewards = (generator.random(size) < TRUTH[rows, actions]).astype(float)
    return Logged(rows=rows, actions=actions, rewards=rewards, propensities=LOGGING[rows, actions])


ESTIMATORS: Any = {
    "ips": inverse_propensity,
    "snips": self_normalised,
    "dr": lambda log, target: doubly_robust(log, target, TRUTH),
    "dr_wrong": lambda log, target: doubly_robust(log, target, WRONG),
}


@pytest.fixture(scope="module")
def monte_carlo() -> dict[str, np.ndarray[Any, Any]]:
    logs = [draw(seed) for seed in range(2000)]
    return {
        name: np.array(
            [(one.value, one.standard_error) for one in (f(log, TARGET) for log in logs)]
        )
        for name, f in ESTIMATORS.items()
    }


@pytest.mark.parametrize("name", ["ips", "dr", "dr_wrong"])
def test_estimates_are_unbiased(monte_carlo: Any, name: str) -> None:
    """Over 2000 logs the mean is the truth within 3 standard errors; also with a wrong model."""
    values = monte_carlo[name][:, 0]

    assert abs(values.mean() - VALUE) < 3 * values.std(ddof=1) / 2000**0.5


def test_a_model_alone_is_biased() -> None:
    """Without the weighted rest the wrong model is far off, so the test above says something."""
    assert abs(float((TARGET * WRONG).sum(axis=1).mean()) - VALUE) > 0.1


def test_a_right_model_lowers_the_variance(monte_carlo: Any) -> None:
    """Under 0.75 of that of inverse propensities."""
    spread = {name: values[:, 0].std() for name, values in monte_carlo.items()}

    assert spread["dr"] ** 2 < 0.75 * spread["ips"] ** 2
    assert spread["snips"] < spread["ips"]


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_standard_errors_are_those_seen(monte_carlo: Any, name: str) -> None:
    """The mean of the errors told is the spread of the estimates, to 5 %."""
    values, errors = monte_carlo[name].T

    assert errors.mean() == pytest.approx(values.std(), rel=0.05)


def test_the_bias_of_self_normalised_estimates_vanishes() -> None:
    """On logs of 4000 the mean is within 0.005 of the truth."""
    values = [self_normalised(draw(seed, 4000), TARGET).value for seed in range(50)]

    assert np.mean(values) == pytest.approx(VALUE, abs=0.005)


LOG = Logged(
    rows=np.array([0, 1, 1]),
    actions=np.array([0, 1, 0]),
    rewards=np.array([1.0, 0.5, 0.0]),
    propensities=np.array([0.5, 0.25, 0.5]),
)
PLAN = np.array([[1.0, 0.0], [0.5, 0.5]])


def test_golden_estimates() -> None:
    """Weights 2, 2, 1: IPS (2 + 1) / 3, SNIPS 3 / 5, and DR by hand."""
    model = np.array([[0.8, 0.3], [0.2, 0.4]])

    ips = inverse_propensity(LOG, PLAN)
    snips = self_normalised(LOG, PLAN)
    robust = doubly_robust(LOG, PLAN, model)

    assert (ips.value, ips.largest_weight, ips.clipped) == (1.0, 2.0, 0)
    assert ips.effective_size == pytest.approx(25 / 9)
    assert ips.standard_error == pytest.approx(np.std([2, 1, 0], ddof=1) / 3**0.5)
    assert snips.value == pytest.approx(0.6)
    assert robust.value == pytest.approx(np.mean([0.8 + 0.4, 0.3 + 0.2, 0.3 - 0.2]))


def test_clipping_is_told() -> None:
    """At 1.5 two of three weights are cut; the largest is told as it was, and so is the size."""
    clipped = inverse_propensity(LOG, PLAN, clip=1.5)

    assert clipped.value == pytest.approx((1.5 + 0.75) / 3)
    assert (clipped.clipped, clipped.largest_weight) == (2, 2.0)
    assert clipped.effective_size == pytest.approx(16 / (1.5**2 * 2 + 1))
    assert self_normalised(LOG, PLAN, clip=1.5).value == pytest.approx(2.25 / 4)
    assert doubly_robust(LOG, PLAN, np.zeros((2, 2)), clip=1.5).value == clipped.value
    assert inverse_propensity(LOG, PLAN, clip=2.0).clipped == 0
    with pytest.raises(ConfigError, match="clip is 0"):
        inverse_propensity(LOG, PLAN, clip=0)


def test_the_logging_policy_itself_earns_what_was_logged() -> None:
    """All weights are 1, and nothing is lost of the log."""
    log = draw(1)

    for estimate in (inverse_propensity(log, LOGGING), self_normalised(log, LOGGING)):
        assert estimate.value == pytest.approx(log.rewards.mean())
        assert estimate.effective_size == pytest.approx(200)


def test_choices_become_a_target() -> None:
    """One action in each context, for sure."""
    assert chosen([1, 0, 1], 3).tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    with pytest.raises(DataError, match="no action; there are 2"):
        chosen([0, 2], 2)
    with pytest.raises(DataError, match="whole numbers"):
        chosen([0, -1], 2)


def changed(**fields: Any) -> Logged:
    whole: Any = {"rows": [0, 1], "actions": [0, 1], "rewards": [1, 0], "propensities": [0.5, 0.5]}
    return Logged(**{**whole, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"propensities": [0.5, 0]}, "propensity of entry 1 is 0.0"),
        ({"propensities": [None, 0.5]}, "propensity of entry 0 is nan"),
        ({"propensities": [0.5, float("nan")]}, "propensity of entry 1 is nan"),
        ({"propensities": [0.5, 1.5]}, "propensity of entry 1 is 1.5"),
        ({"propensities": [0.5, -0.5]}, "propensity of entry 1 is -0.5"),
        ({"propensities": [0.5]}, "shapes"),
        ({"rewards": [1, float("inf")]}, "reward of entry 1 is inf"),
        ({"rewards": ["good", "bad"]}, "rewards of the log are no numbers"),
        ({"actions": [0.5, 1]}, "actions must be whole numbers"),
        ({"rows": [-1, 1]}, "rows must be whole numbers"),
        ({"rows": [], "actions": [], "rewards": [], "propensities": []}, "at least 1"),
    ],
)
def test_logs_that_do_not_fit_are_refused(fields: Any, message: str) -> None:
    """By a typed error that names the entry."""
    changed()

    with pytest.raises(DataError, match=message):
        changed(**fields)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([[1.0, 0.0]], r"shape \(1, 2\); the log has context 1 and action 1"),
        ([[1.0], [1.0]], "action 1"),
        ([0.5, 0.5], "must be"),
        ([[0.5, 0.5], [0.5, 0.6]], "row 1 of the target"),
        ([[0.5, 0.5], [1.5, -0.5]], "row 1 of the target"),
        ([[float("nan"), 0.5], [0.5, 0.5]], "row 0 of the target"),
    ],
)
def test_targets_that_do_not_fit_are_refused(target: Any, message: str) -> None:
    """By every estimator."""
    estimates = np.zeros((2, 2))
    for estimate in (
        lambda: inverse_propensity(changed(), target),
        lambda: self_normalised(changed(), target),
        lambda: doubly_robust(changed(), target, estimates),
    ):
        with pytest.raises(DataError, match=message):
            estimate()


def test_estimates_that_do_not_fit_are_refused() -> None:
    """Another shape, a value that is not finite, and a target that shares nothing with the log."""
    with pytest.raises(DataError, match=r"estimates have shape \(1, 2\); target \(2, 2\)"):
        doubly_robust(changed(), PLAN, np.zeros((1, 2)))
    with pytest.raises(DataError, match="action 1 in context 0"):
        doubly_robust(changed(), PLAN, np.array([[0, np.nan], [0, 0]]))
    apart = chosen([1, 0], 2)
    with pytest.raises(DataError, match="no entry has a weight"):
        self_normalised(changed(), apart)
    assert inverse_propensity(changed(), apart).effective_size == 0
    assert (
        inverse_propensity(
            changed(rows=[0], actions=[0], rewards=[1], propensities=[1]), PLAN
        ).standard_error
        is None
    )

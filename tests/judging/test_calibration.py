"""Calibration of confidences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.judging.calibration import (
    COLDEST,
    HOTTEST,
    Temperature,
    brier_score,
    calibration_error,
    fit_isotonic,
    fit_temperature,
)

SCORED = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1)


def drawn(temperature: float, size: int = 20_000) -> tuple[Any, Any]:
    """Logits of a judge, and labels drawn at `temperature`."""
    chances = np.random.default_rng(0)
    logits = np.column_stack([np.zeros(size), chances.normal(scale=3, size=size)])
    truth = Temperature(value=temperature).apply(logits)[:, 1]
    return logits, (chances.random(size) < truth).astype(int)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_comes_back(temperature: float) -> None:
    """Labels drawn from softened or sharpened logits tell by how much, and scaling calibrates."""
    logits, labels = drawn(temperature)

    found = fit_temperature(logits, labels)

    assert found.value == pytest.approx(temperature, rel=0.05)
    assert calibration_error(found.apply(logits)[:, 1], labels) < 0.01


def test_scaling_makes_an_overconfident_judge_calibrated() -> None:
    """It lowers calibration error and Brier score, and keeps the order."""
    logits, labels = drawn(4.0)
    before = Temperature(value=1).apply(logits)[:, 1]

    after = fit_temperature(logits, labels).apply(logits)[:, 1]

    assert calibration_error(before, labels) > 0.1 > 0.02 > calibration_error(after, labels)
    assert brier_score(after, labels) < brier_score(before, labels)
    assert (np.argsort(after, kind="stable") == np.argsort(before, kind="stable")).all()


def test_a_fit_without_a_best_temperature_stops_at_its_bounds() -> None:
    """Logits that are always right call for the coldest, and always wrong for the hottest."""
    logits = [[0.0, 3.0], [2.0, 0.0]]

    assert fit_temperature(logits, [1, 0]).value == pytest.approx(COLDEST)
    assert fit_temperature(logits, [0, 1]).value == pytest.approx(HOTTEST)
    assert fit_temperature([[2.0, 2.0], [0.0, 0.0]], [0, 1]).value == 1


def test_large_logits_do_not_overflow() -> None:
    """Probabilities stay numbers that sum to one."""
    rows = Temperature(value=0.01).apply([[1e6, -1e6, 0.0]])

    assert rows.tolist() == [[1, 0, 0]]


def test_isotonic_is_the_pooled_mean() -> None:
    """Scores that fall out of order share the mean of their labels, and the map never falls."""
    fitted = fit_isotonic([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1])

    assert fitted.apply([0.1, 0.2, 0.25, 0.3, 0.4]).tolist() == [0, 0.5, 0.5, 0.5, 1]
    assert fitted.apply([-5, 5]).tolist() == [0, 1]


@given(scored=SCORED, tried=st.lists(st.floats(-1, 2), min_size=2))
def test_isotonic_never_falls_and_stays_a_probability(scored: Any, tried: Any) -> None:
    """Whatever it was fitted to, a higher score is no less probable."""
    scores, labels = zip(*scored, strict=True)

    mapped = fit_isotonic(scores, labels).apply(sorted(tried))

    assert (np.diff(mapped) >= 0).all()
    assert ((mapped >= 0) & (mapped <= 1)).all()


def test_isotonic_has_the_least_brier_score_of_rising_maps() -> None:
    """It is no worse than the scores themselves on what it was fitted to."""
    logits, labels = drawn(3.0)
    scores = Temperature(value=1).apply(logits)[:, 1]

    assert brier_score(fit_isotonic(scores, labels).apply(scores), labels) < brier_score(
        scores, labels
    )


def test_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    """Half of the cases 0.4 too sure and half 0.1 unsure make 0.25; an edge is its lower bin's."""
    probabilities, labels = [0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0]

    assert calibration_error(probabilities, labels) == pytest.approx(0.25)
    assert calibration_error([0.5, 0.45], [1, 0], num_bins=2) == pytest.approx(0.025)
    assert calibration_error([0.5, 0.55], [1, 0], num_bins=2) == pytest.approx((0.5 + 0.55) / 2)
    assert calibration_error([0.0, 1.0], [0, 1]) == 0


@given(scored=SCORED, bins=st.integers(1, 30))
def test_calibration_error_is_at_most_one(scored: Any, bins: int) -> None:
    """It is a share, and with one bin the gap of the means."""
    probabilities, labels = zip(*scored, strict=True)

    assert 0 <= calibration_error(probabilities, labels, num_bins=bins) <= 1
    gap = abs(np.mean(probabilities) - np.mean(labels))
    assert calibration_error(probabilities, labels, num_bins=1) == pytest.approx(gap)


def test_brier_score_is_the_mean_squared_distance() -> None:
    """A half throughout is a quarter, and certainty that is wrong is one."""
    assert brier_score([0.5, 0.5], [0, 1]) == 0.25
    assert brier_score([1, 0], [0, 1]) == 1
    assert brier_score([0.8], [1]) == pytest.approx(0.04)


def test_bad_numbers_are_refused() -> None:
    """Each names what is wrong."""
    with pytest.raises(DataError, match="not 0 to 1"):
        brier_score([1.5], [1])
    with pytest.raises(DataError, match="label 2 is neither"):
        calibration_error([0.5], [2])
    with pytest.raises(DataError, match=r"shape \(2,\) and labels of shape \(1,\)"):
        brier_score([0.5, 0.5], [1])
    with pytest.raises(DataError, match="shape"):
        fit_isotonic([], [])
    with pytest.raises(DataError, match="scores hold a value"):
        fit_isotonic([math.nan], [1])
    with pytest.raises(DataError, match="scores are no numbers"):
        fit_isotonic(["x"], [1])
    with pytest.raises(ConfigError, match="num_bins is 0"):
        calibration_error([0.5], [1], num_bins=0)
    with pytest.raises(ConfigError, match="value is 0"):
        Temperature(value=0)
    with pytest.raises(DataError, match="rows of at least two"):
        fit_temperature([[1.0]], [0])
    with pytest.raises(DataError, match="outside the columns 0 to 1"):
        fit_temperature([[1.0, 2.0]], [2])
    with pytest.raises(DataError, match="labels of shape"):
        fit_temperature([[1.0, 2.0]], [0.5])

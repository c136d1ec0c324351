"""Two-model routing: sweeps of the threshold, APGR, CPT and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.strong_weak import Sweep, calibrate, optimal, sweep, to_strong

WEAK, STRONG = [1, 0, 0, 1], [1, 1, 1, 0]
BEST = [0.5, 1.0, 0.9, 0.1]

rates_of = st.lists(st.sampled_from([0, 0.1, 0.25, 0.5, 0.9, 1]), min_size=1, max_size=12)


def test_the_best_router_of_the_card() -> None:
    made = sweep(BEST, WEAK, STRONG)

    assert made.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert made.qualities.tolist() == [0.5, 0.75, 1, 1, 0.75]
    assert made.auc == 0.84375
    assert made.apgr == 1.375


def test_the_inverse_router_of_the_card() -> None:
    made = sweep([1 - rate for rate in BEST], WEAK, STRONG)

    assert made.auc == 0.40625
    assert made.apgr == -0.375


@pytest.mark.parametrize(("height", "apgr"), [(0.5, 0), (0.75, 1)])
def test_a_constant_curve_of_one_model_has_apgr_nought_or_one(height: float, apgr: float) -> None:
    flat = Sweep(shares=np.array([0, 1]), qualities=np.full(2, height), weak=0.5, strong=0.75)

    assert flat.apgr == apgr


def test_win_rates_that_all_tie_are_a_random_router() -> None:
    made = sweep([0.3] * 4, WEAK, STRONG)

    assert made.shares.tolist() == [0, 1]
    assert made.apgr == 0.5
    assert made.cpt(0.5) == 0.5


def test_random_win_rates_have_an_apgr_near_a_half() -> None:
    rng = np.random.default_rng(0)
    weak, strong = rng.random(2000) < 0.6, rng.random(2000) < 0.8

    values = [sweep(rng.random(2000), weak, strong).apgr for _ in range(10)]

    assert np.mean(values) == pytest.approx(0.5, abs=0.03)


@given(rates_of, st.integers(0, 1000))
def test_every_point_is_what_its_threshold_does(rates: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    weak, strong = rng.random(len(rates)), rng.random(len(rates))

    made = sweep(rates, weak, strong)

    assert made.thresholds is not None
    assert len(made.thresholds) == len(set(rates)) + 1
    for threshold, share, quality in zip(made.thresholds, made.shares, made.qualities, strict=True):
        chosen = to_strong(rates, threshold)
        assert chosen.mean() == pytest.approx(share)
        assert np.where(chosen, strong, weak).mean() == pytest.approx(quality)
    assert (made.shares[0], made.shares[-1]) == (0, 1)
    assert made.qualities[0] == pytest.approx(made.weak) == pytest.approx(weak.mean())
    assert made.qualities[-1] == pytest.approx(made.strong) == pytest.approx(strong.mean())


def test_ten_quantiles_give_eleven_points_from_none_to_all() -> None:
    rng = np.random.default_rng(1)
    rates, strong = rng.random(1000), rng.random(1000)

    made = sweep(rates, strong * 0, strong, num_quantiles=10)

    assert made.shares == pytest.approx(np.linspace(0, 1, 11), abs=2e-3)
    assert made.apgr == pytest.approx(sweep(rates, strong * 0, strong).apgr, abs=0.01)


def test_the_highest_rate_may_be_one_and_still_no_call_is_strong_at_first() -> None:
    made = sweep([1, 1, 0, 0], WEAK, STRONG, num_quantiles=2)

    assert made.shares.tolist() == [0, 0.5, 1]


def test_the_cpt_lies_on_the_straight_line_between_two_points() -> None:
    made = sweep(BEST, WEAK, STRONG)

    assert made.cpt(0) == 0
    assert made.cpt(0.2) == pytest.approx(0.05)
    assert made.cpt(0.5) == pytest.approx(0.125)
    assert made.cpt(1) == 0.25


@given(rates_of, st.integers(0, 1000), st.floats(0, 1))
def test_the_cpt_is_the_first_share_that_reaches_the_quality(
    rates: list[float], seed: int, gap: float
) -> None:
    rng = np.random.default_rng(seed)
    made = sweep(rates, rng.random(len(rates)) * 0.5, 0.5 + rng.random(len(rates)) * 0.5)
    goal = made.weak + gap * (made.strong - made.weak)

    share = made.cpt(gap)

    assert np.interp(share, made.shares, made.qualities) == pytest.approx(goal, abs=1e-9)
    before = np.linspace(0, share, 50)[:-1]
    assert (np.interp(before, made.shares, made.qualities) <= goal + 1e-9).all()


def test_a_curve_that_never_reaches_the_quality_has_no_cpt() -> None:
    flat = Sweep(shares=np.array([0, 1]), qualities=np.full(2, 0.5), weak=0.5, strong=0.75)

    with pytest.raises(DataError, match="recovers 0.8 of the gap"):
        flat.cpt(0.8)


@pytest.mark.parametrize("gap", [-0.1, 20, float("nan")])
def test_a_cpt_of_percents_is_refused(gap: float) -> None:
    with pytest.raises(ConfigError, match="gap"):
        sweep(BEST, WEAK, STRONG).cpt(gap)


@pytest.mark.parametrize("strong", [[1, 0, 0, 1], [0, 0, 0, 0]])
def test_without_a_gap_between_the_models_nothing_is_recovered(strong: list[int]) -> None:
    made = sweep(BEST, WEAK, strong)

    with pytest.raises(DataError, match="without a gap"):
        _ = made.apgr
    with pytest.raises(DataError, match="without a gap"):
        made.cpt(0.5)


def test_the_optimal_curve_counts_the_gains_that_the_calls_allow() -> None:
    made = optimal(WEAK, STRONG)

    assert made.qualities.tolist() == [0.5, 0.75, 1, 1, 1]
    assert made.apgr == (0.875 - 0.5) / 0.25
    assert made.cpt(1) == 0.25


@given(rates_of, st.integers(0, 1000), st.booleans())
def test_no_router_is_above_the_optimal_curve(
    rates: list[float], seed: int, is_binary: bool
) -> None:
    rng = np.random.default_rng(seed)
    weak, strong = rng.random((2, len(rates)))
    if is_binary:
        weak, strong = weak.round(), strong.round()
    best = optimal(weak, strong)

    made = sweep(rates, weak, strong)

    heights = np.interp(made.shares, best.shares, best.qualities)
    assert (made.qualities <= heights + 1e-9).all()
    if is_binary:
        gains = int(((weak == 0) & (strong == 1)).sum())
        counted = weak.sum() + np.minimum(np.arange(len(rates) + 1), gains)
        assert best.qualities == pytest.approx(counted / len(rates))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0, 1))
def test_a_calibrated_threshold_is_the_quantile_and_says_its_share(
    rates: list[float], share: float
) -> None:
    made = calibrate(rates, share)

    assert made.threshold == np.quantile(rates, 1 - share)
    assert made.share == to_strong(rates, made.threshold).mean()


def test_distinct_rates_are_parted_near_the_share_asked_for() -> None:
    rates = np.random.default_rng(0).permutation(1000) / 1000

    for share in (0.1, 0.25, 0.5, 0.9):
        assert calibrate(rates, share).share == pytest.approx(share, abs=0.002)


def test_rates_that_tie_show_in_the_share() -> None:
    assert calibrate([0.5] * 10, 0.1).share == 1


def test_threshold_nought_sends_all_and_one_above_one_none() -> None:
    assert to_strong([0, 0.5, 1], 0).all()
    assert not to_strong([0, 0.5, 1], 1.01).any()
    assert to_strong([0, 0.5, 1], 0.5).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("rates", "weak", "strong", "said"),
    [
        ([], [], [], "win_rates have the shape"),
        ([0.5], [1, 0], [1], "weak have the shape"),
        ([0.5], [1], [[1]], "strong have the shape"),
        ([0.5, 1.2], [1, 1], [1, 1], "win_rates hold 1.2 at place 1"),
        ([0.5, -0.2], [1, 1], [1, 1], "win_rates hold -0.2 at place 1"),
        ([np.nan], [1], [1], "win_rates hold nan"),
        ([0.5], [np.nan], [1], "weak hold nan at place 0"),
        ([0.5], [1], [np.inf], "strong hold inf at place 0"),
        (["high"], [1], [1], "win_rates are no numbers"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(rates: Any, weak: Any, strong: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        sweep(rates, weak, strong)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="share is 1.5"):
        calibrate([0.5], 1.5)
    with pytest.raises(ConfigError, match="threshold is nan"):
        to_strong([0.5], float("nan"))
    with pytest.raises(ConfigError, match="num_quantiles is 0"):
        sweep(BEST, WEAK, STRONG, num_quantiles=0)

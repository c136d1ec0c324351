"""Bootstrap intervals: what they cover, what is drawn together, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing import intervals
from motet.routing.intervals import (
    Interval,
    difference_interval,
    interval_of,
    mean_interval,
    resampled_counts,
    statistic_interval,
)
from motet.routing.strong_weak import sweep


def test_a_95_percent_interval_holds_the_true_mean_about_that_often() -> None:
    rng = np.random.default_rng(0)
    held = 0

    for trial in range(400):
        made = mean_interval(rng.random(80) < 0.7, num_resamples=400, seed=trial)
        held += made.low <= 0.7 <= made.high

    assert 0.91 <= held / 400 <= 0.98


def test_the_width_is_that_of_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(size=2000)

    made = mean_interval(values, num_resamples=4000)

    half = 1.96 * values.std() / np.sqrt(2000)
    assert made.estimate == pytest.approx(values.mean())
    assert made.low == pytest.approx(values.mean() - half, abs=half / 10)
    assert made.high == pytest.approx(values.mean() + half, abs=half / 10)


def test_a_lower_level_is_narrower() -> None:
    values = np.random.default_rng(1).random(100)

    wide, narrow = mean_interval(values), mean_interval(values, level=0.5)

    assert wide.low < narrow.low < narrow.high < wide.high


def test_rows_of_one_prompt_are_drawn_together() -> None:
    rng = np.random.default_rng(2)
    once = rng.random(50)
    prompts = [f"p{i}" for i in range(50)]

    alone = mean_interval(once, prompts)
    copied = mean_interval(np.repeat(once, 9), [p for p in prompts for _ in range(9)])
    apart = mean_interval(np.repeat(once, 9))

    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))
    assert apart.high - apart.low < 0.5 * (alone.high - alone.low)


def test_prompts_of_several_sizes_weigh_by_their_rows() -> None:
    made = mean_interval([1, 0, 0, 0], ["p", "q", "q", "q"], num_resamples=100)

    assert made == Interval(estimate=0.25, low=0, high=1, level=0.95)


def test_the_seed_alone_decides_the_draws() -> None:
    values = np.random.default_rng(3).random(60)

    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_little_memory_does_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).random(60)
    before = mean_interval(values)

    monkeypatch.setattr(intervals, "_CELLS_AT_ONCE", 60 * 7)

    assert mean_interval(values) == before


def test_a_paired_difference_is_surer_than_either_side() -> None:
    rng = np.random.default_rng(4)
    second = rng.random(200)
    first = second + 0.01 + rng.normal(size=200) * 0.01

    made = difference_interval(first, second)

    assert 0 < made.low < made.estimate < made.high < 0.02
    assert mean_interval(first).low < mean_interval(second).high


def test_the_difference_turns_round_with_its_sides() -> None:
    first, second = np.random.default_rng(5).random((2, 40))

    ours, theirs = difference_interval(first, second), difference_interval(second, first)

    assert (ours.estimate, ours.low, ours.high) == pytest.approx(
        (-theirs.estimate, -theirs.high, -theirs.low)
    )


@pytest.mark.parametrize("prompts", [None, [f"p{int(i**0.5)}" for i in range(60)]])
def test_any_statistic_is_drawn_like_the_mean(prompts: list[str] | None) -> None:
    values = np.random.default_rng(6).random(60)

    made = statistic_interval(
        lambda rows: float(values[rows].mean()), 60, prompts, num_resamples=500, seed=3
    )

    fast = mean_interval(values, prompts, num_resamples=500, seed=3)
    assert (made.estimate, made.low, made.high) == pytest.approx(
        (fast.estimate, fast.low, fast.high)
    )


def test_an_apgr_has_an_interval() -> None:
    rng = np.random.default_rng(7)
    weak, strong = rng.random(300) < 0.5, rng.random(300) < 0.9
    rates = np.clip(0.5 + 0.3 * (strong * 1.0 - weak) + rng.normal(size=300) * 0.1, 0, 1)

    made = statistic_interval(
        lambda rows: sweep(rates[rows], weak[rows], strong[rows]).apgr, 300, num_resamples=200
    )

    assert 0.5 < made.low < made.estimate < made.high


def test_a_statistic_that_cannot_be_had_of_a_resample_says_so() -> None:
    def no_gap(rows: Any) -> float:
        return sweep([0.5] * len(rows), [1] * len(rows), [0] * len(rows)).apgr

    with pytest.raises(DataError, match="without a gap"):
        statistic_interval(no_gap, 10)
    with pytest.raises(DataError, match="not finite"):
        statistic_interval(lambda rows: float("nan"), 10)


@pytest.mark.parametrize(
    ("values", "prompts", "said"),
    [
        ([], None, "0 distinct prompts"),
        ([1], None, "1 distinct prompts"),
        ([1, 2], ["p", "p"], "1 distinct prompts"),
        ([1, 2], ["p"], "1 prompts, but 2 rows"),
        ([1, np.nan], None, "values hold nan at place 1"),
        ([[1, 2]], None, "values have the shape"),
        (["a", "b"], None, "values are no numbers"),
    ],
)
def test_values_that_do_not_fit_are_refused(values: Any, prompts: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        mean_interval(values, prompts)


def test_sides_of_different_lengths_are_no_pairs() -> None:
    with pytest.raises(DataError, match="3 values against 1"):
        difference_interval([1, 2, 3], [1])


@pytest.mark.parametrize(
    "settings",
    [{"level": 1}, {"level": 0}, {"level": 95}, {"num_resamples": 0}, {"seed": -1}, {"seed": 0.5}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    [name] = settings

    with pytest.raises(ConfigError, match=name):
        mean_interval([1, 2, 3], **settings)
    with pytest.raises(ConfigError, match=name):
        statistic_interval(lambda rows: 0.0, 3, **settings)


@pytest.mark.parametrize("cells", [1, 4_000_000])
def test_counts_of_resamples_give_what_looking_up_their_rows_gives(
    monkeypatch: pytest.MonkeyPatch, cells: int
) -> None:
    """A weighted mean by the counts has the interval of the same statistic; rows of one prompt
    stand in a resample equally often; blocks of any size are the same resamples."""
    monkeypatch.setattr(intervals, "_CELLS_AT_ONCE", cells)
    values = np.random.default_rng(2).normal(size=30)
    prompts = [f"prompt {i % 20}" for i in range(30)]

    blocks = list(resampled_counts(30, prompts, num_resamples=50, seed=4))

    counts = np.concatenate(blocks)
    assert len(blocks) == (50 if cells == 1 else 1)
    assert np.array_equal(counts[:, :10], counts[:, 20:])
    means = counts @ values / counts.sum(axis=1)
    wanted = statistic_interval(
        lambda rows: float(values[rows].mean()), 30, prompts, num_resamples=50, seed=4
    )
    found = interval_of(float(values.mean()), means)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)

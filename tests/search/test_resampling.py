from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.search.resampling import (
    SCHEMES,
    effective_size,
    inclusion_scale,
    log_sum_exp,
    residual,
    shares,
    stratified,
    systematic,
    without_replacement,
)

GOLDEN = [0.5, 0.3, 0.1, 0.06, 0.04]
log_weights = st.lists(st.one_of(st.floats(-50, 50), st.just(-math.inf)), min_size=1, max_size=12)


class Scripted(random.Random):
    """Gives one number again and again."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self._value = value

    def random(self) -> float:
        return self._value


def over_all_offsets(weights: list[float], num: int, parts: int = 100) -> list[list[tuple]]:
    """Return what is chosen at the middle of each part of the offset's range."""
    offsets = [(i + 0.5) / parts for i in range(parts)]
    return [without_replacement(weights, num, Scripted(each)) for each in offsets]


def test_effective_size_has_its_golden_value() -> None:
    found = effective_size([math.log(w) for w in (0.7, 0.2, 0.1)])

    assert found == pytest.approx(1.851852, abs=1e-6)


def test_effective_size_of_equal_weights_is_their_number_and_of_none_is_0() -> None:
    assert effective_size([-3.0] * 7) == pytest.approx(7)
    assert effective_size([0.0, -math.inf]) == 1
    assert effective_size([-math.inf] * 3) == 0
    assert effective_size([]) == 0


@given(log_weights)
def test_shares_sum_to_1_unless_all_weigh_nothing(weights) -> None:
    found = shares(weights)

    has_any = any(w > -math.inf for w in weights)
    assert sum(found) == pytest.approx(1.0 if has_any else 0.0)
    assert not any(math.isnan(each) for each in found)


@given(log_weights, st.floats(-300, 300))
def test_log_sum_exp_moves_with_its_arguments(weights, shift) -> None:
    plain = log_sum_exp(weights)

    moved = log_sum_exp([w + shift for w in weights])

    assert moved == pytest.approx(plain + shift, abs=1e-9) or moved == plain == -math.inf


def test_log_sum_exp_neither_overflows_nor_is_nan() -> None:
    assert log_sum_exp([1000.0, 1000.0]) == pytest.approx(1000 + math.log(2))
    assert log_sum_exp([-math.inf, -math.inf]) == -math.inf
    assert log_sum_exp([]) == -math.inf


@pytest.mark.parametrize("name", SCHEMES)
@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1e6)), min_size=1, max_size=9),
    num=st.integers(1, 20),
    seed=st.integers(0, 1000),
)
def test_each_scheme_draws_as_many_as_asked_and_never_one_of_weight_0(
    name, weights, num, seed
) -> None:
    if not any(weights):
        weights = [*weights, 1.0]

    found = SCHEMES[name](weights, num, random.Random(seed))

    assert len(found) == num
    assert found == sorted(found)
    assert all(weights[i] > 0 for i in found)


@pytest.mark.parametrize("name", SCHEMES)
def test_each_scheme_takes_each_in_proportion_to_its_weight(name) -> None:
    num_runs, num = 20_000, 4
    draw = random.Random(name)

    counts = Counter(i for _ in range(num_runs) for i in SCHEMES[name](GOLDEN, num, draw))

    for i, weight in enumerate(GOLDEN):
        error = math.sqrt(num * weight * (1 - weight) / num_runs)
        assert abs(counts[i] / num_runs - num * weight) < 3.5 * error


@pytest.mark.parametrize("name", SCHEMES)
def test_weights_that_sum_to_nothing_are_refused(name) -> None:
    with pytest.raises(ValueError, match=r"sum to 0.0"):
        SCHEMES[name]([0.0, 0.0], 2, random.Random(0))


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=9), st.integers(1, 12), st.integers(0, 99))
def test_systematic_and_residual_take_no_less_than_the_whole_part_of_what_is_expected(
    weights, num, seed
) -> None:
    expected = [num * w / sum(weights) for w in weights]

    for scheme in (systematic, residual):
        counts = Counter(scheme(weights, num, random.Random(seed)))
        for i, each in enumerate(expected):
            assert counts[i] >= math.floor(each - 1e-9)


def test_stratified_takes_one_of_each_part_of_the_whole_weight() -> None:
    found = stratified([0.25, 0.25, 0.5], 4, random.Random(3))

    assert found == [0, 1, 2, 2]


def test_optimal_resampling_has_its_golden_scale_and_inclusions() -> None:
    scale = inclusion_scale(GOLDEN, 3)
    runs = over_all_offsets(GOLDEN, 3)

    assert scale == pytest.approx(5)
    counts = Counter(i for run in runs for i, _ in run)
    assert [counts[i] / len(runs) for i in range(5)] == pytest.approx([1, 1, 0.5, 0.3, 0.2])


def test_optimal_resampling_keeps_each_weight_exactly_on_average() -> None:
    runs = over_all_offsets(GOLDEN, 3)

    for i, weight in enumerate(GOLDEN):
        mean = sum(dict(run).get(i, 0.0) for run in runs) / len(runs)
        assert mean == pytest.approx(weight, abs=1e-12)


weights_that_sum_to_1 = st.lists(st.floats(1e-6, 1), min_size=2, max_size=10).map(
    lambda ws: [w / sum(ws) for w in ws]
)


@given(weights_that_sum_to_1, st.integers(1, 9))
def test_the_inclusions_of_optimal_resampling_sum_to_the_number(weights, num) -> None:
    scale = inclusion_scale(weights, num)

    if len(weights) > num:
        assert sum(min(1, scale * w) for w in weights) == pytest.approx(num)
    else:
        assert scale == math.inf


@given(weights_that_sum_to_1, st.integers(1, 9), st.integers(0, 99))
def test_optimal_resampling_chooses_none_twice_and_all_where_there_are_few(
    weights, num, seed
) -> None:
    found = without_replacement(weights, num, random.Random(seed))

    places = [i for i, _ in found]
    assert len(set(places)) == len(places) == min(num, len(weights))
    if len(weights) <= num:
        assert [w for _, w in found] == weights


def test_optimal_resampling_never_chooses_what_weighs_nothing() -> None:
    found = without_replacement([0.0, 0.6, 0.0, 0.4], 3, random.Random(0))

    assert found == [(1, 0.6), (3, 0.4)]
    assert without_replacement([0.0, 0.0], 1, random.Random(0)) == []


def test_optimal_resampling_of_weights_near_the_smallest_float_keeps_the_number() -> None:
    found = without_replacement([1.0, 5e-324, 5e-324], 2, random.Random(0))

    assert found == [(0, 1.0)]

"""Coverage: the unbiased estimate, its curve, its fits, and selectors over subsets."""

import gzip
import itertools
import json
import math
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.search.coverage import (
    PowerLaw,
    beta_coverage,
    coverage,
    coverage_curve,
    fit_power_law,
    pass_at,
    selected_accuracy,
)

COUNTS = st.integers(1, 8).flatmap(
    lambda n: st.tuples(st.integers(1, n), st.just(n), st.integers(0, n))
)


def test_golden_numbers() -> None:
    """Two published values, to the last digit."""
    assert pass_at(3, 5, 2) == pytest.approx(0.9, abs=1e-15)
    assert pass_at(5, 10, 3) == pytest.approx(11 / 12, abs=1e-15)


@given(COUNTS)
def test_it_is_the_share_of_subsets_with_a_right_sample(case: tuple[int, int, int]) -> None:
    """The mean over all C(n, k) subsets, listed one by one."""
    k, num_samples, num_correct = case
    subsets = list(itertools.combinations(range(num_samples), k))
    share = sum(min(subset) < num_correct for subset in subsets) / len(subsets)

    assert pass_at(k, num_samples, num_correct) == pytest.approx(share, abs=1e-12)


@given(COUNTS)
def test_ends_monotony_and_the_biased_estimate(case: tuple[int, int, int]) -> None:
    """k = 1 is c/n, k = n asks for any; it rises with k; 1 - (1 - c/n)^k is never above it."""
    k, num_samples, num_correct = case
    values = [pass_at(i, num_samples, num_correct) for i in range(1, num_samples + 1)]

    assert values[0] == pytest.approx(num_correct / num_samples)
    assert values[-1] == float(num_correct > 0)
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(values))
    assert 1 - (1 - num_correct / num_samples) ** k <= values[k - 1] + 1e-12


def test_many_samples_do_not_overflow() -> None:
    """10,000 samples with one right: k/n, exactly in reach of floats."""
    assert pass_at(2_500, 10_000, 1) == pytest.approx(0.25, abs=1e-12)


def test_coverage_is_the_mean_over_problems() -> None:
    """Of two problems with (5, 2) and (10, 3) at k = 3."""
    assert coverage(3, [(5, 2), (10, 3)]) == pytest.approx((0.9 + pass_at(3, 10, 3)) / 2)


def test_the_curve_is_even_in_the_logarithm() -> None:
    """From 1 to the fewest samples of a problem, each k once."""
    curve = coverage_curve([(1_000, 10), (1_200, 500)], 4)

    assert [k for k, _ in curve] == [1, 10, 100, 1000]
    assert curve[0][1] == pytest.approx((0.01 + 500 / 1200) / 2)
    assert len(coverage_curve([(10_000, 5)])) <= 40


def test_golden_power_law() -> None:
    """exp(-1.5 k^-0.5) at 1, 10, 100 and 1000."""
    law = PowerLaw(-1.5, -0.5)

    assert [round(law.coverage(k), 4) for k in (1, 10, 100, 1000)] == [
        0.2231,
        0.6223,
        0.8607,
        0.9537,
    ]


@given(st.floats(-5, -0.2), st.floats(-1.2, -0.1))
def test_an_exact_curve_gives_back_its_law(a: float, b: float) -> None:
    """(a, b) is found from points without noise, (-1.5, -0.5) among them."""
    for law in (PowerLaw(-1.5, -0.5), PowerLaw(a, b)):
        fitted = fit_power_law([(k, law.coverage(k)) for k in (1, 2, 4, 8, 16, 32, 64, 128)])
        assert fitted.a == pytest.approx(law.a, rel=1e-5)
        assert fitted.b == pytest.approx(law.b, rel=1e-5)


@given(st.integers(0, 999))
def test_no_law_nearby_fits_noisy_points_better(seed: int) -> None:
    """The fit is a minimum of the squared error of coverage itself, with 0 and 1 among the points."""
    noise = random.Random(seed)
    law = PowerLaw(-2.0, -0.6)
    curve = [
        (2**i, min(max(law.coverage(2**i) + noise.uniform(-0.05, 0.05), 0), 1)) for i in range(8)
    ]
    curve += [(256, 1.0), (1, 0.0)]
    fitted = fit_power_law(curve)

    def loss(a: float, b: float) -> float:
        return math.fsum((math.exp(a * k**b) - c) ** 2 for k, c in curve)

    least = loss(fitted.a, fitted.b)
    for by_a, by_b in itertools.product((0.99, 1, 1.01), repeat=2):
        assert least <= loss(fitted.a * by_a, fitted.b * by_b) + 1e-9


def test_a_law_plans_samples_and_tells_its_error() -> None:
    """`samples_for` undoes `coverage`; the held-out error is 0 on the law's own points."""
    law = PowerLaw(-1.5, -0.5)

    assert law.samples_for(law.coverage(250)) == pytest.approx(250)
    assert law.samples_for(0.1) == 1
    assert PowerLaw(-1.5, 0.2).samples_for(0.9) == math.inf
    assert law.error([(k, law.coverage(k)) for k in (3, 300)]) == 0
    assert law.error([(1, law.coverage(1) + 0.25), (2, law.coverage(2) - 0.75)]) == pytest.approx(
        0.5
    )


def test_coverage_of_beta_distributed_chances() -> None:
    """The closed form is the mean of 1 - (1 - p)^k over the distribution, by a fine sum."""
    alpha, beta, k, points = 0.7, 3.5, 12, 200_000
    constant = math.gamma(alpha + beta) / math.gamma(alpha) / math.gamma(beta)
    total = 0.0
    for i in range(points):
        p = ((i + 0.5) / points) ** 2
        density = constant * p ** (alpha - 1) * (1 - p) ** (beta - 1)
        total += (1 - (1 - p) ** k) * density * 2 * math.sqrt(p) / points

    assert beta_coverage(k, alpha, beta) == pytest.approx(total, abs=1e-5)
    assert beta_coverage(1, 2, 3) == pytest.approx(0.4)


def test_selectors_are_judged_over_subsets_of_size_k() -> None:
    """An oracle selector over random subsets comes to pass@k; with k = n there is one subset."""
    samples = [[i < right for i in range(8)] for right in (0, 2, 5)]

    def oracle(given_: object) -> bool:
        return any(given_)  # type: ignore[call-overload]

    exact = coverage(3, [(8, 0), (8, 2), (8, 5)])
    estimate = selected_accuracy(samples, oracle, lambda _, x: x, k=3, num_subsets=4_000)
    whole = selected_accuracy(samples, lambda s: s[0], lambda _, x: x, k=8, num_subsets=1)

    assert estimate == pytest.approx(exact, abs=0.02)
    assert whole == pytest.approx(2 / 3)


def test_subsets_hang_on_the_seed_and_the_problem_alone() -> None:
    """The same seed gives the same number; a problem's subsets do not change with its fellows."""
    samples = [list(range(10)), list(range(10, 20))]
    seen: list[list[int]] = []

    def select(given_: object) -> None:
        seen.append(list(given_))  # type: ignore[call-overload]

    selected_accuracy(samples, select, lambda *_: True, k=4, num_subsets=3, seed=7)
    selected_accuracy(samples[:1], select, lambda *_: True, k=4, num_subsets=3, seed=7)
    selected_accuracy(samples[:1], select, lambda *_: True, k=4, num_subsets=3, seed=8)

    assert seen[:3] == seen[6:9] != seen[9:]
    assert seen[:3] != [[each - 10 for each in subset] for subset in seen[3:6]]
    assert all(each == sorted(set(each)) and len(each) == 4 for each in seen)


def test_wrong_figures_are_named() -> None:
    """More asked for than there is, and curves that cannot be fitted."""
    with pytest.raises(ConfigError, match="k is 6"):
        pass_at(6, 5, 2)
    with pytest.raises(ConfigError, match="num_correct is 7"):
        pass_at(2, 5, 7)
    with pytest.raises(ConfigError, match="counts"):
        coverage(1, [])
    with pytest.raises(ConfigError, match="two different k"):
        fit_power_law([(2, 0.5), (2, 0.6)])
    with pytest.raises(ConfigError, match="coverage is 1.5"):
        fit_power_law([(2, 0.5), (3, 1.5)])
    with pytest.raises(ConfigError, match="wanted is 1"):
        PowerLaw(-1, -1).samples_for(1)
    with pytest.raises(ConfigError, match="problem 0 has 2 samples"):
        selected_accuracy([[1, 2]], lambda s: s[0], lambda *_: True, k=3)
    with pytest.raises(ConfigError, match="alpha is 0"):
        beta_coverage(1, 0, 1)


def test_executed_samples_give_the_published_coverage() -> None:
    """On 124 programming tasks of 100 executed samples: pass@1, @2, @10 and @100 of the data set;
    a power law fitted up to 20 samples predicts the rest to two points."""
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    path = Path(folder) / "codet_samples"
    with gzip.open(path / "samples.jsonl.gz", "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    expected = json.loads((path / "expected.json").read_text())
    counts = [(100, sum(r["gold_pass"][i] for i in r["sample_index"])) for r in records]
    law = fit_power_law([point for point in coverage_curve(counts) if point[0] <= 20])

    for k in (1, 2, 10, 100):
        assert 100 * coverage(k, counts) == pytest.approx(expected[f"pass@{k}"], abs=0.01)
    held_out = [point for point in coverage_curve(counts) if point[0] > 20]
    assert law.error(held_out) < 0.02

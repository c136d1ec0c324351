"""Figures of paths: the same as one by one, and no gain where nothing is known."""

from typing import Any

import numpy as np
import pytest

from motet.errors import DataError
from motet.routing.curves import aiq
from motet.routing.hull import convex_hull
from motet.routing.intervals import statistic_interval
from motet.routing.measuring import Compared, measure
from motet.routing.outcomes import Outcomes
from motet.routing.paths import ZERO, CostPath, estimates_path, oracle_path, zero_path
from motet.routing.resamples import GAPS
from motet.routing.strong_weak import sweep

PRICES = (1.0, 10.0)


def random_table(seed: int, rows: int = 80, repeated: int = 10) -> Outcomes:
    rng = np.random.default_rng(seed)
    prompts = [f"prompt {i}" for i in range(rows - repeated)]
    return Outcomes(
        prompts=(*prompts, *prompts[:repeated]),
        models=("small", "large"),
        scores=(rng.random((rows, 2)) < [0.4, 0.8]).astype(float),
        costs=rng.uniform(0.9, 1.1, (rows, 2)) * PRICES,
    )


def random_path(table: Outcomes, seed: int, name: str = "random") -> CostPath:
    """By estimates of nothing, all of which say that the dear model is the better one."""
    estimates = np.random.default_rng(seed).random(table.scores.shape).round(2) / 2 + [0, 0.5]
    return estimates_path(name, estimates, PRICES, table, pair=(0, 1))


def measured(table: Outcomes, *paths: CostPath, **settings: Any) -> list[Compared]:
    given: dict[str, Any] = {
        "zero": ZERO, "prices": PRICES, "pair": (0, 1), "num_resamples": 60,
    }  # fmt: skip
    return measure([*paths, zero_path(table)], table, **given | settings)


def test_figures_are_those_of_each_resample_looked_up_row_by_row() -> None:
    """AIQ, APGR and CPT and their intervals, where some prompts stand in two rows."""
    table = random_table(0)
    path = random_path(table, 1)
    assert path.win_rates is not None
    rates: Any = path.win_rates

    def slow(value: Any) -> Any:
        return statistic_interval(value, 80, table.prompts, num_resamples=60, seed=5)

    def area(rows: Any) -> float:
        low, high = table.costs[rows].mean(axis=0)
        return aiq(
            convex_hull(path.costs[:, rows].mean(axis=1), path.scores[:, rows].mean(axis=1)),
            float(low),
            float(high),
        )

    def swept(rows: Any) -> Any:
        return sweep(rates[rows], table.scores[rows, 0], table.scores[rows, 1])

    found = measured(table, path, seed=5)[0]

    assert found.cpt is not None
    for quick, value in [
        (found.aiq, area),
        (found.apgr, lambda rows: swept(rows).apgr),
        *((found.cpt[gap], lambda rows, gap=gap: swept(rows).cpt(gap)) for gap in GAPS),
    ]:
        wanted = slow(value)
        assert quick is not None
        assert (quick.estimate, quick.low, quick.high) == pytest.approx(
            (wanted.estimate, wanted.low, wanted.high), abs=1e-9
        )


def test_a_router_that_knows_nothing_gains_nothing_though_its_hull_is_higher() -> None:
    """Over many tables its gains are about 0 on the mean, and its AIQ is above the zero router's
    on each: a hull takes the settings that were lucky."""
    gains, hulls, above = [], [], 0
    for seed in range(40):
        table = random_table(seed)
        own, zero = measured(table, random_path(table, seed + 100), num_resamples=40)
        gains.append(own.gain.estimate)
        hulls.append(own.aiq.estimate - zero.aiq.estimate)
        above += own.gain.low > 0
        assert own.gain.estimate <= hulls[-1] + 1e-12

    assert abs(np.mean(gains)) < 2.5 * np.std(gains) / np.sqrt(len(gains))
    assert min(hulls) >= -1e-12
    assert np.mean(hulls) > 0.01
    assert above <= 4


def test_beyond_its_last_setting_a_path_is_level() -> None:
    """In its gain as in its AIQ: a router that never asks the dear model loses what that would
    have brought."""
    table = random_table(0)
    cheapest = CostPath(name="cheapest", scores=table.scores.T[:1], costs=table.costs.T[:1])

    found, zero = measured(table, cheapest)

    weak, strong = table.scores.mean(axis=0)
    assert found.gain.estimate == pytest.approx((weak - strong) / 2)
    assert found.aiq.estimate - zero.aiq.estimate == pytest.approx(found.gain.estimate)


def test_gains_are_over_the_zero_router_and_over_the_baseline() -> None:
    table = random_table(3)
    oracle, other, zero = measured(
        table, oracle_path(table, (0, 1)), random_path(table, 4), baseline="random"
    )

    assert oracle.over_baseline is not None
    assert oracle.over_baseline.estimate == pytest.approx(
        oracle.gain.estimate - other.gain.estimate
    )
    assert oracle.over_baseline.low > 0
    assert other.over_baseline is None
    assert zero.gain.estimate == zero.gain.low == zero.gain.high == 0


def test_the_score_at_the_median_cost_and_the_curve_are_read_off_the_hull() -> None:
    table = random_table(0)
    _, zero = measured(table, random_path(table, 1))

    assert zero.middle.estimate == pytest.approx(table.scores.mean())
    assert zero.costs == pytest.approx(table.costs.mean(axis=0))
    assert all(low < q < high for low, q, high in zip(zero.lows, zero.qualities, zero.highs))


def test_the_deferral_curve_goes_from_the_weak_model_to_the_strong_one() -> None:
    table = random_table(0)
    own, zero = measured(table, random_path(table, 1))

    assert own.deferral is not None
    assert own.deferral[0] == pytest.approx((0.0, table.scores[:, 0].mean()))
    assert own.deferral[-1] == pytest.approx((1.0, table.scores[:, 1].mean()))
    assert zero.deferral is None


def test_where_a_resample_has_no_gap_there_is_no_apgr() -> None:
    """The strong model is better on one prompt of twelve, which a resample may lack."""
    scores = np.ones((12, 2))
    scores[0, 0] = 0.0
    table = Outcomes(
        prompts=tuple("abcdefghijkl"),
        models=("small", "large"),
        scores=scores,
        costs=np.tile(PRICES, (12, 1)),
    )

    own = measured(table, random_path(table, 1))[0]

    assert own.apgr is None
    assert own.cpt is None
    assert own.deferral is not None


def test_paths_that_cannot_be_measured_are_refused() -> None:
    table = random_table(0)
    dear = CostPath(name="dear", scores=table.scores.T[1:], costs=table.costs.T[1:])
    short = CostPath(name="short", scores=table.scores.T[:, :5], costs=table.costs.T[:, :5])

    with pytest.raises(DataError, match="dear: nothing costs"):
        measured(table, dear)
    with pytest.raises(DataError, match="short is of 5 prompts"):
        measured(table, short)
    with pytest.raises(DataError, match="no path 'knn'"):
        measured(table, random_path(table, 1), baseline="knn")
    with pytest.raises(DataError, match="one name"):
        measured(table, random_path(table, 1), random_path(table, 2))
    with pytest.raises(DataError, match="gap"):
        measured(table, random_path(table, 1), pair=(1, 0))

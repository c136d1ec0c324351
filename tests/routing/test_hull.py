"""The non-decreasing convex hull against its definition, and mixing between its vertices."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import DataError
from motet.routing.hull import Hull, Mixture, convex_hull

POINTS = [(1, 0.4), (2, 0.7), (2.5, 0.5), (3, 0.65), (4, 0.8)]

grid_points = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=14)
float_points = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), min_size=1, max_size=30)


def hull_of(points: Any) -> Hull:
    return convex_hull([cost for cost, _ in points], [quality for _, quality in points])


def brute_height(points: list[tuple[int, int]], cost: float) -> float:
    """Best mean quality of a mixture of two points whose mean cost is at most `cost`."""
    best = -np.inf
    for x0, y0 in points:
        if x0 <= cost:
            best = max(best, y0)
        for x1, y1 in points:
            if x0 <= cost < x1:
                share = (cost - x0) / (x1 - x0)
                best = max(best, y0 + share * (y1 - y0))
    return best


def test_the_hull_of_the_card() -> None:
    hull = hull_of(POINTS)

    assert list(zip(hull.costs, hull.qualities, strict=True)) == [(1, 0.4), (2, 0.7), (4, 0.8)]
    assert hull.members.tolist() == [0, 1, 4]


@given(grid_points)
def test_the_hull_is_the_best_mixture_of_two_points_at_every_cost(
    points: list[tuple[int, int]],
) -> None:
    hull = hull_of(points)
    cheapest = min(cost for cost, _ in points)

    for cost in np.arange(cheapest, 14, 0.25):
        assert hull.quality_at(cost) == pytest.approx(brute_height(points, cost), abs=1e-9)


@given(grid_points)
def test_no_vertex_can_be_left_out(points: list[tuple[int, int]]) -> None:
    hull = hull_of(points)
    vertices = [points[place] for place in hull.members]

    for vertex in vertices[1:]:
        others = [point for point in vertices if point != vertex]
        assert brute_height(others, vertex[0]) < vertex[1] - 1e-9


@given(float_points)
def test_no_point_is_above_the_hull(points: list[tuple[float, float]]) -> None:
    hull = hull_of(points)

    for cost, quality in points:
        assert hull.quality_at(cost) >= quality - 1e-9
    assert (np.diff(hull.costs) > 0).all()
    assert (np.diff(hull.qualities) > 0).all()


@given(float_points)
def test_the_hull_of_a_hull_is_itself(points: list[tuple[float, float]]) -> None:
    hull = hull_of(points)

    again = convex_hull(hull.costs, hull.qualities)

    assert again.costs.tolist() == hull.costs.tolist()
    assert again.qualities.tolist() == hull.qualities.tolist()


@given(float_points, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(
    points: list[tuple[float, float]], random: Any
) -> None:
    shuffled = random.sample(points, len(points))

    assert hull_of(shuffled).costs.tolist() == hull_of(points).costs.tolist()


@given(grid_points, st.floats(0, 20))
def test_a_mixture_costs_and_gives_what_the_hull_says(
    points: list[tuple[int, int]], extra: float
) -> None:
    hull = hull_of(points)
    cost = min(float(hull.costs[0]) + extra, float(hull.costs[-1]))

    mix = hull.mix(cost)

    (x0, y0), (x1, y1) = points[mix.cheap], points[mix.dear]
    assert 0 <= mix.dear_share <= 1
    assert x0 + mix.dear_share * (x1 - x0) == pytest.approx(cost)
    assert y0 + mix.dear_share * (y1 - y0) == pytest.approx(hull.quality_at(cost))


def test_mixing_names_the_points_that_were_given() -> None:
    hull = hull_of(POINTS)

    assert hull.mix(3) == Mixture(cheap=1, dear=4, dear_share=0.5)
    assert hull.mix(2) == Mixture(cheap=1, dear=4, dear_share=0)
    assert hull.mix(9) == Mixture(cheap=4, dear=4, dear_share=0)


def test_beyond_the_last_vertex_the_quality_stays() -> None:
    assert hull_of(POINTS).quality_at(1e6) == 0.8


@pytest.mark.parametrize("cost", [0.999, float("nan"), -float("inf")])
def test_less_than_the_cheapest_point_buys_nothing(cost: float) -> None:
    with pytest.raises(DataError, match="the hull begins at 1.0"):
        hull_of(POINTS).quality_at(cost)
    with pytest.raises(DataError, match="the hull begins at 1.0"):
        hull_of(POINTS).mix(cost)


def test_points_on_a_straight_line_leave_its_ends() -> None:
    assert hull_of([(1, 1), (2, 2), (3, 3)]).members.tolist() == [0, 2]


def test_of_points_of_one_cost_the_best_counts_and_of_equals_the_first() -> None:
    assert hull_of([(1, 0.2), (1, 0.5), (1, 0.5)]).members.tolist() == [1]


@pytest.mark.parametrize(
    ("costs", "qualities", "said"),
    [
        ([], [], "costs have the shape"),
        ([1], [1, 2], "1 costs, but 2 qualities"),
        ([1, np.nan], [1, 2], "costs hold nan at place 1"),
        ([1, 2], [np.inf, 2], "qualities hold inf at place 0"),
        ([[1]], [[1]], "costs have the shape"),
        (["dear"], [1], "costs are no numbers"),
    ],
)
def test_what_is_no_row_of_points_is_refused(costs: Any, qualities: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        convex_hull(costs, qualities)


def test_a_hundred_thousand_vertices_take_no_time_that_grows_by_their_square() -> None:
    costs = np.linspace(0, 1, 100_000)

    start = time.process_time()
    hull = convex_hull(costs, np.sqrt(costs))

    assert len(hull.costs) > 99_000
    assert time.process_time() - start < 20

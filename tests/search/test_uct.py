"""The scores by which rollouts descend."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.search.uct import puct, uct

numbers = st.floats(-5, 5)
children = st.lists(st.tuples(numbers, st.integers(0, 50)), min_size=1, max_size=6)


def test_uct_is_the_golden_number():
    """Q=.5, w=1, N_parent=10, N=3."""
    assert uct([0.5], [3], 10) == pytest.approx([1.376087], abs=5e-7)


def test_puct_without_prior_is_the_golden_number():
    """Q=.5, c_init 1.25, c_base 19652, N_parent=10, n=3."""
    assert puct([0.5], [3], 10) == pytest.approx([1.488654], abs=5e-7)


def test_an_unvisited_child_counts_as_visited_once():
    """max(1, N): no division by zero, and no infinity."""
    assert uct([0.0, 0.0], [0, 1], 7) == pytest.approx([math.sqrt(math.log(7))] * 2)


def test_a_parent_without_visits_is_no_logarithm_of_zero():
    """ln max(1, N_parent) is 0, so values decide."""
    assert uct([0.25, 0.5], [0, 0], 0) == [0.25, 0.5]


def test_added_visits_make_it_one_plus_n():
    """Q + w * sqrt(ln N_parent / (1 + N))."""
    assert uct([0.5], [3], 10, added=1) == pytest.approx([0.5 + math.sqrt(math.log(10) / 4)])


@given(children)
def test_without_exploration_values_are_all(each):
    """w=0 is greedy."""
    values, visits = zip(*each, strict=True)

    assert uct(values, visits, 9, exploration=0.0) == list(values)


@given(children, st.floats(0, 3), st.integers(1, 100))
def test_puct_with_equal_priors_is_puct_without_scaled(each, c_init, parent):
    """A prior scales the bonus only."""
    values, visits = zip(*each, strict=True)
    share = 1 / len(values)

    plain = puct(values, visits, parent, c_init=c_init)
    scaled = puct(values, visits, parent, c_init=c_init, priors=[share] * len(values))

    for value, a, b in zip(values, plain, scaled, strict=True):
        assert b - value == pytest.approx((a - value) * share, abs=1e-9)

"""The greatest of each row: the same as by sorting, on every way to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.routing.nearest import greatest


def check(values: Any, k: int) -> None:
    """The k places of each row differ, and hold its k greatest values."""
    places = greatest(values, k)

    assert places.shape == (len(values), k)
    assert all(len(set(row)) == k for row in places.tolist())
    found = np.sort(np.take_along_axis(values, places, axis=1), axis=1)
    assert np.array_equal(found, np.sort(values, axis=1)[:, -k:])


@given(
    seed=st.integers(0, 10_000),
    num=st.integers(1, 3000),
    num_rows=st.integers(1, 5),
    k=st.integers(1, 40),
    num_kinds=st.integers(1, 100_000),
)
@settings(deadline=None, max_examples=200)
def test_the_greatest_are_those_of_a_sorted_row(
    seed: int, num: int, num_rows: int, k: int, num_kinds: int
) -> None:
    """Of any length, and with as many equal values as there may be."""
    rng = np.random.default_rng(seed)
    values = (rng.integers(num_kinds, size=(num_rows, num)) / num_kinds).astype(np.float32)

    check(values, min(k, num))


@pytest.mark.parametrize("num_blocks", [10, 11])
def test_the_greatest_may_stand_in_one_block_or_beyond_the_last(num_blocks: int) -> None:
    """A block that holds many of the best gives them all, and what fills no block counts too."""
    crowded = np.zeros((1, 8 * num_blocks), dtype=np.float32)
    crowded[0, 3::num_blocks] = 1 + np.arange(8)
    rising = np.arange(8 * num_blocks + 7, dtype=np.float32)[None]

    check(crowded, 5)
    check(rising, 5)
    check(-rising, 5)

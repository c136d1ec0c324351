"""Matrix games: values and mixes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.search.matrix_game import maximin, mixed_equilibrium

entries = st.one_of(st.integers(-3, 3).map(float), st.floats(-100, 100))


@st.composite
def matrices(draw):
    columns = draw(st.integers(1, 5))
    row = st.lists(entries, min_size=columns, max_size=columns)
    return draw(st.lists(row, min_size=1, max_size=5))


def transposed(matrix):
    return [[-value for value in column] for column in zip(*matrix, strict=True)]


@settings(deadline=None)
@given(matrices())
def test_no_reply_gets_below_the_value_nor_any_row_above_the_others(matrix):
    """The mix holds the value against every column, and the column player's against every row."""
    value, mix = mixed_equilibrium(matrix)
    other, reply = mixed_equilibrium(transposed(matrix))

    assert sum(mix) == pytest.approx(1)
    assert min(mix) >= 0
    assert value == pytest.approx(-other)
    for column in zip(*matrix, strict=True):
        assert sum(p * x for p, x in zip(mix, column, strict=True)) >= value - 1e-9
    for row in matrix:
        assert sum(q * x for q, x in zip(reply, row, strict=True)) <= value + 1e-9


@given(matrices())
def test_pure_play_gets_no_more_than_a_mix(matrix):
    """The maximin value is at most the game's."""
    assert maximin(matrix)[0] <= mixed_equilibrium(matrix)[0] + 1e-9


@pytest.mark.parametrize(
    ("matrix", "value", "mix"),
    [
        ([[1, -1], [-1, 1]], 0.0, [0.5, 0.5]),
        ([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], 0.0, [1 / 3, 1 / 3, 1 / 3]),
        ([[2, -3], [-3, 4]], -1 / 12, [7 / 12, 5 / 12]),
        ([[5]], 5.0, [1.0]),
    ],
)
def test_known_games(matrix, value, mix):
    """Pennies, rock-paper-scissors, Morra."""
    found, shares = mixed_equilibrium(matrix)

    assert found == pytest.approx(value)
    assert shares == pytest.approx(mix)


def test_a_saddle_point_is_the_value_both_ways():
    """The row of the saddle is played alone."""
    matrix = [[3, 5, 4], [1, 9, 0], [2, 6, 8]]

    assert maximin(matrix) == (3, 0)
    assert mixed_equilibrium(matrix) == (pytest.approx(3.0), pytest.approx([1.0, 0.0, 0.0]))


def test_the_first_of_equal_rows_is_taken():
    """Ties do not depend on chance."""
    assert maximin([[0, 1], [1, 1], [1, 2]]) == (1, 1)

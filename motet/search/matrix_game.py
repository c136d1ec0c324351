"""Solve a matrix game: what the row player gets for sure, and how to mix rows to get it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def maximin(matrix: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the greatest of the rows' least entries, and the first row that has it."""
    least = [min(row) for row in matrix]
    best = max(least)
    return best, least.index(best)


def mixed_equilibrium(matrix: Sequence[Sequence[float]]) -> tuple[float, list[float]]:
    """Return the value of the game and the row player's probabilities.

    Args:
        matrix: float `[R, C]`, what the row player gets, and the column player loses.

    The linear programme is solved by the simplex method in fractions, so exactly; Bland's rule
    keeps it from going in circles.

    Source: von Neumann 1928; Dantzig 1951 for the programme.
    """
    low = Fraction(min(min(row) for row in matrix))
    num_rows, num_columns = len(matrix), len(matrix[0])
    # With entries above 0: maximise sum(y), matrix @ y <= 1, y >= 0. The slacks' prices are the
    # row player's mix, up to a factor.
    table = [
        [Fraction(value) - low + 1 for value in row]
        + [Fraction(int(i == j)) for j in range(num_rows)]
        + [Fraction(1)]
        for i, row in enumerate(matrix)
    ]
    prices = [Fraction(-1)] * num_columns + [Fraction(0)] * (num_rows + 1)
    basis = list(range(num_columns, num_columns + num_rows))
    while (
        enter := next((j for j, price in enumerate(prices[:-1]) if price < 0), None)
    ) is not None:
        _, _, leave = min(
            (row[-1] / row[enter], basis[i], i) for i, row in enumerate(table) if row[enter] > 0
        )
        pivot = [value / table[leave][enter] for value in table[leave]]
        table = [
            pivot if i == leave else [a - row[enter] * b for a, b in zip(row, pivot, strict=True)]
            for i, row in enumerate(table)
        ]
        prices = [a - prices[enter] * b for a, b in zip(prices, pivot, strict=True)]
        basis[leave] = enter
    total = prices[-1]
    mix = [float(price / total) for price in prices[num_columns:-1]]
    return float(1 / total + low - 1), mix

"""Statistics of resamples: a count of two is a row that stands twice."""

from typing import Any

import numpy as np
import pytest

from motet.errors import DataError
from motet.routing.outcomes import Outcomes
from motet.routing.paths import CostPath, estimates_path, zero_path
from motet.routing.resamples import Resamples

PRICES = (1.0, 10.0)


def case(rows: Any = None) -> tuple[Outcomes, list[CostPath]]:
    """A table of these of eight rows, and the paths of a router and of the zero router."""
    rng = np.random.default_rng(0)
    table = Outcomes(
        prompts=tuple("abcdefgh"),
        models=("small", "large"),
        scores=np.stack([rng.integers(0, 2, 8) * 0.5, rng.integers(1, 3, 8) * 0.5], axis=1),
        costs=rng.uniform(0.9, 1.1, (8, 2)) * PRICES,
    )
    estimates = rng.random((8, 2))
    if rows is not None:
        table, estimates = table.take(rows), estimates[rows]
    return table, [estimates_path("own", estimates, PRICES, table, (0, 1)), zero_path(table)]


def of(rows: Any, counts: Any) -> Resamples:
    table, paths = case(rows)
    found = Resamples(paths, table, (0, 1), (0, 1), 1)
    for block in counts:
        found.add(np.asarray(block, dtype=float))
    return found


def test_a_count_is_how_often_a_row_stands_in_the_resample() -> None:
    counted = of(None, [[[2, 0, 1, 1, 3, 0, 1, 0]]])
    rows = of([0, 0, 2, 3, 4, 4, 4, 6], [[[1] * 8]])

    for name in ("aiqs", "heights", "middles", "recovered"):
        for place in (0, 1):
            assert np.array(getattr(counted, name)[place]) == pytest.approx(
                np.array(getattr(rows, name)[place])
            )


def test_resamples_may_be_added_in_blocks() -> None:
    rng = np.random.default_rng(1)
    counts = rng.multinomial(8, [1 / 8] * 8, size=6)

    together, parted = of(None, [counts]), of(None, [counts[:2], counts[2:]])

    assert parted.aiqs == [pytest.approx(each) for each in together.aiqs]
    assert len(parted.heights[0]) == 6


def test_the_height_of_settings_as_they_are_is_not_above_their_hull() -> None:
    rng = np.random.default_rng(2)
    found = of(None, [rng.multinomial(8, [1 / 8] * 8, size=40)])

    assert all(h <= a + 1e-12 for h, a in zip(found.heights[0], found.aiqs[0], strict=True))
    assert found.heights[0] != found.aiqs[0]
    assert found.heights[1] == found.aiqs[1]


def test_a_path_that_is_never_cheap_is_refused_by_name() -> None:
    table, paths = case()
    dear = CostPath(name="dear", scores=table.scores.T[1:], costs=table.costs.T[1:])

    with pytest.raises(DataError, match="dear: nothing costs"):
        Resamples([dear, paths[1]], table, (0, 1), None, 1).add(np.ones((1, 8)))

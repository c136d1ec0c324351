import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.cross_fitting import cross_fitted
from motet.routing.outcomes import Outcomes


def table(prompts):
    cells = np.ones((len(prompts), 2))
    return Outcomes(prompts=tuple(prompts), models=("a", "b"), scores=cells, costs=cells)


def test_no_prompt_is_scored_by_a_scorer_that_saw_it() -> None:
    """Not even in another row with the same text; each row is scored once."""
    prompts = [f"p{row % 15}" for row in range(40)]
    scored: list[int] = []

    def score(train, held):
        assert not {prompts[row] for row in train} & {prompts[row] for row in held}
        assert sorted(train + held) == list(range(40))
        scored.extend(held)
        return np.array([[row / 100, 1 - row / 100] for row in held])

    sure = cross_fitted(table(prompts), score)

    assert sorted(scored) == list(range(40))
    assert sure[:, 0].tolist() == [row / 100 for row in range(40)]


def test_a_scorer_that_learns_by_heart_knows_nothing_of_what_it_did_not_see() -> None:
    """Trained on its own prompts it would be right everywhere."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 2, (100, 2)).astype(float)
    prompts = tuple(f"p{row}" for row in range(100))
    outcomes = Outcomes(prompts=prompts, models=("a", "b"), scores=scores, costs=scores)

    def by_heart(train, held):
        known = {row: scores[row] for row in train}
        return np.array([known.get(row, np.full(2, 0.5)) for row in held])

    rows = list(range(100))
    assert (by_heart(rows, rows) == scores).all()
    assert (cross_fitted(outcomes, by_heart) == 0.5).all()


def test_folds_are_about_equal_and_the_same_each_time() -> None:
    """And do not depend on anything but the prompts and the seed."""
    sizes: list[int] = []

    def score(train, held):
        sizes.append(len(held))
        return np.full((len(held), 2), len(sizes) / 100)

    outcomes = table([f"p{row}" for row in range(23)])
    first = cross_fitted(outcomes, score, num_folds=4)
    assert sorted(sizes) == [5, 6, 6, 6]
    sizes.clear()
    assert (cross_fitted(outcomes, score, num_folds=4) == first).all()
    sizes.clear()
    assert (cross_fitted(outcomes, score, num_folds=4, seed=1) != first).any()


def test_bad_folds_and_scorers_are_typed_errors() -> None:
    """Fewer prompts than folds, fewer than two folds, and a result of another shape."""

    def score(train, held):
        return np.zeros((len(held), 3))

    with pytest.raises(DataError, match="num_folds is 5; there are 2 distinct prompts"):
        cross_fitted(table(["x", "x", "y", "y", "y"]), score)
    with pytest.raises(ConfigError, match="num_folds is 1"):
        cross_fitted(table(["x", "y"]), score, num_folds=1)
    with pytest.raises(DataError, match=r"score returned the shape \(1, 3\) for 1 rows"):
        cross_fitted(table(["x", "y"]), score, num_folds=2)

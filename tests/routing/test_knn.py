"""kNN router: what its neighbours are and what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.knn import KnnRouter
from motet.routing.outcomes import Outcomes


def table(scores: Any) -> Outcomes:
    scores = np.asarray(scores, dtype=float)
    return Outcomes(
        prompts=tuple(f"prompt {i}" for i in range(len(scores))),
        models=tuple("abcdefgh"[: scores.shape[1]]),
        scores=scores,
        costs=np.zeros_like(scores),
    )


def random_case(seed: int, rows: int = 200, size: int = 8, models: int = 3) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, size)), rng.random((rows, models))


def test_with_one_neighbour_a_prompt_of_the_table_has_its_own_scores() -> None:
    """k=1 returns the training scores, whatever the length of the embedding."""
    embeddings, scores = random_case(0)

    router = KnnRouter(k=1).fit(table(scores), embeddings)

    assert np.array_equal(router.estimate(3.0 * embeddings), scores)


@given(seed=st.integers(0, 1000), k=st.integers(1, 50), by_similarity=st.booleans())
@settings(deadline=None, max_examples=40)
def test_estimates_are_those_of_a_sorted_list(seed: int, k: int, by_similarity: bool) -> None:
    """Every estimate is the mean over the first k of all rows sorted by cosine, NaN left out."""
    embeddings, scores = random_case(seed, rows=40)
    queries, _ = random_case(seed + 5000, rows=7)
    scores[np.random.default_rng(seed).random(scores.shape) < 0.3] = np.nan
    scores[0] = 0.5
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    estimates = KnnRouter(k=k, by_similarity=by_similarity).fit(table(scores), embeddings)

    for query, estimate in zip(queries, estimates.estimate(queries), strict=True):
        cosines = unit @ query / np.linalg.norm(query)
        near = sorted(range(40), key=lambda i: -cosines[i])[:k]
        for model in range(3):
            known = [i for i in near if not np.isnan(scores[i, model])]
            weights = [max(cosines[i], 0.0) if by_similarity else 1.0 for i in known]
            if by_similarity and not any(cosines[i] > 0 for i in near):
                weights = [1.0 for _ in known]
            expected = np.nanmean(scores[:, model])
            if sum(weights) > 0:
                expected = np.average([scores[i, model] for i in known], weights=weights)
            assert estimate[model] == pytest.approx(expected, abs=1e-6)


def test_a_model_that_no_neighbour_tried_has_its_mean_score() -> None:
    """Neither 0 nor NaN stands for what is not known."""
    router = KnnRouter(k=1).fit(table([[1.0, np.nan], [0.0, 0.25], [0.0, 0.75]]), np.eye(3) + 0.01)

    assert np.array_equal(router.estimate(np.eye(3)[:1]), [[1.0, 0.5]])


def test_a_prompt_that_stands_in_many_rows_is_one_neighbour() -> None:
    """Fifty rows of one prompt do not push the second prompt out of two neighbours."""
    embeddings = np.array([[1.0, 0.0]] * 50 + [[0.9, 0.1], [0.0, 1.0]])
    scores = np.array([[0.0], [1.0]] * 25 + [[1.0], [0.0]])

    router = KnnRouter(k=2).fit(table(scores), embeddings)

    assert router.estimate(np.array([[1.0, 0.0]]))[0, 0] == pytest.approx(0.75)


def test_prompts_are_estimated_one_by_one_as_in_a_batch() -> None:
    """A batch longer than what is compared at once gives the estimates of single prompts."""
    embeddings, scores = random_case(1)
    queries, _ = random_case(2, rows=300)
    router = KnnRouter(k=5).fit(table(scores), embeddings)

    together = router.estimate(queries)

    singly = np.concatenate([router.estimate(query[None]) for query in queries])
    assert np.allclose(together, singly, atol=1e-12)


def test_the_order_of_models_is_the_order_of_estimates() -> None:
    """Columns that are permuted permute the estimates, and nothing else."""
    embeddings, scores = random_case(3)
    outcomes = table(scores)

    plain = KnnRouter().fit(outcomes, embeddings).estimate(embeddings)
    turned = KnnRouter().fit(outcomes.only("cab"), embeddings).estimate(embeddings)

    assert np.array_equal(turned, plain[:, [2, 0, 1]])


def test_more_neighbours_than_prompts_are_all_prompts() -> None:
    """With k beyond the table the estimate is the mean score."""
    embeddings, scores = random_case(4, rows=6)

    router = KnnRouter(k=100).fit(table(scores), embeddings)

    assert np.allclose(router.estimate(embeddings), scores.mean(axis=0))


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.ones((2, 3)), "3 dimensions"),
        (np.array([[1.0, np.nan]]), "finite"),
        (np.zeros((1, 2)), "row 0 is all zeros"),
        (np.ones(2), "matrix"),
        (1.0, "one row of 2"),
    ],
)
def test_queries_that_do_not_fit_are_refused(embeddings: Any, message: str) -> None:
    """Another size, no numbers, no direction."""
    router = KnnRouter().fit(table([[1.0], [0.0]]), np.eye(2))

    with pytest.raises(DataError, match=message):
        router.estimate(embeddings)


def test_a_table_that_teaches_nothing_of_a_model_is_refused() -> None:
    """A model never tried, and embeddings of other rows."""
    with pytest.raises(DataError, match="'b' was tried on no prompt"):
        KnnRouter().fit(table([[1.0, np.nan]]), np.ones((1, 2)))
    with pytest.raises(DataError, match="2 rows"):
        KnnRouter().fit(table([[1.0], [0.5]]), np.ones((3, 2)))


def test_settings_are_checked() -> None:
    """k is a whole number from 1."""
    with pytest.raises(ConfigError, match="k is 0"):
        KnnRouter(k=0)

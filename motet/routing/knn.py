"""kNN router: a model is worth what it was worth on the most similar prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.routing.nearest import greatest
from motet.routing.training import (
    check_array,
    check_models,
    check_queries,
    check_table,
    to_directions,
)
from motet.search.settings import flag, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats, Outcomes

BATCH = 256
"""Prompts that are compared with the table in one matrix product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnnRouter:
    """Estimate a model's score by its mean score on the `k` prompts of greatest cosine.

    Source: Hu et al. 2024 (RouterBench), arXiv:2403.12031; its repository uses k of 5, 10 and 40.
    Rows of the table with equal embeddings count as one prompt with their mean score, so that a
    prompt that was logged often does not fill the neighbourhood.
    """

    k: int = 10
    """Where the table has fewer distinct prompts, all are neighbours."""
    by_similarity: bool = False
    """Whether a neighbour counts by its cosine (0 where negative) instead of all the same."""

    def __post_init__(self) -> None:
        whole("k", self.k)
        flag("by_similarity", self.by_similarity)

    def fit(self, outcomes: Outcomes, embeddings: Floats) -> TrainedKnn:
        """Keep the table.

        Raises:
            DataError: A model was never tried, an embedding is all zeros, or sizes differ.
        """
        import numpy as np

        rows = to_directions(check_table(outcomes, embeddings)).astype(np.float32)
        distinct, where = np.unique(rows, axis=0, return_inverse=True)
        known = ~np.isnan(outcomes.scores)
        totals, tries = (np.zeros((len(distinct), len(outcomes.models))) for _ in range(2))
        np.add.at(totals, where.ravel(), np.where(known, outcomes.scores, 0.0))
        np.add.at(tries, where.ravel(), known)
        return TrainedKnn(
            models=outcomes.models,
            k=self.k,
            by_similarity=self.by_similarity,
            directions=np.ascontiguousarray(distinct.T),
            scores=np.where(tries > 0, totals / np.maximum(tries, 1), np.nan),
            means=np.nanmean(outcomes.scores, axis=0),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedKnn:
    """A `KnnRouter` with its table of N distinct prompts."""

    models: tuple[str, ...]
    k: int
    by_similarity: bool
    directions: Any
    """float32 [D, N], embeddings of length 1, one a column: that order is read fastest."""
    scores: Floats
    """[N, M]; NaN where a model was not tried."""
    means: Floats
    """[M], the mean score in the whole table; the estimate where no neighbour tried a model."""

    def __post_init__(self) -> None:
        check_models(self.models)
        whole("k", self.k)
        flag("by_similarity", self.by_similarity)
        check_array("directions", self.directions, None, None)
        check_array(
            "scores", self.scores, self.directions.shape[1], len(self.models), is_finite=False
        )
        check_array("means", self.means, len(self.models))

    @property
    def dimensions(self) -> int:
        return int(self.directions.shape[0])

    def estimate(self, embeddings: Floats) -> Floats:
        """Return estimated scores [Q, M]; which of equally near neighbours count is not said.

        Raises:
            DataError: Embeddings of another size, or one of all zeros.
        """
        import numpy as np

        queries = to_directions(check_queries(embeddings, self.dimensions)).astype(np.float32)
        estimates = np.empty((len(queries), len(self.models)))
        for start in range(0, len(queries), BATCH):
            batch = slice(start, start + BATCH)
            estimates[batch] = self._estimate(queries[batch])
        return estimates

    def _estimate(self, queries: Any) -> Floats:
        import numpy as np

        cosines = queries @ self.directions
        k = min(self.k, cosines.shape[1])
        nearest = greatest(cosines, k)
        weights = np.ones(nearest.shape)
        if self.by_similarity:
            near = np.maximum(np.take_along_axis(cosines, nearest, axis=1), 0.0)
            weights = np.where(near.any(axis=1, keepdims=True), near, weights)
        scores = self.scores[nearest]
        known = ~np.isnan(scores)
        counts = weights[:, :, None] * known
        sums = counts.sum(axis=1)
        totals = (counts * np.where(known, scores, 0.0)).sum(axis=1)
        return np.where(sums > 0, totals / np.where(sums > 0, sums, 1.0), self.means)

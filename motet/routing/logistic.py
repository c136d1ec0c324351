"""Linear routers: one regression a model, from the embedding to its score."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from motet.packages import imported
from motet.routing.training import check_array, check_models, check_queries, check_table
from motet.search.settings import number, one_of, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats, Outcomes

LINKS = ("logistic", "identity")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRouter:
    """Estimate each model's score by a regression of its own on the embedding.

    A model is trained on the prompts that it was tried on. Where all its scores are 1, or all are
    0, that is its estimate everywhere.

    Source: scikit-learn's `LogisticRegression` and `Ridge`. A score between 0 and 1 is a row of
    label 1 with that weight and a row of label 0 with the rest, as in Dubois et al. 2024 (length-
    controlled AlpacaEval), arXiv:2404.04475. Embeddings are centred and brought to one scale first,
    so that `penalty` means the same whatever embeds.
    """

    link: Literal["logistic", "identity"] = "logistic"
    """`identity` is ridge regression on the scores, cut to 0 and 1."""
    penalty: float = 100.0
    """Weight of the squared coefficients beside the sum of the prompts' losses."""
    max_steps: int = 1000
    """Of the solver of the logistic regression."""

    def __post_init__(self) -> None:
        one_of("link", self.link, LINKS)
        number("penalty", self.penalty, 1e-9)
        whole("max_steps", self.max_steps)

    def fit(self, outcomes: Outcomes, embeddings: Floats) -> TrainedLinear:
        """Fit the regressions.

        Raises:
            DataError: A model was never tried, or sizes differ.
            ConfigError: scikit-learn is not installed.
        """
        import numpy as np

        rows = check_table(outcomes, embeddings)
        centre = rows.mean(axis=0)
        scale = float(np.sqrt(np.mean((rows - centre) ** 2))) or 1.0
        scaled = (rows - centre) / scale
        regress = self._logistic if self.link == "logistic" else self._ridge
        weights = np.zeros((len(outcomes.models), rows.shape[1]))
        intercepts = np.zeros(len(outcomes.models))
        for i, scores in enumerate(outcomes.scores.T):
            known = ~np.isnan(scores)
            weights[i], intercepts[i] = regress(scaled[known], scores[known])
        weights /= scale
        return TrainedLinear(
            models=outcomes.models,
            link=self.link,
            weights=weights,
            intercepts=intercepts - weights @ centre,
        )

    def _logistic(self, rows: Floats, scores: Floats) -> tuple[Any, float]:
        import numpy as np

        if np.all(scores == scores[0]) and scores[0] in (0, 1):
            return np.zeros(rows.shape[1]), np.inf if scores[0] else -np.inf
        right, wrong = scores > 0, scores < 1
        labels = np.concatenate([np.ones(right.sum()), np.zeros(wrong.sum())])
        shares = np.concatenate([scores[right], 1 - scores[wrong]])
        model = imported("sklearn.linear_model").LogisticRegression(
            C=1 / self.penalty, max_iter=self.max_steps
        )
        with warnings.catch_warnings():
            # A fit that stops at `max_steps` is a fit all the same.
            warnings.simplefilter("ignore", imported("sklearn.exceptions").ConvergenceWarning)
            model.fit(np.concatenate([rows[right], rows[wrong]]), labels, sample_weight=shares)
        return model.coef_[0], float(model.intercept_[0])

    def _ridge(self, rows: Floats, scores: Floats) -> tuple[Any, float]:
        model = imported("sklearn.linear_model").Ridge(alpha=self.penalty).fit(rows, scores)
        return model.coef_, float(model.intercept_)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedLinear:
    """A fitted `LinearRouter`."""

    models: tuple[str, ...]
    link: str
    weights: Floats
    """[M, D]"""
    intercepts: Floats
    """[M]; infinite where the logistic estimate is 0 or 1 everywhere."""

    def __post_init__(self) -> None:
        check_models(self.models)
        one_of("link", self.link, LINKS)
        check_array("weights", self.weights, len(self.models), None)
        check_array("intercepts", self.intercepts, len(self.models), is_finite=False)

    @property
    def dimensions(self) -> int:
        return int(self.weights.shape[1])

    def estimate(self, embeddings: Floats) -> Floats:
        """Return estimated scores [Q, M].

        Raises:
            DataError: Embeddings of another size.
        """
        import numpy as np

        values = check_queries(embeddings, self.dimensions) @ self.weights.T + self.intercepts
        if self.link == "identity":
            return np.clip(values, 0.0, 1.0)
        with np.errstate(over="ignore"):
            estimates: Floats = 1 / (1 + np.exp(-values))
        return estimates

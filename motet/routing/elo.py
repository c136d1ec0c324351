"""Similarity-weighted ranking: ratings of the models, fitted anew for each prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.errors import DataError
from motet.routing.bradley_terry import DRAWN, ratings, tiers, win_probability
from motet.routing.training import (
    check_array,
    check_models,
    check_queries,
    check_table,
    to_directions,
)
from motet.search.settings import number, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats, Outcomes

BATCH = 256
"""Prompts that are handled side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EloRouter:
    """Rate the models on the battles of the table, those of similar prompts counting most.

    Two models that were tried on one prompt fought a battle: the better score wins, equal ones are
    a draw. A battle on a prompt of cosine c counts 10 * 10^(c / greatest c).

    Source: Ong et al. 2024 (RouteLLM), arXiv:2406.18665, similarity-weighted ranking; its
    repository gives the defaults. Unlike there, `prior` keeps ratings finite where one side wins
    every battle, and all battles count the same where no prompt of the table has a cosine above 0
    (the formula would favour the least similar).
    """

    num_tiers: int = 10
    """Models beyond this number share ratings: those of near ratings in the whole table."""
    prior: float = 1.0
    """Draws, of the mean weight of the prompt's battles, that are added for each two tiers."""
    min_characters: int = 16
    """Battles on shorter prompts are left out."""

    def __post_init__(self) -> None:
        whole("num_tiers", self.num_tiers, 2)
        number("prior", self.prior, 1e-6)
        whole("min_characters", self.min_characters, 0)

    def fit(self, outcomes: Outcomes, embeddings: Floats) -> TrainedElo:
        """Keep the battles, and part the models into tiers.

        Raises:
            DataError: Fewer than two models, a model never tried, no battle, or sizes differ.
        """
        import numpy as np

        rows = check_table(outcomes, embeddings, least_models=2)
        kept = (~np.isnan(outcomes.scores)).sum(axis=1) >= 2
        kept &= [len(prompt.strip()) >= self.min_characters for prompt in outcomes.prompts]
        if not kept.any():
            raise DataError(
                f"no prompt of min_characters={self.min_characters} or more was tried by two models"
            )
        scores = outcomes.scores[kept]
        parts = [scores[start : start + BATCH] for start in range(0, len(scores), BATCH)]
        whole_table = sum(battles(part).sum(axis=0) for part in parts)[None]
        rated = ratings(with_prior(whole_table, self.prior, np.ones(1)))
        tier_of = tiers(rated[0], self.num_tiers)
        member = np.eye(tier_of.max() + 1)[tier_of]
        return TrainedElo(
            models=outcomes.models,
            prior=self.prior,
            tier_of=tuple(int(tier) for tier in tier_of),
            directions=to_directions(rows[kept]),
            wins=np.concatenate([member.T @ battles(part) @ member for part in parts]),
        )


def battles(scores: Floats) -> Floats:
    """Return [P, M, M]: 1 where the first model beat the second, half where they drew."""
    import numpy as np

    first, second = scores[:, :, None], scores[:, None, :]
    wins = (first > second) + 0.5 * (first == second)
    each = np.arange(scores.shape[1])
    wins[:, each, each] = 0.0
    return np.asarray(wins, dtype=np.float64)


def with_prior(wins: Floats, prior: float, mean_weights: Floats) -> Floats:
    """Add draws between each two, of the weight of each row's battles [N], to wins [N, T, T]."""
    import numpy as np

    others = 1 - np.eye(wins.shape[1])
    added: Floats = wins + 0.5 * prior * mean_weights[:, None, None] * others
    return added


def weigh(cosines: Floats) -> Floats:
    """Return how much the battles of each prompt count, 1 to 100 where cosines are positive."""
    import numpy as np

    nearest = cosines.max(axis=1, keepdims=True)
    return np.where(nearest > 0, 10 * 10 ** (cosines / np.where(nearest > 0, nearest, 1.0)), 10.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedElo:
    """A fitted `EloRouter`: N prompts with battles between T tiers."""

    models: tuple[str, ...]
    prior: float
    tier_of: tuple[int, ...]
    """[M], the tier of each model."""
    directions: Floats
    """[N, D], embeddings of length 1."""
    wins: Floats
    """[N, T, T], battles that one tier won of another, draws as halves."""

    def __post_init__(self) -> None:
        check_models(self.models)
        number("prior", self.prior, 1e-6)
        check_array("directions", self.directions, None, None)
        check_array("wins", self.wins, len(self.directions), None, None)
        count = self.wins.shape[1]
        check_array("wins", self.wins, len(self.directions), count, count)
        fits = isinstance(self.tier_of, tuple) and len(self.tier_of) == len(self.models)
        if not fits or any(
            type(tier) is not int or tier not in range(count) for tier in self.tier_of
        ):
            raise DataError(f"tier_of is {self.tier_of!r}; each model needs a tier of {count}")

    @property
    def dimensions(self) -> int:
        return int(self.directions.shape[1])

    def rate(self, embeddings: Floats) -> Floats:
        """Return ratings [Q, M] on the scale of Elo, the tiers' mean being 1000.

        Raises:
            DataError: Embeddings of another size, or one of all zeros.
        """
        import numpy as np

        queries = to_directions(check_queries(embeddings, self.dimensions))
        count = self.wins.shape[1]
        flat = self.wins.reshape(-1, count * count)
        rated = np.empty((len(queries), count))
        for start in range(0, len(queries), BATCH):
            batch = slice(start, start + BATCH)
            weights = weigh(queries[batch] @ self.directions.T)
            wins = (weights @ flat).reshape(-1, count, count)
            rated[batch] = ratings(with_prior(wins, self.prior, weights.mean(axis=1)))
        chosen: Floats = rated[:, self.tier_of]
        return chosen

    def estimate(self, embeddings: Floats) -> Floats:
        """Return how often each model is expected to beat another [Q, M]; of two, they sum to 1.

        Raises:
            DataError: Embeddings of another size, or one of all zeros.
        """
        rated = self.rate(embeddings)
        wins = win_probability(rated[:, :, None] - rated[:, None, :])
        shares: Floats = (wins.sum(axis=2) - DRAWN) / (rated.shape[1] - 1)
        return shares

"""Matrix factorisation: vectors of models and prompts whose product says who wins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.errors import DataError
from motet.routing.training import check_array, check_models, check_queries, check_table
from motet.search.settings import number, whole

if TYPE_CHECKING:
    import numpy as np

    from motet.routing.outcomes import Floats, Outcomes

FORGETTING = (0.9, 0.999)
TINY = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixFactorisationRouter:
    """Learn, from which model did better on which prompt, how likely each is to win.

    The logit of a model on a prompt is h . (v / |v| * W e), with a vector v of the model, the
    embedding e, a projection W and a head h, all learned. Trained on pairs of models that were
    tried on one prompt: the better score wins; equal ones are left out.

    Source: Ong et al. 2024 (RouteLLM), arXiv:2406.18665; its repository gives the defaults. Unlike
    there, a batch is of prompts with all their pairs (the same with two models), embeddings are
    first scaled to a mean square length of 1 (there they have that length), nothing is held back to
    watch the training, and the order of the table's columns is of no effect. There is no constant
    term: which model is better on the whole is learned from what embeddings have in common.
    """

    num_factors: int = 128
    learning_rate: float = 3e-4
    decay: float = 1e-5
    """Of all weights, as a term of their gradient."""
    batch_size: int = 64
    num_epochs: int = 100
    noise: float = 0.1
    """Standard deviation of what is added to each number of an embedding while training."""
    seed: int = 0

    def __post_init__(self) -> None:
        whole("num_factors", self.num_factors, 1, 100_000)
        number("learning_rate", self.learning_rate, 1e-9)
        number("decay", self.decay, 0)
        whole("batch_size", self.batch_size)
        whole("num_epochs", self.num_epochs)
        number("noise", self.noise, 0)
        whole("seed", self.seed, 0)

    def fit(self, outcomes: Outcomes, embeddings: Floats) -> TrainedMatrixFactorisation:
        """Train the factors.

        Raises:
            DataError: Fewer than two models, a model never tried, or no prompt on which one model
                did better than another.
        """
        import numpy as np

        rows = check_table(outcomes, embeddings, least_models=2)
        order = sorted(range(len(outcomes.models)), key=lambda i: outcomes.models[i])
        scores = outcomes.scores[:, order]
        wins = scores[:, :, None] > scores[:, None, :]
        decided = wins.any(axis=(1, 2))
        if not decided.any():
            raise DataError("on no prompt did one model do better than another; nobody wins")
        scale = float(np.sqrt(np.mean((rows**2).sum(axis=1)))) or 1.0
        scaled = (rows[decided] / scale).astype(np.float32)
        vectors, projection = self._train(scaled, wins[decided])
        return TrainedMatrixFactorisation(
            models=outcomes.models,
            vectors=vectors[np.argsort(order)].astype(np.float64),
            projection=projection.astype(np.float64) / scale,
        )

    def _train(self, rows: Any, wins: Any) -> tuple[Any, Any]:
        """Return the models' vectors, the head in them, and the projection."""
        import numpy as np

        rng = np.random.default_rng(self.seed)
        size = rows.shape[1]
        bounds = (size**-0.5, self.num_factors**-0.5)
        weights = [
            rng.standard_normal((wins.shape[1], self.num_factors), dtype=np.float32),
            rng.uniform(-bounds[0], bounds[0], (self.num_factors, size)).astype(np.float32),
            rng.uniform(-bounds[1], bounds[1], self.num_factors).astype(np.float32),
        ]
        adam = Adam(weights, self.learning_rate, self.decay)
        for batch in self._batches(rng, len(rows)):
            noise = rng.standard_normal((len(batch), size), dtype=np.float32)
            adam.step(
                gradients(weights, rows[batch] + self.noise * noise, wins[batch].astype(np.float32))
            )
        models, projection, head = weights
        return head * models / np.linalg.norm(models, axis=1, keepdims=True), projection

    def _batches(self, rng: np.random.Generator, rows: int) -> Iterator[Any]:
        for _ in range(self.num_epochs):
            order = rng.permutation(rows)
            for start in range(0, rows, self.batch_size):
                yield order[start : start + self.batch_size]


def gradients(weights: list[Any], rows: Any, wins: Any) -> list[Any]:
    """Differentiate the mean cross-entropy of all pairs.

    Args:
        weights: Vectors of the models [M, F], projection [F, D] and head [F].
        rows: Embeddings [B, D].
        wins: [B, M, M], 1 where the first model did better than the second.
    """
    import numpy as np

    models, projection, head = weights
    lengths = np.linalg.norm(models, axis=1, keepdims=True)
    units = models / lengths
    projected = rows @ projection.T
    logits = (projected * head) @ units.T
    margins = logits[:, :, None] - logits[:, None, :]
    missed = wins / (1 + np.exp(np.minimum(margins, 80)))
    by_logit = (missed.sum(axis=1) - missed.sum(axis=2)) / wins.sum()
    by_unit = by_logit.T @ (projected * head)
    by_model = (by_unit - units * (by_unit * units).sum(axis=1, keepdims=True)) / lengths
    pulled = by_logit @ units
    return [by_model, (pulled * head).T @ rows, (pulled * projected).sum(axis=0)]


class Adam:
    """Kingma and Ba 2015, arXiv:1412.6980, with the decay of weights as part of the gradient."""

    def __init__(self, weights: list[Any], learning_rate: float, decay: float) -> None:
        import numpy as np

        self.weights = weights
        """Changed in place."""
        self.learning_rate = learning_rate
        self.decay = decay
        self.steps = 0
        self.means = [np.zeros_like(each) for each in weights]
        self.squares = [np.zeros_like(each) for each in weights]

    def step(self, slopes: list[Any]) -> None:
        import numpy as np

        self.steps += 1
        first, second = FORGETTING
        rate = self.learning_rate / (1 - first**self.steps)
        correction = (1 - second**self.steps) ** 0.5
        for i, weight in enumerate(self.weights):
            slope = slopes[i] + self.decay * weight
            self.means[i] += (1 - first) * (slope - self.means[i])
            self.squares[i] += (1 - second) * (slope * slope - self.squares[i])
            weight[...] -= rate * self.means[i] / (np.sqrt(self.squares[i]) / correction + TINY)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedMatrixFactorisation:
    """A fitted `MatrixFactorisationRouter`."""

    models: tuple[str, ...]
    vectors: Floats
    """[M, F], of length 1 before the head was multiplied in."""
    projection: Floats
    """[F, D]"""

    def __post_init__(self) -> None:
        check_models(self.models)
        check_array("vectors", self.vectors, len(self.models), None)
        check_array("projection", self.projection, self.vectors.shape[1], None)

    @property
    def dimensions(self) -> int:
        return int(self.projection.shape[1])

    def estimate(self, embeddings: Floats) -> Floats:
        """Return how often each model is expected to beat another [Q, M]; of two, they sum to 1.

        Raises:
            DataError: Embeddings of another size.
        """
        rows = check_queries(embeddings, self.dimensions)
        return win_shares(rows @ self.projection.T @ self.vectors.T)


def win_shares(logits: Floats) -> Floats:
    """Return each model's mean probability to beat another [Q, M] from logits [Q, M]."""
    import numpy as np

    margins = logits[:, :, None] - logits[:, None, :]
    with np.errstate(over="ignore"):
        wins = 1 / (1 + np.exp(-margins))
    shares: Floats = (wins.sum(axis=2) - 0.5) / (logits.shape[1] - 1)
    return shares

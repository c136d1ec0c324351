"""A trained scorer of an instruction and a response, by their embeddings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from motet.errors import DataError
from motet.packages import imported
from motet.routing.outcomes import check_embeddings
from motet.routing.saving import read_kind, write_kind
from motet.routing.training import check_array, check_queries, to_directions
from motet.search.settings import number, several, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class PairScorer:
    """Learn the score of a pair from [u, v, |u - v|, u * v] of its embeddings, on squared error.

    Source: Tan et al. 2023, arXiv:2311.06720 (Cappy), which trains a whole RoBERTa of 360M weights
    on the joined texts. Departures: the encoder stays as it is and reads each text by itself, and a
    small network or a ridge regression is trained on top; the features are those of Conneau et al.
    2017, arXiv:1705.02364; scores are cut to 0 and 1; no pair is repeated.
    """

    hidden: tuple[int, ...] = (128,)
    """Units of each hidden layer; without any it is a ridge regression."""
    penalty: float = 1e-2
    """Of the squared weights."""
    learning_rate: float = 1e-3
    max_epochs: int = 100
    """Training ends before where the loss no longer falls."""
    seed: int = 0

    def __post_init__(self) -> None:
        several("hidden", self.hidden)
        for units in self.hidden:
            whole("hidden", units, 1, 100_000)
        number("penalty", self.penalty, 0)
        number("learning_rate", self.learning_rate, 1e-9)
        whole("max_epochs", self.max_epochs)
        whole("seed", self.seed, 0, 2**32 - 1)

    def fit(self, instructions: Floats, responses: Floats, scores: Any) -> TrainedPairScorer:
        """Train on embeddings of instructions [N, D] and responses [N, D], and scores [N].

        Raises:
            DataError: Sizes differ, a score is outside 0 to 1, or all are equal.
            ConfigError: scikit-learn is not installed.
        """
        import numpy as np

        try:
            known = np.asarray(scores, dtype=np.float64)
        except (TypeError, ValueError) as exc:
            raise DataError(f"scores are no numbers: {exc}") from exc
        if known.ndim != 1 or not len(known):
            raise DataError(f"scores have the shape {known.shape}; a row of numbers is needed")
        if not ((known >= 0) & (known <= 1)).all():
            raise DataError("scores hold a value that is not from 0 to 1")
        if known.min() == known.max():
            raise DataError(f"all {len(known)} scores are {known[0]:g}; there is nothing to learn")
        first = check_embeddings(instructions, len(known))
        second = check_embeddings(responses, len(known), first.shape[1])
        values = features(first, second)
        if not self.hidden:
            ridge = imported("sklearn.linear_model").Ridge(alpha=self.penalty).fit(values, known)
            weights, biases = [ridge.coef_[:, None]], [np.array([ridge.intercept_])]
        else:
            network = imported("sklearn.neural_network").MLPRegressor(
                hidden_layer_sizes=self.hidden,
                alpha=self.penalty,
                learning_rate_init=self.learning_rate,
                max_iter=self.max_epochs,
                random_state=self.seed,
            )
            with warnings.catch_warnings():
                # `max_epochs` is meant to end the training.
                warnings.simplefilter("ignore", imported("sklearn.exceptions").ConvergenceWarning)
                network.fit(values, known)
            weights, biases = network.coefs_, network.intercepts_
        return TrainedPairScorer(
            weights=tuple(np.asarray(each, dtype=np.float64) for each in weights),
            biases=tuple(np.asarray(each, dtype=np.float64) for each in biases),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedPairScorer:
    """A fitted `PairScorer`: the layers of its network."""

    weights: tuple[Floats, ...]
    """Of each layer, [units in, units out]; the first takes 4 D."""
    biases: tuple[Floats, ...]
    """Of each layer, [units out]."""

    def __post_init__(self) -> None:
        several("weights", self.weights)
        several("biases", self.biases)
        if not self.weights or len(self.weights) != len(self.biases):
            raise DataError(f"{len(self.weights)} weights and {len(self.biases)} biases of layers")
        units: int | None = None
        for weights, biases in zip(self.weights, self.biases, strict=True):
            check_array("weights", weights, units, None)
            units = int(weights.shape[1])
            check_array("biases", biases, units)
        if units != 1:
            raise DataError(f"the last layer has {units} units; a score is one number")
        if not self.weights[0].shape[0] or self.weights[0].shape[0] % 4:
            raise DataError(f"the first layer takes {self.weights[0].shape[0]} numbers, not 4 D")

    @property
    def dimensions(self) -> int:
        """Length D of the embeddings that it was trained on."""
        return int(self.weights[0].shape[0]) // 4

    def score(self, instructions: Floats, responses: Floats) -> Floats:
        """Return scores [Q], 0 to 1, of pairs by their embeddings [Q, D] and [Q, D].

        Each is by itself: what else is scored beside it changes nothing.

        Raises:
            DataError: Embeddings of another size, or one of all zeros.
        """
        import numpy as np

        first = check_queries(instructions, self.dimensions)
        values = features(first, check_embeddings(responses, len(first), self.dimensions))
        last = len(self.weights) - 1
        for layer, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = values @ weights + biases
            if layer < last:
                values = np.maximum(values, 0.0)
        return np.clip(values[:, 0], 0.0, 1.0)


def features(instructions: Floats, responses: Floats) -> Floats:
    """Return [u, v, |u - v|, u * v], [N, 4 D], of embeddings scaled to length 1.

    The products are scaled by the root of D, so that they are as large as the others.

    Raises:
        DataError: An embedding is all zeros.
    """
    import numpy as np

    one, other = to_directions(instructions), to_directions(responses)
    products = one * other * one.shape[1] ** 0.5
    return np.concatenate([one, other, np.abs(one - other), products], axis=1)


def save_scorer(scorer: TrainedPairScorer, path: str | Path, *, embedder: str) -> None:
    """Write a trained scorer as a router is written; `load_scorer` asks for the same embedder.

    Raises:
        DataError: It is no such scorer, or the file cannot be written.
    """
    write_kind(scorer, path, embedder=embedder, kinds=_KINDS)


def load_scorer(path: str | Path, *, embedder: str) -> TrainedPairScorer:
    """Read a trained scorer. Nothing that the file holds is run or imported.

    Raises:
        DataError: No such file, a foreign or damaged one, or another embedder; names the file.
    """
    what = "scorer that `save_scorer` wrote"
    return cast(TrainedPairScorer, read_kind(path, embedder=embedder, kinds=_KINDS, what=what))


_KINDS: dict[str, type[Any]] = {"pair_scorer": TrainedPairScorer}

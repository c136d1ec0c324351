"""MLP router: one small network a model, from the embedding to its score."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.errors import ConfigError, DataError
from motet.packages import imported
from motet.routing.training import check_array, check_models, check_queries, check_table
from motet.search.settings import number, several, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats, Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpRouter:
    """Estimate each model's score by a network of its own, trained on squared error.

    Source: Hu et al. 2024 (RouterBench), arXiv:2403.12031, whose repository gives the defaults:
    one hidden layer of 100 (or two), relu, Adam, 200 iterations. Estimates are cut to 0 and 1.
    """

    hidden: tuple[int, ...] = (100,)
    """Units of each hidden layer."""
    learning_rate: float = 1e-3
    max_epochs: int = 200
    """Training ends before where the loss no longer falls."""
    seed: int = 1234

    def __post_init__(self) -> None:
        several("hidden", self.hidden)
        if not self.hidden:
            raise ConfigError("hidden is (); at least one layer is needed")
        for units in self.hidden:
            whole("hidden", units, 1, 100_000)
        number("learning_rate", self.learning_rate, 1e-9)
        whole("max_epochs", self.max_epochs)
        whole("seed", self.seed, 0, 2**32 - 1)

    def fit(self, outcomes: Outcomes, embeddings: Floats) -> TrainedMlp:
        """Train the networks.

        Raises:
            DataError: A model was never tried, or sizes differ.
            ConfigError: scikit-learn is not installed.
        """
        import numpy as np

        rows = check_table(outcomes, embeddings)
        networks = []
        for scores in outcomes.scores.T:
            known = ~np.isnan(scores)
            network = imported("sklearn.neural_network").MLPRegressor(
                hidden_layer_sizes=self.hidden,
                learning_rate_init=self.learning_rate,
                max_iter=self.max_epochs,
                random_state=self.seed,
            )
            with warnings.catch_warnings():
                # `max_epochs` is meant to end the training.
                warnings.simplefilter("ignore", imported("sklearn.exceptions").ConvergenceWarning)
                networks.append(network.fit(rows[known], scores[known]))
        layers = range(len(self.hidden) + 1)
        return TrainedMlp(
            models=outcomes.models,
            weights=tuple(np.stack([each.coefs_[layer] for each in networks]) for layer in layers),
            biases=tuple(
                np.stack([each.intercepts_[layer] for each in networks]) for layer in layers
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedMlp:
    """A fitted `MlpRouter`: the layers of all networks, side by side."""

    models: tuple[str, ...]
    weights: tuple[Floats, ...]
    """Of each layer, [M, units in, units out]."""
    biases: tuple[Floats, ...]
    """Of each layer, [M, units out]."""

    def __post_init__(self) -> None:
        check_models(self.models)
        several("weights", self.weights)
        several("biases", self.biases)
        if not self.weights or len(self.weights) != len(self.biases):
            raise DataError(f"{len(self.weights)} weights and {len(self.biases)} biases of layers")
        units: int | None = None
        for weights, biases in zip(self.weights, self.biases, strict=True):
            check_array("weights", weights, len(self.models), units, None)
            units = int(weights.shape[2])
            check_array("biases", biases, len(self.models), units)
        if units != 1:
            raise DataError(f"the last layer has {units} units; a score is one number")

    @property
    def dimensions(self) -> int:
        return int(self.weights[0].shape[1])

    def estimate(self, embeddings: Floats) -> Floats:
        """Return estimated scores [Q, M].

        Raises:
            DataError: Embeddings of another size.
        """
        import numpy as np

        values = check_queries(embeddings, self.dimensions)[None]
        last = len(self.weights) - 1
        for layer, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = values @ weights + biases[:, None, :]
            if layer < last:
                values = np.maximum(values, 0.0)
        return np.clip(values[:, :, 0].T, 0.0, 1.0)

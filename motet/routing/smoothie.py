"""Smoothie: which model is best, from how far their answers lie from each other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from motet.errors import DataError
from motet.routing.outcomes import check_embeddings
from motet.routing.training import check_array, check_models
from motet.search.settings import number, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Floats

_logger = logging.getLogger(__name__)

LEAST_MODELS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Agreement:
    """What the distances say of M models, for each of Q prompts."""

    errors: Floats
    """[Q, M], estimated mean squared distance of an answer from the ideal one; 0 or less where the
    model's errors are not its own, or by chance with few prompts."""
    precisions: Floats
    """[Q, M], theta: half the size of an embedding over the error; of a clamped one, over the least
    error that is allowed."""
    weights: Floats
    """[Q, M], `precisions` divided by their sum."""
    clamped: NDArray[np.bool_]
    """[Q, M], where the error was under the least. Such a model looks perfect; do not trust it."""
    duplicates: tuple[tuple[str, str], ...]
    """Pairs of models whose answers are all but the same over all prompts. Each makes the other
    look better than it is; leave one out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedSmoothie:
    """Distances between the answers of M models to n prompts."""

    models: tuple[str, ...]
    distances: Floats
    """[n, M, M], squared, between the embeddings of the answers."""
    inputs: Floats
    """[n, D], embeddings of the prompts; [n, 0] where none were given, so that only what holds for
    all prompts can be said."""
    answer_dimensions: int
    """Size of an answer's embedding."""
    neighbours: int
    """So many prompts count for each one; all where it is n."""
    least_error: float

    def __post_init__(self) -> None:
        check_models(self.models)
        check_array("distances", self.distances, None, len(self.models), len(self.models))
        check_array("inputs", self.inputs, len(self.distances), None)
        whole("answer_dimensions", self.answer_dimensions)
        whole("neighbours", self.neighbours, 1, len(self.distances))
        number("least_error", self.least_error, 1e-12, 1.0)

    @property
    def dimensions(self) -> int:
        """Size D of a prompt's embedding; 0 where none were given, and then any size is taken."""
        return int(self.inputs.shape[1])

    def estimate(self, embeddings: Floats) -> Floats:
        """Return the weights [Q, M] of Q prompts by their embeddings [Q, D].

        Raises:
            DataError: The embeddings are of another size than those it was trained on.
        """
        return self.agreement(embeddings).weights

    def agreement(self, embeddings: Floats | None = None) -> Agreement:
        """Weigh the models for Q prompts, or once over all prompts where none are given.

        Raises:
            DataError: The embeddings are of another size than those it was trained on.
        """
        import numpy as np

        overall = self.distances.mean(axis=0)
        if embeddings is None:
            return self._weigh(overall[None], overall)
        queries = _finite("embeddings", embeddings, 2)
        check_embeddings(queries, len(queries), self.dimensions or None)
        if self.neighbours == len(self.distances):
            return self._weigh(np.repeat(overall[None], len(queries), axis=0), overall)
        local = np.empty((len(queries), *overall.shape))
        for place, query in enumerate(queries):
            away = ((self.inputs - query) ** 2).sum(axis=1)
            nearest = np.sort(np.argsort(away, kind="stable")[: self.neighbours])
            local[place] = self.distances[nearest].mean(axis=0)
        return self._weigh(local, overall)

    def _weigh(self, distances: Floats, overall: Floats) -> Agreement:
        import numpy as np

        errors = triplet_errors(distances)
        num_models = len(self.models)
        pairs = num_models * (num_models - 1)
        scale = distances.sum(axis=(1, 2)) / pairs
        least = np.where(scale > 0, self.least_error * scale, 1.0)[:, None]
        precisions = self.answer_dimensions / (2 * np.maximum(errors, least))
        limit = self.least_error * float(overall.sum()) / pairs
        close = zip(*np.nonzero(np.triu(overall <= limit, k=1)), strict=True)
        return Agreement(
            errors=errors,
            precisions=precisions,
            weights=precisions / precisions.sum(axis=1, keepdims=True),
            clamped=errors < least,
            duplicates=tuple((self.models[i], self.models[j]) for i, j in close),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothie:
    """Weigh models without labels, by the answers that they gave to the same prompts.

    Each answer's embedding is taken as the ideal one plus the model's own noise. Trained on answers
    to other prompts it routes before anything is generated; trained on the answers at hand it
    chooses among them. Several answers of a model to a prompt: give the mean of their embeddings.

    Source: Guha et al. 2024, arXiv:2412.04692, and the code of its authors. Estimates are clamped
    and the clamping is told; the authors divide by them as they are.
    """

    neighbours: int | None = None
    """Only the prompts nearest (Euclidean) to the one at hand count, itself among them where it is
    there; all where there are fewer. None counts all, for every prompt."""
    least_error: float = 1e-3
    """Least error, as a share of the mean distance between models, above 0. Where all answers are
    the same, every model is clamped to an error of 1."""

    def __post_init__(self) -> None:
        if self.neighbours is not None:
            whole("neighbours", self.neighbours, 1)
        number("least_error", self.least_error, 1e-12, 1.0)

    def fit(
        self, models: Sequence[str], outputs: Floats, inputs: Floats | None = None
    ) -> TrainedSmoothie:
        """Measure the distances; clamped estimates over all prompts are logged as a warning.

        Args:
            outputs: [M, n, d], embeddings of the answers of M models to n prompts.
            inputs: [n, D], embeddings of the prompts; needed where `neighbours` is set.

        Raises:
            DataError: Fewer than 3 models, names that repeat, shapes that do not agree, no prompt,
                a value that is not finite, or `inputs` are missing.
        """
        import numpy as np

        answers = _finite("outputs", outputs, 3)
        if len(set(models)) != len(models) or len(models) != len(answers):
            raise DataError(f"outputs are of {len(answers)} models; their names are {list(models)}")
        if len(models) < LEAST_MODELS:
            raise DataError(f"there are {len(models)} models; it takes {LEAST_MODELS} to compare")
        if not answers.shape[1] or not answers.shape[2]:
            raise DataError(f"outputs have shape {answers.shape}; there is nothing to compare")
        if inputs is None and self.neighbours is not None:
            raise DataError(f"neighbours is {self.neighbours}, but there are no inputs")
        num_prompts = answers.shape[1]
        prompts = np.empty((num_prompts, 0))
        if inputs is not None:
            prompts = check_embeddings(inputs, num_prompts)
        trained = TrainedSmoothie(
            models=tuple(models),
            distances=_distances(answers),
            inputs=prompts,
            answer_dimensions=answers.shape[2],
            neighbours=min(self.neighbours or num_prompts, num_prompts),
            least_error=self.least_error,
        )
        _warn(trained)
        return trained


def triplet_errors(distances: Floats) -> Floats:
    """Return the error [..., M] of each model from mean squared distances [..., M, M].

    It is the mean of (d_ij + d_ik - d_jk) / 2 over all pairs (j, k) of the others.

    Raises:
        DataError: There are fewer than 3 models.
    """
    num_models = distances.shape[-1]
    if num_models < LEAST_MODELS:
        raise DataError(f"there are {num_models} models; it takes {LEAST_MODELS} to compare")
    of_model = distances.sum(axis=-1)
    of_all = of_model.sum(axis=-1, keepdims=True) / 2
    errors: Floats = ((num_models - 1) * of_model - of_all) / ((num_models - 1) * (num_models - 2))
    return errors


def blend(outputs: Floats, weights: Floats) -> Floats:
    """Return the weighted mean [n, d] of embeddings [M, n, d]: an estimate of the ideal ones.

    Args:
        weights: [n, M] or [1, M].
    """
    import numpy as np

    shares = weights / weights.sum(axis=1, keepdims=True)
    return np.asarray((outputs * shares.T[:, :, None]).sum(axis=0), dtype=np.float64)


def _distances(answers: Floats) -> Floats:
    import numpy as np

    num_models, num_prompts, _ = answers.shape
    found = np.zeros((num_prompts, num_models, num_models))
    for one in range(num_models):
        for two in range(one + 1, num_models):
            apart = ((answers[one] - answers[two]) ** 2).sum(axis=1)
            found[:, one, two] = found[:, two, one] = apart
    return found


def _finite(name: str, values: Any, num_axes: int) -> Floats:
    import numpy as np

    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise DataError(f"{name} are no array of numbers: {exc}") from exc
    if found.ndim != num_axes:
        raise DataError(f"{name} have shape {found.shape}; they must have {num_axes} axes")
    if not np.isfinite(found).all():
        raise DataError(f"{name} have a value that is not finite")
    return found


def _warn(trained: TrainedSmoothie) -> None:
    overall = trained.agreement()
    suspects = [m for m, hit in zip(trained.models, overall.clamped[0], strict=True) if hit]
    if suspects or overall.duplicates:
        _logger.warning(
            "models that look perfect: %s; models that answer alike: %s",
            ", ".join(suspects) or "none",
            ", ".join(f"{one} and {two}" for one, two in overall.duplicates) or "none",
        )

"""Cross-fitting: confidences of each prompt from a scorer that was not trained on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from motet.errors import DataError
from motet.search.settings import whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats, Outcomes


def cross_fitted(
    outcomes: Outcomes,
    score: Callable[[list[int], list[int]], Any],
    *,
    num_folds: int = 5,
    seed: int = 0,
) -> Floats:
    """Return confidences [P, M], each given by a scorer trained without its prompt.

    A scorer knows the answers that it was trained on. Thresholds fitted to what it says of them
    stop too early on others, which is the most common way to a cascade that disappoints.

    Args:
        score: Gets the rows to train on and the rows to score, trains, and returns the
            confidences [rows to score, M]. The same prompt is never on both sides.
        num_folds: At most the number of distinct prompts.

    Raises:
        ConfigError: `num_folds` is below 2.
        DataError: There are fewer distinct prompts than folds, or `score` returns another shape.
    """
    import numpy as np

    whole("num_folds", num_folds, 2)
    whole("seed", seed, 0)
    distinct = sorted(set(outcomes.prompts))
    if len(distinct) < num_folds:
        raise DataError(f"num_folds is {num_folds}; there are {len(distinct)} distinct prompts")
    order = np.random.default_rng(seed).permutation(len(distinct))
    fold_of = {distinct[i]: place % num_folds for place, i in enumerate(order)}
    folds = [fold_of[prompt] for prompt in outcomes.prompts]
    result = np.full(outcomes.scores.shape, np.nan)
    for fold in range(num_folds):
        train = [row for row, of in enumerate(folds) if of != fold]
        held = [row for row, of in enumerate(folds) if of == fold]
        given = np.asarray(score(train, held), dtype=np.float64)
        if given.shape != (len(held), len(outcomes.models)):
            raise DataError(
                f"score returned the shape {given.shape} for {len(held)} rows and "
                f"{len(outcomes.models)} models"
            )
        result[held] = given
    return result

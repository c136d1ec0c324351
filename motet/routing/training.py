"""What every router checks of its table, its queries and its arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.errors import DataError
from motet.routing.outcomes import check_embeddings

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats, Outcomes


def check_table(outcomes: Outcomes, embeddings: Any, *, least_models: int = 1) -> Floats:
    """Return the embeddings [P, D] of a table that can teach a router.

    Raises:
        DataError: Too few models, a model never tried, or embeddings that do not fit.
    """
    import numpy as np

    if len(outcomes.models) < least_models:
        raise DataError(
            f"the table has the models {list(outcomes.models)}; at least {least_models} are needed"
        )
    for model, tried in zip(outcomes.models, (~np.isnan(outcomes.scores)).any(axis=0), strict=True):
        if not tried:
            raise DataError(f"model {model!r} was tried on no prompt; nothing is known of it")
    return check_embeddings(embeddings, len(outcomes.prompts))


def check_queries(embeddings: Any, dimensions: int) -> Floats:
    """Return the embeddings [Q, D] of prompts that are to be routed.

    Raises:
        DataError: They are no table of rows of length `dimensions`.
    """
    import numpy as np

    try:
        rows = np.shape(embeddings)[0]
    except (IndexError, ValueError):
        raise DataError(
            f"the embeddings are {type(embeddings).__name__}; one row of {dimensions} is needed "
            "for each prompt"
        ) from None
    return check_embeddings(embeddings, rows, dimensions)


def to_directions(embeddings: Floats) -> Floats:
    """Scale rows to length 1.

    Raises:
        DataError: A row is all zeros, so that it points nowhere and cosines do not exist.
    """
    import numpy as np

    largest = np.abs(embeddings).max(axis=1, keepdims=True)
    if not np.all(largest > 0):
        row = int(np.argmin(largest[:, 0]))
        raise DataError(f"the embedding of row {row} is all zeros; it has no cosine")
    scaled = embeddings / largest
    directions: Floats = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return directions


def check_array(name: str, array: Any, *shape: int | None, is_finite: bool = True) -> None:
    """Refuse an array of a trained router that has another shape, or no numbers.

    Args:
        shape: None stands where any length does.
        is_finite: Whether no number may be NaN or infinite.

    Raises:
        DataError: Names the array and its shape.
    """
    import numpy as np

    fits = isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.ndim == len(shape)
    if not fits or any(
        want is not None and want != have for want, have in zip(shape, array.shape, strict=True)
    ):
        have = array.shape if isinstance(array, np.ndarray) else type(array).__name__
        raise DataError(f"{name} is {have}; floats of the shape {shape} are needed")
    if is_finite and not np.isfinite(array).all():
        raise DataError(f"{name} holds numbers that are not finite")


def check_models(models: Any) -> None:
    """Refuse what is no tuple of different names.

    Raises:
        DataError: Names what stands there.
    """
    is_names = isinstance(models, tuple) and all(isinstance(each, str) for each in models)
    if not is_names or not models or len(set(models)) < len(models):
        raise DataError(f"models is {models!r}; different names are needed")

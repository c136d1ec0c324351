"""Tables of outcomes: what each model scores on average, and the best of all on each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Outcomes

Floats: TypeAlias = "NDArray[np.float64]"


def mean_scores(tables: Sequence[Outcomes]) -> dict[str, float]:
    """Return the mean score of each model over the prompts it was tried on, of all tables."""
    import numpy as np

    columns: dict[str, list[Floats]] = {}
    for table in tables:
        for place, model in enumerate(table.models):
            scores = table.scores[:, place]
            columns.setdefault(model, []).append(scores[~np.isnan(scores)])
    joined = {model: np.concatenate(parts) for model, parts in columns.items()}
    return {model: float(scores.mean()) for model, scores in joined.items() if scores.size}


def mean_best(tables: Sequence[Outcomes]) -> float:
    """Return the mean of the best score of each prompt; what was not tried is no score."""
    import numpy as np

    best = [np.nanmax(table.scores, axis=1, initial=0.0) for table in tables]
    return float(np.concatenate(best).mean())


def num_prompts(tables: Sequence[Outcomes]) -> int:
    return sum(len(table.prompts) for table in tables)

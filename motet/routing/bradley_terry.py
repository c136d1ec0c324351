"""Bradley-Terry ratings from wins, and tiers of near ratings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from motet.errors import DataError

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats

SCALE: Final = 400.0
BASE: Final = 10.0
START: Final = 1000.0
DRAWN: Final = 0.5

MAX_STEPS: Final = 200
LONGEST_STEP: Final = 2.0
CLOSE: Final = 1e-10


def win_probability(difference: Any) -> Any:
    """Return how likely a model is to beat one whose rating is lower by `difference`.

    A difference of 400 means odds of 10 to 1.
    """
    import numpy as np

    with np.errstate(over="ignore"):
        return 1 / (1 + BASE ** (-np.asarray(difference, dtype=np.float64) / SCALE))


def ratings(wins: Floats) -> Floats:
    """Fit ratings [N, M] of greatest likelihood to N tables of wins [N, M, M] at once.

    Args:
        wins: At [n, i, j] the (weighted) battles that i won of j; a draw is half a win of each.

    Returns:
        Ratings with mean 1000.

    Raises:
        DataError: There is no finite fit: some models won no battle of the others.

    Source: Bradley and Terry 1952, by Newton's method with short first steps. RouteLLM fits the
    same likelihood by a logistic regression without penalty.
    """
    import numpy as np

    wins = np.asarray(wins, dtype=np.float64)
    count = wins.shape[1]
    scale = wins.sum(axis=(1, 2), keepdims=True)
    shares = wins / np.where(scale > 0, scale, 1.0)
    if not _is_bounded(shares):
        raise DataError("some models won nothing of the others; ratings would be infinite")
    fought = shares + shares.transpose(0, 2, 1)
    each = np.arange(count)
    strengths = np.zeros(wins.shape[:2])
    for _ in range(MAX_STEPS):
        expected = 1 / (1 + np.exp(strengths[:, None, :] - strengths[:, :, None]))
        slope = (shares - fought * expected).sum(axis=2)
        curvature = -fought * expected * (1 - expected)
        curvature[:, each, each] = 0.0
        curvature[:, each, each] = -curvature.sum(axis=2)
        # Ratings count by their differences only: the added constant holds their mean at 0.
        step = np.linalg.solve(curvature + 1 / count, slope[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        strengths += step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, CLOSE))
        if longest.max() < CLOSE:
            break
    strengths -= strengths.mean(axis=1, keepdims=True)
    fitted: Floats = START + strengths * (SCALE / math.log(BASE))
    return fitted


def _is_bounded(shares: Floats) -> bool:
    """Say whether in every table each model is reached from each by a chain of wins."""
    import numpy as np

    count = shares.shape[1]
    reached = (shares > 0) | np.eye(count, dtype=bool)
    for _ in range(max(1, (count - 1).bit_length())):
        reached = (reached.astype(np.float32) @ reached.astype(np.float32)) > 0
    return bool(reached.all())


def tiers(values: Floats, num_tiers: int) -> Any:
    """Part ratings into at most `num_tiers` runs whose variances have the smallest sum.

    Returns:
        int [M], the tier of each rating, 0 for the highest.

    Source: RouteLLM, `compute_tiers`, by dynamic programming over the sorted ratings. Unlike there
    no tier is empty, and where there are as many tiers as models each has its own.
    """
    import numpy as np

    count = len(values)
    num_tiers = min(num_tiers, count)
    order = np.argsort(-np.asarray(values), kind="stable")
    spread = np.asarray(values, dtype=np.float64)[order]
    variance = np.zeros((count + 1, count + 1))
    for start in range(count):
        for end in range(start + 1, count + 1):
            variance[start, end] = np.var(spread[start:end])
    least: Any = np.full((num_tiers + 1, count + 1), np.inf)
    cut: Any = np.zeros((num_tiers + 1, count + 1), dtype=int)
    least[0, 0] = 0.0
    for tier in range(1, num_tiers + 1):
        for end in range(tier, count + 1):
            sums = least[tier - 1, :end] + variance[:end, end]
            cut[tier, end] = int(np.argmin(sums))
            least[tier, end] = sums[cut[tier, end]]
    tier_of: Any = np.empty(count, dtype=int)
    end = count
    for tier in range(num_tiers, 0, -1):
        start = int(cut[tier, end])
        tier_of[order[start:end]] = tier - 1
        end = start
    return tier_of

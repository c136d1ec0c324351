"""Confidences: how sure an answer is, by its token log-probabilities or by other samples.

Each function that has nothing to go by returns None, so that no number stands for not knowing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from motet.errors import DataError
from motet.search.settings import one_of

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats


def mean_probability(logprobs: Sequence[float]) -> float | None:
    """Return the geometric mean of the probabilities of the tokens chosen, 0 to 1.

    Args:
        logprobs: [T], in nats, of the tokens of the answer.

    Raises:
        DataError: A value is above 0 or NaN.
    """
    checked = _logprobs(logprobs)
    return math.exp(sum(checked) / len(checked)) if checked else None


def min_probability(logprobs: Sequence[float]) -> float | None:
    """Return the probability of the least likely token chosen, 0 to 1.

    Args:
        logprobs: [T], in nats, of the tokens of the answer.

    Raises:
        DataError: A value is above 0 or NaN.
    """
    checked = _logprobs(logprobs)
    return math.exp(min(checked)) if checked else None


def first_token_margin(alternatives: Sequence[float]) -> float | None:
    """Return the probability of the likeliest first token less that of the second, 0 to 1.

    With the log-probabilities of label tokens it is the gap between the two best labels. Labels
    that share their first token cannot be told apart this way: the caller sees to that.

    Args:
        alternatives: In nats, of at least two tokens in one position, in any order.

    Returns:
        None for fewer than two: what the second was is not known.

    Raises:
        DataError: A value is above 0 or NaN.
    """
    checked = sorted(_logprobs(alternatives), reverse=True)
    return math.exp(checked[0]) - math.exp(checked[1]) if len(checked) > 1 else None


def token_certainty(alternatives: Sequence[float]) -> float | None:
    """Return 1 less the entropy over some tokens in one position, as a share of its most; 0 to 1.

    The probabilities are made to sum to 1 first, for an engine shows the likeliest k only. The
    value depends on k: compare those of one k and one vocabulary.

    Args:
        alternatives: In nats, of at least two tokens in one position.

    Returns:
        None for fewer than two, and where all have probability 0.

    Raises:
        DataError: A value is above 0 or NaN.
    """
    checked = _logprobs(alternatives)
    if len(checked) < 2 or max(checked) == -math.inf:
        return None
    return _certainty([math.exp(value - max(checked)) for value in checked], len(checked))


def majority_share(answers: Sequence[Hashable | None]) -> float | None:
    """Return the share of samples that give the commonest answer, 0 to 1.

    Args:
        answers: [N], of one prompt; None where a sample states no answer, which agrees with none.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    if not answers:
        return None
    return max(counts.values(), default=0) / len(answers)


def agreement_certainty(answers: Sequence[Hashable | None]) -> float | None:
    """Return 1 less the entropy of N samples' answers, as a share of ln N; 0 to 1.

    Args:
        answers: [N], of one prompt; each None, a sample that states no answer, is one of its own.

    Returns:
        None for fewer than two samples, and where none states an answer.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    if len(answers) < 2 or not counts:
        return None
    alone = [1] * (len(answers) - counts.total())
    return _certainty([*counts.values(), *alone], len(answers))


def _certainty(weights: Sequence[float], num_kinds: int) -> float:
    total = sum(weights)
    entropy = -sum(w / total * math.log(w / total) for w in weights if w > 0)
    return min(max(1 - entropy / math.log(num_kinds), 0.0), 1.0)


def _logprobs(values: Sequence[float]) -> list[float]:
    for value in values:
        if not value <= 0:
            raise DataError(f"a log-probability is {value!r}; it must be at most 0")
    return list(values)


def normalised(
    confidences: Floats, how: Literal["rank", "min_max"] = "rank", ties: str = "average"
) -> Floats:
    """Bring confidences of models that cannot be compared to one scale, each column by itself.

    Args:
        confidences: [N] or [N, M], finite, of any scale; NaN where unknown, which stays NaN.
        how: "rank" gives the rank from below as a share of the known values, above 0 to 1;
            "min_max" puts the least at 0 and the most at 1, and all at 1 where they are equal.
        ties: Equal values get the "average" of their ranks, or the "max".

    Raises:
        ConfigError: `how` or `ties` is unknown.
        DataError: An infinite value, or another shape.
    """
    import numpy as np

    one_of("how", how, ("rank", "min_max"))
    one_of("ties", ties, ("average", "max"))
    floats: Any = np.asarray(confidences, dtype=np.float64)
    if floats.ndim not in {1, 2} or np.isinf(floats).any():
        raise DataError(
            f"confidences of the shape {floats.shape} must be one or two dimensions, without "
            "infinite values"
        )
    columns = floats[:, None] if floats.ndim == 1 else floats
    result = np.full(columns.shape, np.nan)
    for column in range(columns.shape[1]):
        known = ~np.isnan(columns[:, column])
        values = columns[known, column]
        if len(values):
            scaled = _ranks(values, ties) if how == "rank" else _min_max(values)
            result[known, column] = scaled
    return result.reshape(floats.shape)


def _ranks(values: Floats, ties: str) -> Floats:
    import numpy as np

    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    highest = counts.cumsum()
    ranks = highest if ties == "max" else highest - (counts - 1) / 2
    result: Floats = ranks[inverse] / len(values)
    return result


def _min_max(values: Floats) -> Floats:
    import numpy as np

    low, high = values.min(), values.max()
    result: Floats = np.ones_like(values) if low == high else (values - low) / (high - low)
    return result

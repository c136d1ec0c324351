"""Resampling of weighted particles, and the arithmetic of log weights."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final, Literal, TypeAlias

Scheme = Literal["multinomial", "stratified", "systematic", "residual"]
_LEAST: Final = 1e-300
Resample: TypeAlias = Callable[[Sequence[float], int, random.Random], list[int]]


def log_sum_exp(values: Sequence[float]) -> float:
    """Return the log of the sum of exponentials; `-inf` where there are none or all are `-inf`."""
    top = max(values, default=-math.inf)
    if math.isinf(top):
        return top
    return top + math.log(sum(math.exp(value - top) for value in values))


def shares(log_weights: Sequence[float]) -> list[float]:
    """Return weights that sum to 1; all 0 where every log weight is `-inf`."""
    top = max(log_weights, default=-math.inf)
    if top == -math.inf:
        return [0.0] * len(log_weights)
    weights = [math.exp(each - top) for each in log_weights]
    total = sum(weights)
    return [each / total for each in weights]


def effective_size(log_weights: Sequence[float]) -> float:
    """Return how many equally weighted particles are worth as much; 0 where all weigh nothing.

    Source: Kish 1965; the square of the sum of the weights over the sum of their squares.
    """
    squares = sum(share * share for share in shares(log_weights))
    return 1.0 / squares if squares else 0.0


def multinomial(weights: Sequence[float], num: int, rng: random.Random) -> list[int]:
    """Draw `num` independent ancestors."""
    return _inverted(weights, sorted(rng.random() for _ in range(num)))


def stratified(weights: Sequence[float], num: int, rng: random.Random) -> list[int]:
    """Draw one ancestor from each `num`-th of the whole weight."""
    return _inverted(weights, [(i + rng.random()) / num for i in range(num)])


def systematic(weights: Sequence[float], num: int, rng: random.Random) -> list[int]:
    """Draw `num` ancestors at equal distances from one random offset."""
    offset = rng.random()
    return _inverted(weights, [(i + offset) / num for i in range(num)])


def residual(weights: Sequence[float], num: int, rng: random.Random) -> list[int]:
    """Take each as often as its expected number has whole parts; draw the rest independently."""
    total = _total(weights)
    expected = [num * each / total for each in weights]
    sure = [math.floor(each) for each in expected]
    taken = [i for i, times in enumerate(sure) for _ in range(times)]
    left = num - len(taken)
    rest = [each - times for each, times in zip(expected, sure, strict=True)]
    if left <= 0 or sum(rest) <= 0:
        return taken[:num]
    return sorted([*taken, *multinomial(rest, left, rng)])


SCHEMES: Final[dict[str, Resample]] = {
    "multinomial": multinomial,
    "stratified": stratified,
    "systematic": systematic,
    "residual": residual,
}
"""Each takes weights of any scale, a number and a generator; returns ancestors in rising order.

On average each is taken in proportion to its weight; one of weight 0 never is.
"""


def inclusion_scale(weights: Sequence[float], num: int) -> float:
    """Return the c at which `min(1, c * weight)` sums to `num`.

    It is `inf` where no more than `num` weights are above 0: all of them are kept. The weights sum
    to 1; one below 1e-300 counts as 0.

    Source: Fearnhead and Clifford 2003, section 4. The search of probcomp/hfppl counts the weight
    at the threshold among those that are drawn by chance, and so finds a c that is too small.
    """
    positive = sorted((each for each in weights if each > _LEAST), reverse=True)
    if len(positive) <= num:
        return math.inf
    rests = list(accumulate(reversed(positive)))[::-1]
    for num_sure in range(num):
        scale = (num - num_sure) / rests[num_sure]
        if scale * positive[num_sure] < 1:
            return scale
    return 1 / positive[num - 1]


def without_replacement(
    weights: Sequence[float], num: int, rng: random.Random
) -> list[tuple[int, float]]:
    """Choose at most `num` different ones; return each with its new weight, in rising order.

    The weights sum to 1. The new one, 0 for what is not chosen, is on average the old one.

    Source: optimal resampling, Fearnhead and Clifford 2003, section 4.
    """
    scale = inclusion_scale(weights, num)
    if math.isinf(scale):
        return [(i, each) for i, each in enumerate(weights) if each > _LEAST]
    is_sure = [scale * each >= 1 for each in weights]
    num_drawn = num - sum(is_sure)
    rest = [0.0 if sure else each for sure, each in zip(is_sure, weights, strict=True)]
    drawn = systematic(rest, num_drawn, rng) if num_drawn else []
    # Equal distances wider than any weight meet none twice; rounding might.
    chosen = dict.fromkeys(drawn, 1 / scale)
    chosen.update({i: weights[i] for i, sure in enumerate(is_sure) if sure})
    return sorted(chosen.items())


def _inverted(weights: Sequence[float], points: Sequence[float]) -> list[int]:
    """Return whose part of the whole weight each of the rising `points` in [0, 1) falls into."""
    total = _total(weights)
    ends = list(accumulate(weights))
    last = max(i for i, each in enumerate(weights) if each > 0)
    return [min(bisect_right(ends, point * total), last) for point in points]


def _total(weights: Sequence[float]) -> float:
    total = sum(weights)
    if not (total > 0 and math.isfinite(total)):
        raise ValueError(f"the weights sum to {total}; there is nothing to choose from")
    return total

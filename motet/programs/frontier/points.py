"""Points of the frontier: accuracy with its interval, and what it took."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from motet.programs.frontier.attempts import GREEDY
from motet.programs.frontier.figures import Figure

_Z: Final = 1.959963984540054
"""Of 95 percent, two-sided."""
_RESAMPLES: Final = 2000
_FEWEST: Final = 6
"""Of fewer pairs, that all have one sign is more likely than 5 percent by chance."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 percent confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A method at a budget, over all seeds and questions."""

    method: str
    budget: int
    accuracy: Interval
    gain: Interval | None
    """Accuracy less that of the base, greedy, on the same questions; None for the base itself."""
    tokens: float
    """Mean of an attempt."""
    scores: float
    """Mean of an attempt."""
    wall_s: float | None
    """Mean of the attempts whose time is known."""
    num_questions: int
    num_seeds: int
    num_unanswered: int
    """Attempts that state no answer."""


def points_of(figures: Sequence[Figure], *, base: str = GREEDY) -> list[Point]:
    """Return a point for each method and budget, in the order of the figures.

    Gains are over `base` at the same budget, or at its only one.
    """
    groups: dict[tuple[str, int], list[Figure]] = {}
    for figure in figures:
        groups.setdefault((figure.method, figure.budget), []).append(figure)
    bases = {budget: group for (method, budget), group in groups.items() if method == base}
    only = next(iter(bases.values())) if len(bases) == 1 else []
    return [
        _point(method, budget, group, [] if method == base else bases.get(budget, only))
        for (method, budget), group in groups.items()
    ]


def _point(method: str, budget: int, group: list[Figure], beside: list[Figure]) -> Point:
    right = _means(group)
    num_seeds = len({figure.seed for figure in group})
    base = _means(beside)
    differences = [share - base[question] for question, share in right.items() if question in base]
    gain = gain_of(differences) if differences else None
    walls = [figure.wall_s for figure in group if figure.wall_s is not None]
    return Point(
        method=method,
        budget=budget,
        accuracy=accuracy_of(list(right.values()), num_seeds),
        gain=gain,
        tokens=_mean([figure.tokens for figure in group]),
        scores=_mean([figure.scores for figure in group]),
        wall_s=_mean(walls) if walls else None,
        num_questions=len(right),
        num_seeds=num_seeds,
        num_unanswered=sum(figure.answer is None for figure in group),
    )


def accuracy_of(right: Sequence[float], num_seeds: int) -> Interval:
    """Return the accuracy over questions, each the share of its seeds that were right.

    One seed has Wilson's interval, several the bootstrap's over questions. Where all questions
    are right, or all wrong, the bootstrap has no width, and Wilson's over the questions stands in.
    """
    if num_seeds == 1 or sum(right) in (0, len(right)):
        return wilson(round(sum(right)), len(right))
    return bootstrapped(right)


def gain_of(differences: Sequence[float]) -> Interval:
    """Return the mean of paired differences, each from -1 to 1, with its bootstrap interval.

    Where all are the same the bootstrap has no width; as many questions as Wilson's interval lets
    differ might be the other way then. Of fewer than six, the interval holds 0 whatever they are.
    """
    # Thirds and fifths that are the same differ by what floats round off.
    same = differences[0]
    if any(not math.isclose(difference, same, abs_tol=1e-9) for difference in differences):
        found = bootstrapped(differences)
    else:
        share = wilson(0, len(differences)).high
        found = Interval(same, same - share * (same + 1), same + share * (1 - same))
    if len(differences) >= _FEWEST:
        return found
    return Interval(found.mean, min(found.low, 0.0), max(found.high, 0.0))


def wilson(num_right: int, num: int) -> Interval:
    """Return the share `num_right / num` with its interval.

    Source: Wilson 1927, the score interval without continuity correction.
    """
    share = num_right / num
    width = _Z * math.sqrt(share * (1 - share) / num + _Z**2 / (4 * num**2))
    scale = 1 + _Z**2 / num
    middle = share + _Z**2 / (2 * num)
    low = 0.0 if num_right == 0 else (middle - width) / scale
    high = 1.0 if num_right == num else (middle + width) / scale
    return Interval(share, low, high)


def bootstrapped(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Return the mean with its percentile bootstrap interval, expanded for few values.

    Source: Efron 1979; the 2.5th and 97.5th percentiles of 2,000 resampled means, of few values
    those further out by which Student's interval is wider: Hesterberg 2015, arXiv:1411.5279, the
    expanded percentile interval. Without it eight pairs that differ by nothing but chance would
    leave 0 out every eighth time.
    """
    chance = random.Random(seed)
    means = sorted(_mean(chance.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    cut = round(_RESAMPLES * _tail(len(values)))
    return Interval(_mean(values), means[cut], means[-cut - 1])


def _tail(num: int) -> float:
    """Return the share of resampled means of `num` values that lies below an interval's end."""
    if num < 2:
        return 0.0
    free = num - 1
    # The 97.5th percentile of Student's t, by the expansion of Fisher and Cornish 1960.
    student = (
        _Z
        + (_Z**3 + _Z) / (4 * free)
        + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * free**2)
        + (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / (384 * free**3)
    )
    return NormalDist().cdf(-math.sqrt(num / free) * student)


def _means(group: Sequence[Figure]) -> dict[str, float]:
    """Share of the seeds that were right, by question."""
    found: dict[str, list[bool]] = {}
    for figure in group:
        found.setdefault(figure.question, []).append(figure.is_correct)
    return {question: _mean(right) for question, right in found.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

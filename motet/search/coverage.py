"""How often one of k samples is right: estimated without bias, as a curve, and extrapolated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from motet.errors import ConfigError
from motet.search.algorithm import rng
from motet.search.settings import MOST_AT_ONCE, number, whole

T = TypeVar("T")


def pass_at(k: int, num_samples: int, num_correct: int) -> float:
    """Return the probability that of `k` samples, drawn without putting back, one is right.

    Raises:
        ConfigError: `k` is not from 1 to `num_samples`, or `num_correct` not from 0 to there.

    Source: Chen et al. 2021, arXiv:2107.03374, section 2.1.
    """
    whole("k", k)
    whole("num_samples", num_samples)
    whole("num_correct", num_correct, 0)
    if k > num_samples or num_correct > num_samples:
        name, value = ("k", k) if k > num_samples else ("num_correct", num_correct)
        raise ConfigError(f"{name} is {value}; there are {num_samples} samples")
    if num_samples - num_correct < k:
        return 1.0
    first = num_samples - num_correct + 1
    return 1.0 - math.prod(1.0 - k / j for j in range(first, num_samples + 1))


def coverage(k: int, counts: Sequence[tuple[int, int]]) -> float:
    """Return the mean of `pass_at` over problems, given as (samples, right ones).

    Raises:
        ConfigError: There is no problem, or one has fewer than `k` samples.
    """
    if not counts:
        raise ConfigError("counts is empty; coverage needs a problem")
    return math.fsum(pass_at(k, *each) for each in counts) / len(counts)


def coverage_curve(
    counts: Sequence[tuple[int, int]], num_points: int = 40
) -> list[tuple[int, float]]:
    """Return (k, coverage) at up to `num_points` values of k, evenly spaced in log k."""
    whole("num_points", num_points, 2, MOST_AT_ONCE)
    most = min((num_samples for num_samples, _ in counts), default=0)
    ks = sorted({round(most ** (i / (num_points - 1))) for i in range(num_points)}) if most else []
    return [(k, coverage(k, counts)) for k in ks]


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """Coverage as exp(a k^b); a and b are negative where more samples help."""

    a: float
    b: float

    def coverage(self, k: float) -> float:
        """Return the predicted coverage at `k` samples, at most 1.

        Raises:
            ConfigError: `k` is below 1.
        """
        number("k", k, 1)
        return min(math.exp(self.a * k**self.b), 1.0)

    def samples_for(self, wanted: float) -> float:
        """Return the k at which `wanted` is reached; infinite where it never is.

        Raises:
            ConfigError: `wanted` is not between 0 and 1.
        """
        number("wanted", wanted, 0, 1)
        if wanted in (0, 1):
            raise ConfigError(f"wanted is {wanted}; it must be between 0 and 1")
        if self.a >= 0 or self.coverage(1) >= wanted:
            return 1.0
        if self.b >= 0:
            return math.inf
        log_k = math.log(math.log(wanted) / self.a) / self.b
        return math.exp(log_k) if log_k < 700 else math.inf

    def error(self, curve: Sequence[tuple[float, float]]) -> float:
        """Return the mean absolute error on a curve of (k, coverage): of held-out points, say.

        Raises:
            ConfigError: The curve has no point.
        """
        if not curve:
            raise ConfigError("curve is empty; an error needs a point")
        return math.fsum(abs(self.coverage(k) - c) for k, c in curve) / len(curve)


def fit_power_law(curve: Sequence[tuple[float, float]]) -> PowerLaw:
    """Fit a and b to a curve of (k, coverage) by least squares of coverage itself.

    Points at exactly 0 or 1 count like all others: only the starting point of the fit, a line
    through log(-log c) over log k, leaves them out. Below a coverage of a hundredth an
    extrapolation is not to be trusted.

    Raises:
        ConfigError: Fewer than two different k, or a point is out of range.

    Source: Brown et al. 2024, arXiv:2407.21787, section 3.1; the fit is a damped Gauss-Newton
    instead of SciPy's, on the same objective.
    """
    for k, c in curve:
        number("k", k, 1)
        number("coverage", c, 0, 1)
    if len({k for k, _ in curve}) < 2:
        raise ConfigError(f"curve has {len(curve)} points; a fit needs two different k")
    a, b = _line([(math.log(k), math.log(-math.log(c))) for k, c in curve if 1e-12 < c < 1])
    loss, damping = _loss(a, b, curve), 1e-3
    for _ in range(500):
        new_a, new_b = _stepped(a, b, curve, damping)
        new_loss = _loss(new_a, new_b, curve)
        if new_loss > loss:
            damping *= 4
            if damping > 1e12:
                break
            continue
        is_settled = abs(new_a - a) <= 1e-13 * abs(a) and abs(new_b - b) <= 1e-13 * abs(b)
        a, b, loss, damping = new_a, new_b, new_loss, damping / 4
        if is_settled:
            break
    return PowerLaw(a, b)


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    if len({x for x, _ in points}) < 2:
        return -1.0, -0.5
    mean_x = math.fsum(x for x, _ in points) / len(points)
    mean_y = math.fsum(y for _, y in points) / len(points)
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in points)
    slope /= math.fsum((x - mean_x) ** 2 for x, _ in points)
    return -math.exp(mean_y - slope * mean_x), slope


def _loss(a: float, b: float, curve: Sequence[tuple[float, float]]) -> float:
    try:
        return math.fsum((math.exp(a * k**b) - c) ** 2 for k, c in curve)
    except OverflowError:
        return math.inf


def _stepped(
    a: float, b: float, curve: Sequence[tuple[float, float]], damping: float
) -> tuple[float, float]:
    """Take one damped Gauss-Newton step."""
    aa = ab = bb = ra = rb = 0.0
    for k, c in curve:
        value = math.exp(a * k**b)
        by_a = value * k**b
        by_b = value * a * k**b * math.log(k)
        rest = c - value
        aa, ab, bb = aa + by_a * by_a, ab + by_a * by_b, bb + by_b * by_b
        ra, rb = ra + by_a * rest, rb + by_b * rest
    aa, bb = aa * (1 + damping) + 1e-300, bb * (1 + damping) + 1e-300
    below = aa * bb - ab * ab
    if not below:
        return a, b
    return a + (ra * bb - rb * ab) / below, b + (rb * aa - ra * ab) / below


def beta_coverage(k: float, alpha: float, beta: float) -> float:
    """Return the coverage at `k` where problems' chances of a right sample are Beta distributed.

    One problem's curve is 1 - (1 - p)^k; a power law of the mean takes many problems of small p.

    Source: Schaeffer et al. 2025, arXiv:2502.17578.
    """
    number("k", k, 0)
    for name, value in (("alpha", alpha), ("beta", beta)):
        number(name, value, 0)
        if not value:
            raise ConfigError(f"{name} is {value}; it must be more than 0")
    log_miss = math.lgamma(beta + k) + math.lgamma(alpha + beta)
    log_miss -= math.lgamma(beta) + math.lgamma(alpha + beta + k)
    return -math.expm1(log_miss)


def selected_accuracy(
    samples: Sequence[Sequence[T]],
    select: Callable[[Sequence[T]], T | None],
    is_right: Callable[[int, T], bool],
    *,
    k: int,
    num_subsets: int = 100,
    seed: int = 0,
) -> float:
    """Return how often what `select` chooses of `k` random samples is right.

    Args:
        samples: Of each problem.
        select: Chooses one of some samples; None chooses none, which is wrong.
        is_right: Told the problem's place and the chosen sample.
        k: Samples to choose from.
        num_subsets: Random subsets a problem, over which the mean is taken.
        seed: Of the subsets; a problem's do not depend on the other problems.

    Raises:
        ConfigError: A problem has fewer than `k` samples, or there is none.
    """
    whole("k", k)
    whole("num_subsets", num_subsets, 1, MOST_AT_ONCE)
    if not samples:
        raise ConfigError("samples is empty; accuracy needs a problem")
    total = 0
    for place, given in enumerate(samples):
        if k > len(given):
            raise ConfigError(f"k is {k}; problem {place} has {len(given)} samples")
        random = rng(seed, place)
        for _ in range(num_subsets):
            kept = sorted(random.sample(range(len(given)), k))
            chosen = select([given[i] for i in kept])
            total += chosen is not None and is_right(place, chosen)
    return total / (len(samples) * num_subsets)

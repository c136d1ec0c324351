"""Bootstrap intervals over prompts: how sure a mean, a difference or any other statistic is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from motet.errors import ConfigError, DataError
from motet.search.settings import number, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Floats

_CELLS_AT_ONCE: Final = 4_000_000
"""Draws held in memory side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A statistic of all prompts, and the percentiles of its values on resampled ones."""

    estimate: float
    low: float
    high: float
    level: float
    """Share of the resampled values between `low` and `high`."""


def mean_interval(
    values: Any,
    prompts: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the mean of `values` and its percentile interval.

    Args:
        values: [P], one for each row.
        prompts: [P]. Rows of one prompt are drawn together; without it each row is its own.

    Raises:
        DataError: A value is not finite, lengths differ, or there are fewer than two prompts.
        ConfigError: A setting is out of range.

    Source: Efron 1979, the nonparametric bootstrap; Efron 1981, the percentile method.
    """
    import numpy as np

    _check_settings(level, num_resamples, seed)
    floats = _values(values)
    clusters, num_clusters = _clusters(prompts, len(floats))
    sums = np.bincount(clusters, weights=floats, minlength=num_clusters)
    sizes = np.bincount(clusters, minlength=num_clusters)
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS_AT_ONCE // num_clusters)
    means = []
    for start in range(0, num_resamples, at_once):
        count = min(at_once, num_resamples - start)
        drawn = rng.integers(num_clusters, size=(count, num_clusters))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return interval_of(float(floats.mean()), np.concatenate(means), level)


def difference_interval(
    first: Any,
    second: Any,
    prompts: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the mean of `first - second` and its interval, both drawn on the same prompts.

    Args:
        first: [P], of the same rows as `second`.
        second: [P].

    Raises:
        DataError: Lengths differ, or as in `mean_interval`.
        ConfigError: A setting is out of range.
    """
    ours, theirs = _values(first), _values(second)
    if ours.shape != theirs.shape:
        raise DataError(f"a pair needs both sides: {len(ours)} values against {len(theirs)}")
    return mean_interval(
        ours - theirs, prompts, level=level, num_resamples=num_resamples, seed=seed
    )


def statistic_interval(
    statistic: Callable[[NDArray[np.int64]], float],
    num_rows: int,
    prompts: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return any statistic of a table and its interval, for instance an AIQ or an APGR.

    Args:
        statistic: Gets row numbers, some of them more than once, and returns a finite number.
        num_rows: Rows of the table, P.
        prompts: [P]. Rows of one prompt are drawn together; without it each row is its own.

    Raises:
        DataError: The statistic is not finite or cannot be had of a resample, lengths differ, or
            there are fewer than two prompts.
        ConfigError: A setting is out of range.
    """
    import numpy as np

    _check_settings(level, num_resamples, seed)
    whole("num_rows", num_rows)
    clusters, num_clusters = _clusters(prompts, num_rows)
    by_cluster = np.argsort(clusters, kind="stable")
    sizes = np.bincount(clusters)
    starts = np.cumsum(sizes) - sizes
    rng = np.random.default_rng(seed)
    values = np.empty(num_resamples)
    for i in range(num_resamples):
        drawn = rng.integers(num_clusters, size=num_clusters)
        ends = np.cumsum(sizes[drawn])
        shifts: NDArray[np.int64] = np.repeat(starts[drawn] - (ends - sizes[drawn]), sizes[drawn])
        values[i] = statistic(by_cluster[np.arange(ends[-1]) + shifts])
    estimate = float(statistic(np.arange(num_rows)))
    if not np.isfinite([estimate, *values]).all():
        raise DataError("statistic gave a value that is not finite")
    return interval_of(estimate, values, level)


def resampled_counts(
    num_rows: int, prompts: Sequence[str] | None = None, *, num_resamples: int, seed: int
) -> Iterator[Floats]:
    """Yield how often each row stands in each resample, [B, P] at a time.

    These are the resamples of `statistic_interval` with the same seed. A mean over a resample is a
    product of its counts and the values, which is quicker by far than to look its rows up.

    Args:
        prompts: [P]. Rows of one prompt are drawn together; without it each row is its own.

    Raises:
        DataError: Lengths differ, or there are fewer than two prompts.
        ConfigError: A setting is out of range.
    """
    import numpy as np

    _check_settings(0.95, num_resamples, seed)
    whole("num_rows", num_rows)
    clusters, num_clusters = _clusters(prompts, num_rows)
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS_AT_ONCE // num_rows)
    for start in range(0, num_resamples, at_once):
        times = np.empty((min(at_once, num_resamples - start), num_clusters))
        for i in range(len(times)):
            drawn = rng.integers(num_clusters, size=num_clusters)
            times[i] = np.bincount(drawn, minlength=num_clusters)
        yield times[:, clusters]


def interval_of(estimate: float, values: Floats, level: float = 0.95) -> Interval:
    """Return the percentile interval of a statistic's values on resampled prompts."""
    import numpy as np

    low = float(np.quantile(values, (1 - level) / 2))
    high = float(np.quantile(values, (1 + level) / 2))
    return Interval(estimate=estimate, low=low, high=high, level=level)


def _check_settings(level: float, num_resamples: int, seed: int) -> None:
    number("level", level, 0, 1)
    if level in (0, 1):
        raise ConfigError(f"level is {level!r}; it must be between 0 and 1, both excluded")
    whole("num_resamples", num_resamples, 1, 1_000_000)
    whole("seed", seed, 0)


def _clusters(prompts: Sequence[str] | None, rows: int) -> tuple[NDArray[np.int64], int]:
    import numpy as np

    if prompts is None:
        clusters = np.arange(rows)
    elif len(prompts) != rows:
        raise DataError(f"there are {len(prompts)} prompts, but {rows} rows")
    else:
        place: dict[str, int] = {}
        clusters = np.array([place.setdefault(prompt, len(place)) for prompt in prompts])
    count = int(clusters.max()) + 1 if rows else 0
    if count < 2:
        raise DataError(f"there are {count} distinct prompts; an interval needs two")
    return clusters, count


def _values(values: Any) -> Floats:
    import numpy as np

    try:
        floats = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise DataError(f"values are no numbers: {exc}") from exc
    if floats.ndim != 1:
        raise DataError(f"values have the shape {floats.shape}; they must be a row of numbers")
    wrong = np.flatnonzero(~np.isfinite(floats))
    if len(wrong):
        place = int(wrong[0])
        raise DataError(f"values hold {float(floats[place])!r} at place {place}")
    return floats

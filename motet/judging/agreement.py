"""Agreement of two or more raters, corrected for chance, and rank correlations."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from motet.errors import DataError
from motet.judging.verdicts import Winner
from motet.packages import imported
from motet.search.settings import flag, one_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"


def percent_agreement(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Return the share, 0 to 1, of items on which two raters say the same.

    Raises:
        DataError: There are no items, or not as many of each rater.
    """
    _check_two(first, second)
    return sum(a == b for a, b in zip(first, second, strict=True)) / len(first)


def vote_agreement(
    judge: Sequence[Winner], people: Sequence[Winner], *, with_ties: bool = True
) -> float:
    """Return how often a judge says what a person said, counted by vote.

    Args:
        with_ties: Count all votes; otherwise only those where neither said tie.

    Raises:
        DataError: No vote is left, or one of them is an error: drop those and count them apart.

    Source: Zheng et al. 2023, arXiv:2306.05685, section 4.2: set-ups S1 and S2.
    """
    flag("with_ties", with_ties)
    _check_two(judge, people)
    for place, said in enumerate(zip(judge, people, strict=True)):
        if "error" in said:
            raise DataError(f"vote {place} is {said}; errors are no votes")
    if not with_ties:
        kept = [said for said in zip(judge, people, strict=True) if "tie" not in said]
        if not kept:
            raise DataError(f"each of the {len(judge)} votes has a tie; none is left")
        return sum(a == b for a, b in kept) / len(kept)
    return percent_agreement(judge, people)


def cohen_kappa(
    first: Sequence[Any],
    second: Sequence[Any],
    *,
    weights: Literal["linear", "quadratic"] | None = None,
    categories: Sequence[Any] | None = None,
) -> float:
    """Return kappa of two raters over the classes they used, a tie being one of them.

    Two raters who both say one thing throughout have 1, with a warning: nothing corrects that.

    Args:
        weights: Weigh a disagreement by how far apart the classes are.
        categories: All classes in their order; needed for weights on classes that do not sort as
            they rank. Without it, what was used, sorted.

    Raises:
        DataError: There are no items, not as many of each rater, or a class is not in
            `categories`.

    Source: Cohen 1960, Educational and Psychological Measurement 20; weights, Cohen 1968.
    """
    import numpy as np

    one_of("weights", weights, (None, "linear", "quadratic"))
    _check_two(first, second)
    classes = _classes([*first, *second], categories)
    if weights and categories is None and any(isinstance(name, str) for name in classes):
        raise DataError(f"weights need the order of the classes {list(classes)}: give categories")
    places = np.arange(len(classes))
    table = np.zeros((len(classes), len(classes)))
    for a, b in zip(first, second, strict=True):
        table[classes[a], classes[b]] += 1
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / len(first)
    apart = np.abs(places[:, None] - places[None, :]).astype(np.float64)
    cost = apart if weights == "linear" else apart**2 if weights else (apart > 0).astype(np.float64)
    return _beyond_chance(float((cost * table).sum()), float((cost * expected).sum()))


def fleiss_kappa(ratings: Sequence[Sequence[Hashable]]) -> float:
    """Return kappa of several raters.

    Args:
        ratings: One row an item, of the classes that its raters gave; at least two to a row, and
            as many in each. Who gave which does not matter.

    Raises:
        DataError: There are no items, or rows of one rating or of different lengths.

    Source: Fleiss 1971, Psychological Bulletin 76.
    """
    import numpy as np

    sizes = {len(row) for row in ratings}
    if len(sizes) != 1 or min(sizes) < 2:
        raise DataError(
            f"{len(ratings)} items have {sorted(sizes)} ratings each; Fleiss' kappa needs the "
            "same number, at least 2 (Krippendorff's alpha takes gaps)"
        )
    classes = _classes([rating for row in ratings for rating in row], None)
    counts = np.zeros((len(ratings), len(classes)))
    for place, row in enumerate(ratings):
        for rating, times in Counter(row).items():
            counts[place, classes[rating]] = times
    raters = sizes.pop()
    agreed = ((counts**2).sum(axis=1) - raters) / (raters * (raters - 1))
    by_chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    return _beyond_chance(1 - float(agreed.mean()), 1 - float(by_chance))


def krippendorff_alpha(
    ratings: Sequence[Sequence[Any]],
    *,
    level: Literal["nominal", "ordinal", "interval"] = "nominal",
) -> float:
    """Return alpha of several raters, any of whom may have left items out.

    Args:
        ratings: One row an item, of what its raters gave; None or NaN where one gave nothing.
        level: How values differ: not at all or wholly, by ranks between, or by the square.

    Raises:
        DataError: No item has two ratings, or values of a level above nominal are no numbers.

    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.
    """
    import numpy as np

    one_of("level", level, ("nominal", "ordinal", "interval"))
    given = [[rating for rating in row if not _is_missing(rating)] for row in ratings]
    paired = [row for row in given if len(row) > 1]
    if not paired:
        raise DataError(f"none of {len(ratings)} items has two ratings; nothing can be compared")
    values = [rating for row in paired for rating in row]
    if level != "nominal" and not all(_is_number(value) for value in values):
        raise DataError(f"an {level} alpha needs numbers, and some of the ratings are none")
    classes = _classes(values, None)
    seen = np.zeros((len(classes), len(classes)))
    for row in paired:
        for i, a in enumerate(row):
            for j, b in enumerate(row):
                if i != j:
                    seen[classes[a], classes[b]] += 1 / (len(row) - 1)
    totals = seen.sum(axis=1)
    # Equal values cost nothing, so that pairing a value with itself need not be taken out.
    by_chance = np.outer(totals, totals) / (totals.sum() - 1)
    cost = _differences(level, list(classes), totals)
    return _beyond_chance(float((cost * seen).sum()), float((cost * by_chance).sum()))


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the correlation of ranks, where equal values share their average rank.

    Raises:
        DataError: Fewer than two items, not as many of each, a value that is no number, or a
            rater who gives one value throughout: it has no ranks.
        ConfigError: SciPy is not installed.
    """
    a, b = _two_columns(first, second)
    return float(imported("scipy.stats").spearmanr(a, b).statistic)


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Return tau-b: concordant less discordant pairs, corrected for ties.

    Raises:
        DataError, ConfigError: As `spearman`.
    """
    a, b = _two_columns(first, second)
    return float(imported("scipy.stats").kendalltau(a, b, variant="b").statistic)


def _beyond_chance(disagreed: float, by_chance: float) -> float:
    if by_chance == 0:
        warnings.warn(
            "all raters gave one class throughout: there is no chance agreement to correct for, "
            "and 1 is returned",
            UserWarning,
            stacklevel=3,
        )
        return 1.0
    return 1 - disagreed / by_chance


def _differences(level: str, values: list[Any], totals: Floats) -> Floats:
    import numpy as np

    if level == "nominal":
        return 1 - np.eye(len(values))
    if level == "ordinal":
        # The distance of two ranks: half of either class and all of those between.
        middle = np.cumsum(totals) - totals / 2
    else:
        middle = np.array(values, dtype=np.float64)
    squares: Floats = (middle[:, None] - middle[None, :]) ** 2
    return squares


def _classes(used: Sequence[Any], categories: Sequence[Any] | None) -> dict[Any, int]:
    if categories is not None:
        classes = {name: place for place, name in enumerate(categories)}
        strange = [name for name in used if name not in classes]
        if strange:
            raise DataError(f"class {strange[0]!r} is none of the categories {list(categories)}")
        return classes
    names = list(dict.fromkeys(used))
    try:
        names.sort()
    except TypeError:
        names.sort(key=repr)
    return {name: place for place, name in enumerate(names)}


def _check_two(first: Sequence[Any], second: Sequence[Any]) -> None:
    if len(first) != len(second):
        raise DataError(f"one rater has {len(first)} items and the other {len(second)}")
    if not len(first):
        raise DataError("there are no items to agree on")


def _two_columns(first: Sequence[float], second: Sequence[float]) -> tuple[Floats, Floats]:
    import numpy as np

    _check_two(first, second)
    for values in (first, second):
        if not all(_is_number(value) for value in values):
            raise DataError("a value is no finite number; ranks need numbers")
        if len(set(values)) < 2:
            raise DataError(
                f"a rater gives {values[0]} throughout ({len(values)} items); there are no ranks"
            )
    return np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)


def _is_missing(rating: Any) -> bool:
    return rating is None or (isinstance(rating, float) and math.isnan(rating))


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except (TypeError, OverflowError):
        return False

"""Figures of paths on the same prompts, with intervals of which each resample is shared by all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from motet.errors import DataError
from motet.routing.intervals import Interval, interval_of, resampled_counts
from motet.routing.resamples import GAPS, Resamples
from motet.routing.strong_weak import sweep

if TYPE_CHECKING:
    from motet.routing.outcomes import Outcomes
    from motet.routing.paths import CostPath

_SHARES: Final = 41
"""Points of a deferral curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a router is worth on the test prompts."""

    name: str
    aiq: Interval
    """Mean quality over the costs between the cheapest and the dearest model."""
    gain: Interval
    """Mean height beyond the zero router, which mixes the models at random, on the same prompts.
    A hull is chosen on the prompts that it is measured on, so that even a router that knows nothing
    has one above the zero router's. So this is of the settings as they are, with straight lines
    from one to the next, and level beyond the last."""
    over_baseline: Interval | None
    """The same beyond the baseline; None of the baseline itself."""
    middle: Interval
    """Mean score at the median of the models' mean costs."""
    apgr: Interval | None
    """Of two models: the share of the gap between them that is recovered; None for more, and
    where a resample has no gap."""
    cpt: Mapping[float, Interval] | None
    """Share of strong calls that recovers this part of the gap; None where `apgr` is."""
    costs: tuple[float, ...]
    """Of its curve's hull."""
    qualities: tuple[float, ...]
    lows: tuple[float, ...]
    """Low ends of the qualities' intervals at those costs."""
    highs: tuple[float, ...]
    deferral: tuple[tuple[float, float], ...] | None
    """Share of strong calls, and mean score, at even steps of the share."""
    train_s: float
    """Seconds to fit it; 0 for the references."""


def measure(
    paths: Sequence[CostPath],
    test: Outcomes,
    *,
    zero: str,
    prices: Any,
    baseline: str | None = None,
    pair: tuple[int, int] | None = None,
    num_resamples: int = 500,
    seed: int = 0,
) -> list[Compared]:
    """Return the figures of each path; intervals are 95 %, of prompts drawn again.

    Rows of one prompt are drawn together. All paths are measured over the same interval of costs
    in a resample, between its mean costs of the cheapest and the dearest model by `prices`.

    Args:
        zero: Name of the path over which gains are.
        prices: [M], known before the test prompts.
        baseline: Name of another such path, or None.
        pair: Columns of a weak and a strong model, for APGR and CPT.

    Raises:
        DataError: There is no path of such a name, two have one, a path is of other prompts or
            never as cheap as the cheapest model, or the strong model is not better.
    """
    import numpy as np

    places = _places(paths, test, [zero, *([] if baseline is None else [baseline])])
    ends = int(np.argmin(prices)), int(np.argmax(prices))
    first = Resamples(paths, test, ends, pair, places[zero])
    first.add(np.ones((1, len(test.prompts))))
    drawn = Resamples(paths, test, ends, pair, places[zero], [h.costs for h in first.hulls])
    for counts in resampled_counts(
        len(test.prompts), test.prompts, num_resamples=num_resamples, seed=seed
    ):
        drawn.add(counts)
    base = None if baseline is None else places[baseline]
    return [
        _compared(path, place, first, drawn, test, pair, places[zero], base)
        for place, path in enumerate(paths)
    ]


def _places(paths: Sequence[CostPath], test: Outcomes, needed: Sequence[str]) -> dict[str, int]:
    places = {path.name: place for place, path in enumerate(paths)}
    for name in needed:
        if name not in places:
            raise DataError(f"there is no path {name!r}; there are {', '.join(places)}")
    if len(places) < len(paths):
        raise DataError(f"two paths have one name; they are {', '.join(p.name for p in paths)}")
    for path in paths:
        if path.scores.shape[1] != len(test.prompts):
            raise DataError(f"{path.name} is of {path.scores.shape[1]} prompts, not the test's")
    return places


def _compared(
    path: CostPath,
    place: int,
    first: Resamples,
    drawn: Resamples,
    test: Outcomes,
    pair: tuple[int, int] | None,
    zero: int,
    base: int | None,
) -> Compared:
    import numpy as np

    hull, bands = first.hulls[place], np.array(drawn.bands[place])
    apgr, cpt, deferral = None, None, None
    if pair is not None and path.win_rates is not None:
        swept = sweep(path.win_rates, test.scores[:, pair[0]], test.scores[:, pair[1]])
        shares = np.linspace(0, 1, _SHARES)
        heights = np.interp(shares, swept.shares, swept.qualities)
        deferral = tuple(zip(map(float, shares), map(float, heights), strict=True))
        apgr, cpt = _recovered(swept.apgr, [swept.cpt(gap) for gap in GAPS], drawn, place)
    over = None
    if base not in (None, place):
        over = _of(first.heights, drawn.heights, place, base)
    return Compared(
        name=path.name,
        aiq=_of(first.aiqs, drawn.aiqs, place),
        gain=_of(first.heights, drawn.heights, place, zero),
        over_baseline=over,
        middle=_of(first.middles, drawn.middles, place),
        apgr=apgr,
        cpt=cpt,
        costs=tuple(map(float, hull.costs)),
        qualities=tuple(map(float, hull.qualities)),
        lows=tuple(map(float, np.quantile(bands, 0.025, axis=0))),
        highs=tuple(map(float, np.quantile(bands, 0.975, axis=0))),
        deferral=deferral,
        train_s=path.train_s,
    )


def _of(
    first: list[list[float]], drawn: list[list[float]], place: int, other: int | None = None
) -> Interval:
    import numpy as np

    estimate, values = first[place][0], np.array(drawn[place])
    if other is not None:
        estimate, values = estimate - first[other][0], values - np.array(drawn[other])
    return interval_of(estimate, values)


def _recovered(
    apgr: float, cpts: Sequence[float], drawn: Resamples, place: int
) -> tuple[Interval | None, dict[float, Interval] | None]:
    import numpy as np

    values = np.array(drawn.recovered[place])
    if np.isnan(values).any():
        return None, None
    prices = {
        gap: interval_of(cpt, values[:, 1 + i])
        for i, (gap, cpt) in enumerate(zip(GAPS, cpts, strict=True))
    }
    return interval_of(apgr, values[:, 0]), prices

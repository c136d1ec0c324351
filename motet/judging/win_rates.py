"""Raw win rates from preferences between 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from motet.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRates:
    """What preferences say with no correction; rates are percents of the judged."""

    win_rate: float
    """Mean preference."""
    standard_error: float
    """Of that mean; 0 for a single one."""
    discrete_win_rate: float
    """Each preference above a half is a win, and a half itself half a win."""
    wins: int
    draws: int
    losses: int
    num_unjudged: int
    """NaN preferences, which the rates leave out."""


def win_rates(preferences: Sequence[float]) -> WinRates:
    """Average preferences in 0 to 1, NaN where nothing was judged.

    Raises:
        DataError: Nothing was judged, or a preference is outside 0 to 1.

    Source: `get_winrate` of tatsu-lab/alpaca_eval, which leaves its unjudged rows uncounted.
    """
    judged: list[float] = []
    for place, preference in enumerate(map(float, preferences)):
        if math.isnan(preference):
            continue
        if not 0 <= preference <= 1:
            raise DataError(f"preference {place} is {preference}; it must be from 0 to 1")
        judged.append(preference)
    if not judged:
        raise DataError("no preference was judged; there is no win rate")
    count = len(judged)
    mean = math.fsum(judged) / count
    spread = math.fsum((preference - mean) ** 2 for preference in judged)
    wins = sum(preference > 0.5 for preference in judged)
    draws = sum(preference == 0.5 for preference in judged)
    return WinRates(
        win_rate=100 * mean,
        standard_error=100 * math.sqrt(spread / max(1, count - 1) / count),
        discrete_win_rate=100 * (wins + draws / 2) / count,
        wins=wins,
        draws=draws,
        losses=count - wins - draws,
        num_unjudged=len(preferences) - count,
    )

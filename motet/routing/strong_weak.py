"""Two-model routing: how well win rates tell which prompts need the strong model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from motet.errors import DataError
from motet.search.settings import number, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Floats

_ROUNDING: Final = 1e-12
"""Sums of the same scores in another order differ by less."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sweep:
    """Quality against the share of calls to the strong model; T points."""

    shares: Floats
    """[T], share of prompts at the strong model, rising from 0 to 1."""
    qualities: Floats
    """[T], mean score."""
    weak: float
    """Mean score of the weak model alone."""
    strong: float
    """Mean score of the strong model alone."""
    thresholds: Floats | None = None
    """[T], falling; a prompt goes to the strong model where its win rate reaches the threshold.
    None where no threshold made the curve."""

    @property
    def auc(self) -> float:
        """Area under the qualities over the shares 0 to 1, by trapezoids."""
        return _area(self.shares, self.qualities)

    @property
    def apgr(self) -> float:
        """Average performance gap recovered: 0 is the weak model, 1 the strong one.

        It passes 1 where the weak model is right on prompts that the strong one fails.

        Raises:
            DataError: The strong model is not better than the weak one, so there is no gap.

        Source: Ong et al. 2024 (RouteLLM), arXiv:2406.18665, section 2.
        """
        return (self.auc - self.weak) / self._gap()

    def cpt(self, gap: float) -> float:
        """Return the smallest share of strong calls that recovers this part of the gap.

        Args:
            gap: From 0 to 1. Between the points of the sweep the curve is a straight line.

        Raises:
            ConfigError: `gap` is not from 0 to 1.
            DataError: The strong model is not better than the weak one, or the curve never
                recovers that much.
        """
        import numpy as np

        number("gap", gap, 0, 1)
        goal = self.weak + gap * self._gap()
        reached = np.flatnonzero(self.qualities >= goal - _ROUNDING)
        if not len(reached):
            raise DataError(f"no share of strong calls recovers {gap!r} of the gap")
        at = int(reached[0])
        if at == 0:
            return float(self.shares[0])
        (x0, x1), (y0, y1) = self.shares[at - 1 : at + 1], self.qualities[at - 1 : at + 1]
        return float(x0 + (x1 - x0) * min((goal - y0) / (y1 - y0), 1.0))

    def _gap(self) -> float:
        if not self.weak < self.strong:
            raise DataError(
                f"the strong model's mean score is {self.strong:.6g}, the weak one's "
                f"{self.weak:.6g}; without a gap between them nothing can be recovered"
            )
        return self.strong - self.weak


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A threshold, and what it does on the prompts that it was calibrated on."""

    threshold: float
    share: float
    """Share of those prompts that go to the strong model; more than asked for where rates tie."""


def to_strong(win_rates: Any, threshold: float) -> NDArray[np.bool_]:
    """Say for each prompt whether it goes to the strong model: its rate reaches `threshold`.

    Any threshold is allowed: 0 sends all prompts, one above 1 none.

    Raises:
        DataError: A win rate is not from 0 to 1.
        ConfigError: `threshold` is not finite.
    """
    number("threshold", threshold)
    reached: NDArray[np.bool_] = _rates(win_rates) >= threshold
    return reached


def calibrate(win_rates: Any, share: float) -> Calibration:
    """Return the threshold that sends about `share` of prompts like these to the strong model.

    It holds for prompts like these only, and for this encoder: calibrate on your own log.

    Raises:
        DataError: There is no win rate, or one is not from 0 to 1.
        ConfigError: `share` is not from 0 to 1.

    Source: Ong et al. 2024 (RouteLLM), arXiv:2406.18665, and its calibrate_threshold.py: the
    quantile 1 - `share`, with straight lines between the rates.
    """
    import numpy as np

    number("share", share, 0, 1)
    rates = _rates(win_rates)
    threshold = float(np.quantile(rates, 1 - share))
    return Calibration(threshold=threshold, share=float(np.mean(rates >= threshold)))


def sweep(win_rates: Any, weak: Any, strong: Any, num_quantiles: int | None = None) -> Sweep:
    """Move the threshold from above the highest win rate to the lowest.

    Args:
        win_rates: [P], 0 to 1; how likely the strong model is to be the better one.
        weak: [P], scores of the weak model.
        strong: [P], scores of the strong model.
        num_quantiles: Thresholds are this many quantiles of the rates, as in RouteLLM with 10.
            None tries every rate, so that the curve is exact.

    Raises:
        DataError: Lengths differ, a score is not finite, or a win rate is not from 0 to 1.
        ConfigError: `num_quantiles` is below 1.

    Source: Ong et al. 2024 (RouteLLM), arXiv:2406.18665, section 3. Its last threshold is strict
    (`>`); here the next number above the highest rate stands for it.
    """
    import numpy as np

    rates = _rates(win_rates)
    low, high = _scores("weak", weak, len(rates)), _scores("strong", strong, len(rates))
    order = np.argsort(rates, kind="stable")
    ranked = rates[order]
    if num_quantiles is None:
        marks = np.unique(ranked)
    else:
        whole("num_quantiles", num_quantiles)
        marks = np.unique(np.quantile(ranked, np.linspace(0, 1, num_quantiles + 1)[:-1]))
    marks = np.append(marks, np.nextafter(ranked[-1], np.inf))[::-1]
    num_weak = np.searchsorted(ranked, marks)
    weak_sums = np.concatenate([[0.0], np.cumsum(low[order])])
    strong_sums = np.concatenate([[0.0], np.cumsum(high[order])])
    sums = weak_sums[num_weak] + strong_sums[-1] - strong_sums[num_weak]
    return Sweep(
        shares=1 - num_weak / len(rates),
        qualities=sums / len(rates),
        weak=float(weak_sums[-1]) / len(rates),
        strong=float(strong_sums[-1]) / len(rates),
        thresholds=marks,
    )


def optimal(weak: Any, strong: Any) -> Sweep:
    """Return the best that any router can reach with each number of strong calls.

    It sends prompts to the strong model while that gains, and gives no gain away when more
    calls are to be made; so its last quality is the best, not the strong model's.

    Raises:
        DataError: Lengths differ, there is none, or a score is not finite.

    Source: Ong et al. 2024 (RouteLLM), arXiv:2406.18665, the `optimal` of its evaluation: weak
    right + min(strong calls, weak wrong and strong right). For scores between 0 and 1 the
    largest gains come first.
    """
    import numpy as np

    low = _scores("weak", weak, None)
    high = _scores("strong", strong, len(low))
    gains = np.sort(np.maximum(high - low, 0))[::-1]
    sums = np.concatenate([[0.0], np.cumsum(gains)]) + low.sum()
    return Sweep(
        shares=np.arange(len(low) + 1) / len(low),
        qualities=sums / len(low),
        weak=float(low.mean()),
        strong=float(high.mean()),
    )


def _area(xs: Floats, ys: Floats) -> float:
    import numpy as np

    return float(np.sum(np.diff(xs) * (ys[1:] + ys[:-1]) / 2))


def _rates(values: Any) -> Floats:
    import numpy as np

    rates = _scores("win_rates", values, None)
    wrong = np.flatnonzero((rates < 0) | (rates > 1))
    if len(wrong):
        place = int(wrong[0])
        raise DataError(f"win_rates hold {float(rates[place])!r} at place {place}, not 0 to 1")
    return rates


def _scores(name: str, values: Any, length: int | None) -> Floats:
    import numpy as np

    try:
        scores = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise DataError(f"{name} are no numbers: {exc}") from exc
    if scores.ndim != 1 or not len(scores) or length not in (None, len(scores)):
        needed = "some numbers" if length is None else f"{length} numbers"
        raise DataError(f"{name} have the shape {scores.shape}; they must be {needed} in a row")
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        place = int(wrong[0])
        raise DataError(f"{name} hold {float(scores[place])!r} at place {place}")
    return scores

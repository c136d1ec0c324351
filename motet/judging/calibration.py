"""Calibration: confidences that come true as often as they say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from motet.errors import DataError
from motet.packages import imported
from motet.search.settings import number, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"

COLDEST: Final = 0.01
HOTTEST: Final = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """One divisor of all logits; the order of the classes stays.

    Raises:
        ConfigError: The value is not from 0.01 to 100.
    """

    value: float

    def __post_init__(self) -> None:
        number("value", self.value, COLDEST, HOTTEST)

    def apply(self, logits: Any) -> Floats:
        """Return probabilities [N, K] of logits [N, K].

        Raises:
            DataError: The logits are no table of at least two finite columns.
        """
        import numpy as np

        probabilities: Floats = np.exp(_log_softmax(_logits(logits) / self.value))
        return probabilities


def fit_temperature(logits: Any, labels: Any) -> Temperature:
    """Find the temperature of the greatest likelihood, between 0.01 and 100.

    Where every label has the largest logit the likelihood has no maximum, and 0.01 is returned;
    likewise 100 where logits mislead. Where no temperature is better than another it is 1.

    Args:
        logits: [N, K], K at least 2.
        labels: [N], the right column of each row.

    Raises:
        DataError: Nothing to fit, or a label that is no column.
        ConfigError: SciPy is not installed.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    import numpy as np

    table = _logits(logits)
    right = np.asarray(labels)
    if right.shape != (len(table),) or not np.issubdtype(right.dtype, np.integer):
        raise DataError(f"labels of shape {right.shape} ({right.dtype}) for {len(table)} rows")
    if right.min() < 0 or right.max() >= table.shape[1]:
        raise DataError(f"a label is outside the columns 0 to {table.shape[1] - 1}")

    def loss(log_value: float) -> float:
        chosen = _log_softmax(table / math.exp(log_value))[np.arange(len(table)), right]
        return -float(chosen.mean())

    bounds = (math.log(COLDEST), math.log(HOTTEST))
    found = imported("scipy.optimize").minimize_scalar(
        loss, bounds=bounds, method="bounded", options={"xatol": 1e-9}
    )
    # The search stays inside its bounds, where the best may be one of them.
    best = min((0.0, *bounds, float(found.x)), key=loss)
    return Temperature(value=min(HOTTEST, max(COLDEST, math.exp(best))))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Isotonic:
    """A rising line through a few points; flat beyond them."""

    scores: Floats
    """[T], rising."""
    probabilities: Floats
    """[T], 0 to 1, never falling."""

    def apply(self, scores: Any) -> Floats:
        """Return the probability of each score.

        Raises:
            DataError: A score is no finite number.
        """
        import numpy as np

        values = _finite("scores", scores)
        return np.interp(values, self.scores, self.probabilities)


def fit_isotonic(scores: Any, labels: Any) -> Isotonic:
    """Fit the never falling map from scores [N] to how often [N] labels are 1.

    Raises:
        DataError: No scores, labels other than 0 and 1, or not as many.
        ConfigError: scikit-learn is not installed.

    Source: Zadrozny and Elkan 2002; the fit is scikit-learn's.
    """
    import numpy as np

    values, truth = _pairs("scores", scores, labels)
    fitted = imported("sklearn.isotonic").IsotonicRegression(y_min=0, y_max=1)
    fitted.fit(values, truth)
    return Isotonic(
        scores=np.asarray(fitted.X_thresholds_, dtype=np.float64),
        probabilities=np.asarray(fitted.y_thresholds_, dtype=np.float64),
    )


def calibration_error(probabilities: Any, labels: Any, *, num_bins: int = 10) -> float:
    """Return the mean gap of confidence and frequency over bins of equal width, by their share.

    Args:
        probabilities: [N], of the label being 1.
        num_bins: A bin holds its upper edge; the first holds 0 too.

    Raises:
        DataError: Nothing given, probabilities outside 0 to 1, labels other than 0 and 1.

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3.
    """
    import numpy as np

    whole("num_bins", num_bins)
    values, truth = _probabilities(probabilities, labels)
    edges = np.linspace(0, 1, num_bins + 1)
    bins = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, num_bins - 1)
    gaps = np.bincount(bins, weights=values - truth, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(values))


def brier_score(probabilities: Any, labels: Any) -> float:
    """Return the mean squared distance of probabilities [N] to labels [N] of 0 and 1.

    Raises:
        DataError: As `calibration_error`.

    Source: Brier 1950, Monthly Weather Review 78, halved for two classes as is usual.
    """
    values, truth = _probabilities(probabilities, labels)
    return float(((values - truth) ** 2).mean())


def _probabilities(probabilities: Any, labels: Any) -> tuple[Floats, Floats]:
    values, truth = _pairs("probabilities", probabilities, labels)
    if values.min() < 0 or values.max() > 1:
        raise DataError(f"probabilities run from {values.min()} to {values.max()}; not 0 to 1")
    return values, truth


def _pairs(name: str, values: Any, labels: Any) -> tuple[Floats, Floats]:
    column, truth = _finite(name, values), _finite("labels", labels)
    if column.ndim != 1 or not len(column) or column.shape != truth.shape:
        raise DataError(f"{name} of shape {column.shape} and labels of shape {truth.shape}")
    strange = truth[(truth != 0) & (truth != 1)]
    if len(strange):
        raise DataError(f"label {strange[0]:g} is neither 0 nor 1")
    return column, truth


def _logits(logits: Any) -> Floats:
    table = _finite("logits", logits)
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise DataError(f"logits of shape {table.shape}; rows of at least two are needed")
    return table


def _log_softmax(table: Floats) -> Floats:
    import numpy as np

    shifted = table - table.max(axis=1, keepdims=True)
    logged: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logged


def _finite(name: str, values: Any) -> Floats:
    import numpy as np

    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise DataError(f"{name} are no numbers: {exc}") from exc
    if not bool(np.isfinite(column).all()):
        raise DataError(f"{name} hold a value that is no finite number")
    return column

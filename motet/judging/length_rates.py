"""Win rates at equal lengths, from coefficients that are known.

Source: Dubois et al. 2024, arXiv:2404.04475, section 3, and `predict_winrate` of
tatsu-lab/alpaca_eval. `corrected` is motet's: it applies the fitted pull of length to one pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from motet.errors import DataError
from motet.search.settings import number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthWeights:
    """Coefficients of logit p; where all are 0 nothing is preferred.

    Raises:
        ConfigError: One is no finite number.
    """

    model: float = 0.0
    """theta: how much better the model is than the baseline."""
    length: float = 0.0
    """phi, of the tanh of the standardised difference, baseline less model."""
    difficulty: float = 0.0
    """psi, of the instruction's difficulty."""

    def __post_init__(self) -> None:
        for name in ("model", "length", "difficulty"):
            number(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlledRate:
    """A win rate in percent, of outputs of equal length."""

    rate: float
    standard_error: float
    """Of the mean over instructions, in percent; the fit's own error is not in it."""


def rate_from_weights(weights: LengthWeights, difficulty: Any) -> ControlledRate:
    """Predict the win rate against the baseline at equal lengths.

    Args:
        difficulty: [N], of the instructions.

    Raises:
        DataError: Fewer than two difficulties, or one that is no number.
    """
    import numpy as np

    hardness = finite("the difficulties", np.asarray(difficulty, dtype=np.float64))
    if hardness.ndim != 1 or len(hardness) < 2:
        raise DataError(f"difficulties of shape {hardness.shape}; at least two in a row are needed")
    percent = 100 * _sigmoid(weights.model + weights.difficulty * hardness)
    error = float(np.std(percent, ddof=1)) / math.sqrt(len(percent))
    return ControlledRate(rate=float(percent.mean()), standard_error=error)


def rate_between(first: LengthWeights, second: LengthWeights, difficulty: Any) -> ControlledRate:
    """Predict the win rate of one model against another from their fits to one baseline.

    Raises:
        DataError: As `rate_from_weights`.
    """
    between = LengthWeights(
        model=first.model - second.model, difficulty=first.difficulty - second.difficulty
    )
    return rate_from_weights(between, difficulty)


def corrected(
    preference: float, length_difference: float, deviation: float, weight: float
) -> float:
    """Return one preference with the pull of the length taken out.

    Args:
        preference: 0 to 1, of the first output.
        length_difference: Second less first, in characters, as baseline less model in a fit.
        deviation: Standard deviation of such differences, in characters.
        weight: phi of a fit.

    Raises:
        ConfigError: One of them is out of range.
    """
    number("preference", preference, 0, 1)
    number("length_difference", length_difference)
    number("deviation", deviation, 1e-12)
    number("weight", weight)
    if preference in (0, 1):
        return float(preference)
    logit = math.log(preference) - math.log1p(-preference)
    return float(_sigmoid(logit - weight * math.tanh(length_difference / deviation)))


def _sigmoid(logit: Any) -> Any:
    import numpy as np

    return np.exp(-np.logaddexp(0, -logit))


def finite(name: str, values: Floats) -> Floats:
    """Return `values`, none of which is NaN or infinite.

    Raises:
        DataError: One is; `name` is what the message calls them.
    """
    import numpy as np

    if not bool(np.isfinite(values).all()):
        raise DataError(f"{name} hold a value that is no finite number")
    return values

"""Length-controlled win rates: what a judge would have preferred, had the lengths been equal.

Source: Dubois et al. 2024, arXiv:2404.04475, and `glm_winrate.py` of tatsu-lab/alpaca_eval. Four
departures: difficulties are looked up by instruction (the source takes them by row number, which
shifts where rows are missing), rows that were not judged do not count in the mean, and the folds
keep all rows of an instruction together. Fits are run to 1e-8, not liblinear's 1e-4, which is off
by up to 0.02 points.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from motet.errors import DataError
from motet.judging.length_rates import (
    ControlledRate,
    LengthWeights,
    finite,
    rate_from_weights,
)
from motet.packages import imported
from motet.search.settings import flag, number

if TYPE_CHECKING:
    from motet.judging.length_rates import Floats

NUM_FOLDS: Final = 5
SEED: Final = 123
TOLERANCE: Final = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """A model's outputs judged against a baseline's on N instructions.

    Raises:
        DataError: The columns are not of one length, a preference is outside 0 to 1, or a judged
            row has no length; names the row.
    """

    instructions: tuple[Hashable, ...]
    """[N], by which difficulties are found."""
    preference: Floats
    """[N], 0 to 1: how likely the judge prefers the model; 0.5 is a draw, NaN was not judged."""
    model_lengths: Floats
    """[N], in characters."""
    baseline_lengths: Floats
    """[N], in characters."""

    def __post_init__(self) -> None:
        import numpy as np

        object.__setattr__(self, "instructions", tuple(self.instructions))
        for name in ("preference", "model_lengths", "baseline_lengths"):
            column = _column(name, getattr(self, name), len(self.instructions))
            object.__setattr__(self, name, column)
        for row in np.flatnonzero(~np.isnan(self.preference)):
            at = f"row {row} (instruction {self.instructions[row]!r})"
            if not 0 <= self.preference[row] <= 1:
                raise DataError(f"the preference of {at} is {self.preference[row]}; not 0 to 1")
            for name in ("model_lengths", "baseline_lengths"):
                if not 0 <= getattr(self, name)[row] < math.inf:
                    raise DataError(f"{name} of {at} is {getattr(self, name)[row]}; no length")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GamedRows:
    """The baseline told to be brief or wordy, judged against itself, on G rows.

    They hold the coefficient of the length to what it is for an equally good model.

    Raises:
        DataError: The columns are not of one length, or hold what is no number, or a preference
            outside 0 to 1.
    """

    instructions: tuple[Hashable, ...]
    """[G]"""
    preference: Floats
    """[G], 0 to 1."""
    length_difference: Floats
    """[G], baseline less gamed, in standard deviations."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "instructions", tuple(self.instructions))
        for name in ("preference", "length_difference"):
            column = _column(name, getattr(self, name), len(self.instructions))
            object.__setattr__(self, name, finite(f"{name} of the gamed rows", column))
        if not bool(((self.preference >= 0) & (self.preference <= 1)).all()):
            raise DataError("a preference of the gamed rows is outside 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthControlled:
    """A fit of one model against the baseline."""

    rate: ControlledRate
    weights: LengthWeights
    deviation: float
    """Standard deviation of the length difference, in characters."""
    strength: float
    """The inverse penalty that was used; infinite where nothing was fitted."""
    num_judged: int
    num_unjudged: int
    is_far_from_raw: bool
    """The raw win rate is so far off that the fit may have failed (the source's rule)."""


def control_length(
    comparison: Comparison,
    *,
    difficulty: Mapping[Any, float] | None = None,
    gamed: GamedRows | None = None,
    gamed_weight: float = 0.2,
    strength: float | None = None,
    is_baseline: bool = False,
) -> LengthControlled:
    """Fit logit p = theta + phi tanh(length difference) + psi difficulty, and drop the length.

    Args:
        difficulty: Of each instruction; without it that term is left out.
        gamed: Rows without theta; there should be two gamed baselines, which share the weight.
        gamed_weight: The source's lambda; each gamed row weighs half of it, a judged row 1.
        strength: Inverse of the L1 penalty; None chooses among ten by cross-validation.
        is_baseline: The model is the baseline itself: 50 by definition, whatever was judged.

    Raises:
        DataError: Fewer than five instructions were judged, or one has no difficulty.
        ConfigError: A setting is out of range, or scikit-learn is not installed.
    """
    import numpy as np

    number("gamed_weight", gamed_weight, 0)
    flag("is_baseline", is_baseline)
    if strength is not None:
        number("strength", strength, 1e-12)
    judged = np.flatnonzero(~np.isnan(comparison.preference))
    names = [comparison.instructions[row] for row in judged]
    if len(set(names)) < NUM_FOLDS:
        raise DataError(
            f"{len(set(names))} of {len(comparison.preference)} instructions were judged; "
            f"at least {NUM_FOLDS} are needed"
        )
    preference = comparison.preference[judged]
    difference = (comparison.baseline_lengths - comparison.model_lengths)[judged]
    deviation = float(np.std(difference, ddof=1))
    hardness = _find(difficulty, names)
    weights = LengthWeights()
    if not is_baseline and not (deviation == 0 and bool((preference == 0.5).all())):
        standard = difference / deviation if deviation else difference * 0
        columns = [np.tanh(standard), hardness, np.ones(len(judged))]
        rows = _Rows.of(columns, preference, np.ones(len(judged)), names)
        if gamed is not None:
            rows = _with_gamed(rows, gamed, _find(difficulty, gamed.instructions), gamed_weight)
        strength = _choose_strength(rows) if strength is None else strength
        length, hard, model = map(float, _coefficients(rows, strength))
        weights = LengthWeights(model=model, length=length, difficulty=hard)
    else:
        strength = math.inf
    rate = rate_from_weights(weights, hardness)
    return LengthControlled(
        rate=rate,
        weights=weights,
        deviation=deviation,
        strength=strength,
        num_judged=len(judged),
        num_unjudged=len(comparison.preference) - len(judged),
        is_far_from_raw=_is_far(float(preference.mean() * 100), rate.rate),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """R rows for a regression whose targets are probabilities."""

    features: Floats
    """[R, 3]: length, difficulty, whether it is of the model."""
    target: Floats
    weight: Floats
    names: tuple[Hashable, ...]

    @classmethod
    def of(cls, columns: list[Floats], target: Floats, weight: Floats, names: Any) -> _Rows:
        import numpy as np

        return cls(np.column_stack(columns), target, weight, tuple(names))


def _with_gamed(rows: _Rows, gamed: GamedRows, hardness: Floats, weight: float) -> _Rows:
    import numpy as np

    count = len(gamed.preference)
    columns = [np.tanh(gamed.length_difference), hardness, np.zeros(count)]
    return _Rows(
        np.vstack([np.column_stack(columns), rows.features]),
        np.concatenate([gamed.preference, rows.target]),
        np.concatenate([np.full(count, weight / 2), rows.weight]),
        (*gamed.instructions, *rows.names),
    )


def _coefficients(rows: _Rows, strength: float, kept: Any = slice(None)) -> Floats:
    """Fit the rows [R, 3], each once as a win and once as a loss."""
    import numpy as np

    features, target, weight = rows.features[kept], rows.target[kept], rows.weight[kept]
    regression = imported("sklearn.linear_model").LogisticRegression(
        C=strength,
        fit_intercept=False,
        random_state=SEED,
        tol=TOLERANCE,
        max_iter=10_000,
        **lasso_settings(),
    )
    regression.fit(
        np.vstack([features, features]),
        np.repeat([1, 0], len(target)),
        sample_weight=np.concatenate([target * weight, (1 - target) * weight]),
    )
    found: Floats = regression.coef_[0]
    return found


def lasso_settings() -> dict[str, Any]:
    """Return what asks scikit-learn's logistic regression for an L1 penalty by liblinear."""
    version = imported("sklearn").__version__.split(".")
    # From 1.8 on `penalty` is deprecated; before it `l1_ratio` is for the elastic net alone.
    is_new = (int(version[0]), int(version[1])) >= (1, 8)
    return {"solver": "liblinear", **({"l1_ratio": 1.0} if is_new else {"penalty": "l1"})}


def _choose_strength(rows: _Rows) -> float:
    """Return the inverse penalty of the best mean log likelihood over folds of instructions."""
    import numpy as np

    strengths = np.logspace(-4, 4, 10)
    places = {name: place for place, name in enumerate(dict.fromkeys(rows.names))}
    groups = [places[name] for name in rows.names]
    folds = imported("sklearn.model_selection").GroupKFold(NUM_FOLDS)
    totals = np.zeros(len(strengths))
    for kept, held in folds.split(rows.features, groups=groups):
        target, weight = rows.target[held], rows.weight[held]
        for place, strength in enumerate(strengths):
            logit = rows.features[held] @ _coefficients(rows, strength, kept)
            loss = target * np.logaddexp(0, -logit) + (1 - target) * np.logaddexp(0, logit)
            totals[place] -= np.mean(weight * loss)
    return float(strengths[totals.argmax()])


def _is_far(raw: float, controlled: float) -> bool:
    least = min(raw - raw / 4, raw - 10)
    most = max(raw + (100 - raw) / 4, raw + 10)
    return not least <= controlled <= most


def _find(difficulty: Mapping[Any, float] | None, names: Any) -> Floats:
    import numpy as np

    if difficulty is None:
        return np.zeros(len(names))
    for name in names:
        if name not in difficulty:
            raise DataError(f"instruction {name!r} has no difficulty")
    return finite("the difficulties", np.array([difficulty[name] for name in names], dtype=float))


def _column(name: str, values: Any, size: int) -> Floats:
    import numpy as np

    try:
        column = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise DataError(f"{name} is no column of numbers: {exc}") from exc
    if column.shape != (size,):
        raise DataError(f"{name} has the shape {column.shape}; {size} instructions were given")
    return column

"""Off-policy evaluation: what another policy would have earned, from a log of choices by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.errors import DataError
from motet.search.settings import number, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Logged:
    """A log of N choices. Where actions of a target were never possible, no estimate is right.

    Raises:
        DataError: Lengths differ, the log is empty, a number is not finite, or a propensity is
            missing, 0 or above 1; names the entry.
    """

    rows: NDArray[np.int64]
    """[N], the row of each entry's context in tables of P contexts."""
    actions: NDArray[np.int64]
    """[N], counted from 0."""
    rewards: Floats
    """[N]."""
    propensities: Floats
    """[N], with what probability the logging policy chose the action; above 0, to 1."""

    def __post_init__(self) -> None:
        import numpy as np

        for name in ("rows", "actions"):
            object.__setattr__(self, name, _places(name, getattr(self, name)))
        for name in ("rewards", "propensities"):
            try:
                floats = np.asarray(getattr(self, name), dtype=np.float64)
            except (TypeError, ValueError) as exc:
                raise DataError(f"{name} of the log are no numbers: {exc}") from exc
            object.__setattr__(self, name, floats)
        shapes = {
            name: getattr(self, name).shape
            for name in ("rows", "actions", "rewards", "propensities")
        }
        if len(set(shapes.values())) > 1 or self.rows.ndim != 1 or not len(self.rows):
            raise DataError(f"the log has shapes {shapes}; all must be [N], with N at least 1")
        if not np.isfinite(self.rewards).all():
            entry = int(np.argmin(np.isfinite(self.rewards)))
            raise DataError(f"the reward of entry {entry} is {self.rewards[entry]}")
        is_known = (self.propensities > 0) & (self.propensities <= 1)
        if not is_known.all():
            entry = int(np.argmin(is_known))
            raise DataError(
                f"the propensity of entry {entry} is {self.propensities[entry]}; it must be above"
                " 0, at most 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValue:
    """An estimate of the mean reward of a target policy."""

    value: float
    standard_error: float | None
    """None for a log of one entry."""
    effective_size: float
    """Squared sum of the weights over the sum of their squares; 0 where all are 0."""
    largest_weight: float
    """Before clipping."""
    clipped: int
    """Entries whose weight was cut to the clip; where it is not 0, the estimate is biased."""


def inverse_propensity(log: Logged, target: Floats, *, clip: float | None = None) -> PolicyValue:
    """Weigh each reward by how much likelier the target takes the action.

    Source: Horvitz and Thompson 1952; clipping as in Ionides 2008. Unbiased without clipping.

    Args:
        target: [P, M], probability of each action in each context.
        clip: Largest weight, above 0; None for no limit.

    Raises:
        DataError: The target's rows are no distributions, or lack a row or action of the log.
        ConfigError: `clip` is not above 0.
    """
    weights = _Weights.of(log, target, clip)
    return weights.answer(weights.used * log.rewards)


def self_normalised(log: Logged, target: Floats, *, clip: float | None = None) -> PolicyValue:
    """As `inverse_propensity`, divided by the sum of the weights: it stays among the rewards.

    Source: Swaminathan and Joachims 2015 (SNIPS), NeurIPS. The bias vanishes as the log grows; the
    standard error is by linearisation.

    Raises:
        DataError: As there, or the target never takes an action of the log.
        ConfigError: `clip` is not above 0.
    """
    weights = _Weights.of(log, target, clip)
    total = float(weights.used.sum())
    if total <= 0:
        raise DataError("the target takes no action of the log, so that no entry has a weight")
    value = float(weights.used @ log.rewards) / total
    scale = len(log.rows) / total
    return weights.answer(value + scale * weights.used * (log.rewards - value), value)


def doubly_robust(
    log: Logged, target: Floats, estimates: Floats, *, clip: float | None = None
) -> PolicyValue:
    """Take a model's rewards of the target, and weigh only what the model missed.

    Source: Dudik, Langford and Li 2011, arXiv:1103.4601. Without clipping unbiased whatever the
    model, as the propensities are known; the better the model, the less the variance.

    Args:
        estimates: [P, M], reward expected of each action in each context, by a model that was not
            trained on this log.

    Raises:
        DataError: As in `inverse_propensity`, or the estimates are of another shape or not finite.
        ConfigError: `clip` is not above 0.
    """
    import numpy as np

    weights = _Weights.of(log, target, clip)
    expected = np.asarray(estimates, dtype=np.float64)
    if expected.shape != weights.target.shape:
        raise DataError(f"estimates have shape {expected.shape}; target {weights.target.shape}")
    if not np.isfinite(expected).all():
        row, action = np.argwhere(~np.isfinite(expected))[0]
        raise DataError(f"the estimate of action {action} in context {row} is not finite")
    by_model = (weights.target * expected).sum(axis=1)[log.rows]
    missed = log.rewards - expected[log.rows, log.actions]
    return weights.answer(by_model + weights.used * missed)


def chosen(choices: Sequence[int], num_actions: int) -> Floats:
    """Return the target [P, M] that takes one action in each context, for sure.

    Raises:
        DataError: A choice is no action.
    """
    import numpy as np

    whole("num_actions", num_actions)
    places = _places("choices", choices)
    if places.ndim != 1 or (places >= num_actions).any():
        raise DataError(f"a choice is no action; there are {num_actions}, counted from 0")
    rows: Floats = np.eye(num_actions)[places]
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    target: Floats
    raw: Floats
    used: Floats

    @classmethod
    def of(cls, log: Logged, target: Any, clip: float | None) -> _Weights:
        import numpy as np

        if clip is not None:
            number("clip", clip, math.ulp(0.0))
        table = np.asarray(target, dtype=np.float64)
        if table.ndim != 2:
            raise DataError(f"the target has shape {table.shape}; it must be [P, M]")
        if log.rows.max() >= table.shape[0] or log.actions.max() >= table.shape[1]:
            raise DataError(
                f"the target has shape {table.shape}; the log has context {log.rows.max()} and"
                f" action {log.actions.max()}"
            )
        is_right = (table >= 0).all(axis=1) & (np.abs(table.sum(axis=1) - 1) < 1e-6)
        if not is_right.all():
            row = int(np.argmin(is_right))
            raise DataError(f"row {row} of the target is no distribution over actions")
        raw = table[log.rows, log.actions] / log.propensities
        return cls(table, raw, raw if clip is None else np.minimum(raw, clip))

    def answer(self, terms: Floats, value: float | None = None) -> PolicyValue:
        """Return the mean of the terms, or `value`, with the error of a mean of the terms."""
        n, squares = len(terms), float(self.used @ self.used)
        return PolicyValue(
            value=float(terms.mean()) if value is None else value,
            standard_error=float(terms.std(ddof=1)) / math.sqrt(n) if n > 1 else None,
            effective_size=float(self.used.sum()) ** 2 / squares if squares else 0.0,
            largest_weight=float(self.raw.max()),
            clipped=int((self.raw > self.used).sum()),
        )


def _places(name: str, values: Any) -> NDArray[np.int64]:
    import numpy as np

    found = np.asarray(values)
    is_whole = np.issubdtype(found.dtype, np.integer)
    if found.size and (not is_whole or (found < 0).any()):
        raise DataError(f"{name} must be whole numbers, at least 0")
    return found.astype(np.int64)

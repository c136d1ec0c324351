"""LinUCB: UCB where an arm's mean reward is linear in the context."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.errors import DataError
from motet.routing.bandits.bandit import check_arm, check_range, check_reward
from motet.search.settings import number, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats


@dataclass(frozen=True, slots=True, eq=False)
class LinearArms:
    """Sums over contexts x and rewards r of K arms; D is the size of a context."""

    inverses: tuple[Floats, ...]
    """K of [D, D]: the inverse of ridge * I + sum of x xT."""
    moments: tuple[Floats, ...]
    """K of [D]: the sum of r x."""
    counts: tuple[int, ...]

    def __eq__(self, other: object) -> bool:
        import numpy as np

        if not isinstance(other, LinearArms) or self.counts != other.counts:
            return False
        pairs = zip((*self.inverses, *self.moments), (*other.inverses, *other.moments), strict=True)
        return all(np.array_equal(one, two) for one, two in pairs)

    __hash__ = None  # type: ignore[assignment]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "inverses": [each.tolist() for each in self.inverses],
            "moments": [each.tolist() for each in self.moments],
            "counts": list(self.counts),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LinearArms:
        """Read what `to_json` wrote.

        Raises:
            DataError: A field is missing or does not fit.
        """
        import numpy as np

        try:
            inverses = np.asarray(value["inverses"], dtype=np.float64)
            moments = np.asarray(value["moments"], dtype=np.float64)
            counts = tuple(int(count) for count in value["counts"])
        except (KeyError, TypeError, ValueError) as exc:
            raise DataError(f"this is no state of LinUCB: {type(exc).__name__}: {exc}") from exc
        shape = (len(counts), *moments.shape[1:])
        if moments.shape != shape or len(shape) != 2 or inverses.shape != (*shape, shape[1]):
            raise DataError(
                f"inverses {inverses.shape}, moments {moments.shape} and {len(counts)} counts do"
                " not agree"
            )
        if not np.isfinite(inverses).all() or not np.isfinite(moments).all() or min(counts) < 0:
            raise DataError("a state of LinUCB has finite numbers, and counts of 0 or more")
        return cls(tuple(inverses), tuple(moments), counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinUCB:
    """Choose the highest x . theta + alpha * sqrt(xT inverse x); ties go to the first arm.

    Source: Li et al. 2010, arXiv:1003.0146, algorithm 1 (one theta an arm), with the alpha of
    EVOLvE. Ties are not broken by chance. Rewards are not discounted.
    """

    dimensions: int
    """Size of a context."""
    alpha: float = 0.5
    """0 or more; larger explores more. It supposes rewards that range over about 1."""
    ridge: float = 1.0
    """Weight of the prior that theta is 0, above 0."""
    rewards: tuple[float, float] | None = (0.0, 1.0)
    """Rewards outside are refused; None takes every finite one."""

    def __post_init__(self) -> None:
        whole("dimensions", self.dimensions, 1, 10_000)
        number("alpha", self.alpha, 0.0)
        number("ridge", self.ridge, 1e-9)
        check_range(self.rewards)

    def init(self, num_arms: int) -> LinearArms:
        import numpy as np

        whole("num_arms", num_arms, 1, 1_000_000)
        inverse, moment = np.eye(self.dimensions) / self.ridge, np.zeros(self.dimensions)
        return LinearArms((inverse,) * num_arms, (moment,) * num_arms, (0,) * num_arms)

    def theta(self, state: LinearArms, arm: int) -> Floats:
        """Return the weights [D] of an arm."""
        found: Floats = state.inverses[arm] @ state.moments[arm]
        return found

    def value(self, state: LinearArms, arm: int, context: Any) -> float:
        """Return the reward expected of an arm."""
        return float(self._checked(context) @ self.theta(state, arm))

    def bonus(self, state: LinearArms, arm: int, context: Any) -> float:
        """Return what an arm is worth for being unknown in this context."""
        x = self._checked(context)
        return self.alpha * math.sqrt(max(float(x @ state.inverses[arm] @ x), 0.0))

    def choose(self, state: LinearArms, context: Any = None, *, step: int | None = None) -> int:
        x = self._checked(context)
        values = []
        for inverse, moment in zip(state.inverses, state.moments, strict=True):
            reach = inverse @ x
            bonus = self.alpha * math.sqrt(max(float(x @ reach), 0.0))
            values.append(float(reach @ moment) + bonus)
        return values.index(max(values))

    def update(
        self,
        state: LinearArms,
        arm: int,
        reward: float,
        context: Any = None,
        *,
        step: int | None = None,
    ) -> LinearArms:
        """Return the state that knows of a reward; in any order the same but for rounding."""
        import numpy as np

        arm = check_arm(arm, len(state.counts))
        value, x = check_reward(reward, self.rewards), self._checked(context)
        reach = state.inverses[arm] @ x
        inverse = state.inverses[arm] - np.outer(reach, reach) / (1.0 + float(x @ reach))
        moment = state.moments[arm] + value * x
        rest = slice(arm + 1, None)
        return LinearArms(
            (*state.inverses[:arm], inverse, *state.inverses[rest]),
            (*state.moments[:arm], moment, *state.moments[rest]),
            (*state.counts[:arm], state.counts[arm] + 1, *state.counts[rest]),
        )

    def _checked(self, context: Any) -> Floats:
        import numpy as np

        if context is None:
            raise DataError(f"the context is missing; it must be {self.dimensions} numbers")
        try:
            x = np.asarray(context, dtype=np.float64)
        except (TypeError, ValueError) as exc:
            raise DataError(f"the context is {type(context).__name__}: {exc}") from exc
        if x.shape != (self.dimensions,):
            raise DataError(f"the context has shape {x.shape}; it must be ({self.dimensions},)")
        if not np.isfinite(x).all():
            raise DataError("the context has a value that is not finite")
        return x

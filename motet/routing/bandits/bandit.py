"""The shape of every bandit, and the checks of what it is told."""

from __future__ import annotations

import operator
from typing import Any, Final, Protocol, TypeVar

from motet.errors import ConfigError, DataError
from motet.search.settings import number

StateT = TypeVar("StateT")

MOST: Final = 1e100
"""Largest reward in size; the sum of its squares is still finite."""


class Bandit(Protocol[StateT]):
    """A frozen dataclass of settings; what it has learned stands in a frozen state.

    Arms are numbered from 0. Where many calls are under way, give each its own `step`, counted from
    0, both when choosing and when its reward comes: rewards may come late and in any order.
    Without it, a step is numbered one above the newest that has its reward, so that all that is
    chosen before the next reward is the same arm.
    """

    def init(self, num_arms: int) -> StateT:
        """Return the state before the first reward."""
        ...

    def choose(self, state: StateT, context: Any = None, *, step: int | None = None) -> int:
        """Return the arm to try; a function of the settings, the state, the context and the step.

        Raises:
            DataError: The context does not fit.
        """
        ...

    def update(
        self,
        state: StateT,
        arm: int,
        reward: float,
        context: Any = None,
        *,
        step: int | None = None,
    ) -> StateT:
        """Return the state that knows of a reward.

        Raises:
            DataError: No such arm, a reward out of range, or a context that does not fit.
        """
        ...


def check_arm(arm: Any, num_arms: int) -> int:
    """Return an arm's number.

    Raises:
        DataError: There is no such arm; names it, and how many there are.
    """
    found = _whole(arm)
    if found is None or not 0 <= found < num_arms:
        raise DataError(f"there is no arm {arm!r}; there are {num_arms}, counted from 0")
    return found


def check_range(bounds: tuple[float, float] | None) -> None:
    """Refuse what is no range of rewards.

    Raises:
        ConfigError: The setting `rewards` is not (low, high), or low is above high.
    """
    if bounds is not None:
        if not isinstance(bounds, tuple) or len(bounds) != 2:
            raise ConfigError(f"rewards is {bounds!r}; it must be (low, high) or None")
        low, high = bounds
        number("the low end of rewards", low, -MOST, MOST)
        number("the high end of rewards", high, low, MOST)


def check_reward(reward: Any, bounds: tuple[float, float] | None) -> float:
    """Return a reward as a float.

    Raises:
        DataError: It is no number within `bounds`, or no finite one where there are none.
    """
    low, high = bounds or (-MOST, MOST)
    try:
        value = float(reward)
    except (TypeError, ValueError, OverflowError) as exc:
        raise DataError(f"the reward is {reward!r}; it must be a number") from exc
    if not low <= value <= high:
        raise DataError(f"the reward is {value}; it must be a number from {low:g} to {high:g}")
    return value


def check_step(step: Any, default: int) -> int:
    """Return a step's number, or the default where it is None.

    Raises:
        DataError: It is no whole number of 0 or more.
    """
    if step is None:
        return default
    number_of_step = _whole(step)
    if number_of_step is None or number_of_step < 0:
        raise DataError(f"step is {step!r}; it must be a whole number, at least 0")
    return number_of_step


def _whole(value: Any) -> int | None:
    try:
        return operator.index(value)
    except TypeError:
        return None

"""Where sync steps run: quick ones on the event loop, others in threads."""

from __future__ import annotations

_QUICK_S = 0.0005
_SLOW_S = 0.005


class StepTimes:
    """How long a step has taken so far.

    A step is quick once it was seen to be; one slow call sends it back to threads for good, so
    that it holds up the event loop once at most.
    """

    __slots__ = ("_is_slow", "_mean_s")

    def __init__(self) -> None:
        self._mean_s: float | None = None
        self._is_slow = False

    @property
    def is_quick(self) -> bool:
        return not self._is_slow and self._mean_s is not None and self._mean_s < _QUICK_S

    def add(self, seconds: float) -> None:
        if seconds > _SLOW_S:
            self._is_slow = True
        mean = self._mean_s
        self._mean_s = seconds if mean is None else 0.9 * mean + 0.1 * seconds

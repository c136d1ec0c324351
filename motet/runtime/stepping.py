"""Where sync steps run: quick ones on the event loop, others in threads."""

from __future__ import annotations

_QUICK_S = 0.0005
_SLOW_S = 0.001
_QUICK_PER_SLOW = 200


class StepTimes:
    """How long a step has taken so far.

    A step is quick once it was seen to be. A slow call now and then does not count against it,
    since a pause of the garbage collector may have fallen into it; a second one among few does,
    so that a slow step holds up the event loop twice at most.
    """

    __slots__ = ("_num_quick", "_num_slow")

    def __init__(self) -> None:
        self._num_quick = 0
        self._num_slow = 0

    @property
    def is_quick(self) -> bool:
        quick = self._num_quick
        return quick > 0 and self._num_slow <= 1 + quick // _QUICK_PER_SLOW

    def add(self, seconds: float) -> None:
        if seconds < _QUICK_S:
            self._num_quick += 1
        elif seconds > _SLOW_S:
            self._num_slow += 1

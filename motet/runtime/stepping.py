"""Where sync steps run: quick ones on the event loop, others in threads."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from motet.calls import Call
from motet.errors import StepError
from motet.operations import Step, user_error
from motet.refs import SCOPE

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


class StepRunner:
    """Runs sync steps where they belong."""

    def __init__(self) -> None:
        self._times: dict[Step[Any], StepTimes] = {}
        self._threads: ThreadPoolExecutor | None = None

    def is_quick(self, operation: Step[Any]) -> bool:
        times = self._times.get(operation)
        if times is None:
            times = self._times[operation] = StepTimes()
        return times.is_quick

    def run_here(self, call: Call, operation: Step[Any], values: tuple[Any, ...]) -> Any:
        """Run a quick step on the event loop."""
        began = time.perf_counter()
        scope = call.scope
        try:
            if scope is None:
                value = operation.parameters.invoke(values)
            else:
                token = SCOPE.set(scope)
                try:
                    value = operation.parameters.invoke(values)
                finally:
                    SCOPE.reset(token)
        except asyncio.CancelledError as exc:  # a user's, since nobody cancels a sync step
            raise step_error(call, exc) from exc
        self._times[operation].add(time.perf_counter() - began)
        return value

    async def run_in_thread(self, call: Call, operation: Step[Any], values: tuple[Any, ...]) -> Any:
        """Run a step beside the event loop; `motet.current` works in it."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(64, thread_name_prefix="motet-step")
        SCOPE.set(call.scope)
        context = copy_context()

        def work() -> Any:
            began = time.perf_counter()
            try:
                return context.run(operation.parameters.invoke, values)
            except (StopIteration, asyncio.CancelledError) as exc:
                raise step_error(call, exc) from exc  # a future cannot carry these
            finally:
                self._times[operation].add(time.perf_counter() - began)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def step_error(call: Call, exc: BaseException) -> StepError:
    """Wrap what a user's function raised."""
    return user_error(call.ref, exc)

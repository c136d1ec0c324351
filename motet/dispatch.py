"""One dispatcher an engine: how many requests are in flight, and which are tried again."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.errors import ConfigError, EngineError, EngineUnavailableError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from motet.engine import Engine, OnDelta, Reply, Request

_MAX_RETRY_AFTER_S = 120.0
_DECREASE = 0.7
_FIRST_ATTEMPTS = 4
"""Of a request to an engine that has never answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently to try again."""

    max_attempts: int = 6
    initial_wait_s: float = 0.25
    """Most seconds before the second attempt; it doubles with each further one."""
    max_wait_s: float = 30.0
    """Most seconds between attempts, where the engine names none."""

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ConfigError(f"max_attempts is {self.max_attempts}; it must be at least 1")
        for name in ("initial_wait_s", "max_wait_s"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ConfigError(f"{name} is {value}; it must be a finite number, 0 or more")


class Dispatcher:
    """Sends requests to an engine: the only place that limits concurrency and retries.

    The limit adapts: a 429 or an unavailable engine cuts it to 0.7, once for all requests that were
    in flight together, and each limit's worth of successes adds one, up to `max_concurrency`.
    `Retry-After` holds back every request, not only the one that met it; more than 120 s are not
    obeyed. A waiting retry takes no slot. Where an engine has never answered, a request has 4
    attempts; once a request has used up its attempts, others have 1 until one is answered.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_concurrency: int | None = None,
        retry: RetryPolicy = RetryPolicy(),
        seed: int = 0,
    ) -> None:
        """Start with the limit at its most.

        Args:
            engine: What answers.
            max_concurrency: Most requests in flight; the engine's own where None.
            retry: When to give up.
            seed: Of the jitter between attempts.
        """
        if max_concurrency is not None and max_concurrency < 1:
            raise ConfigError(f"max_concurrency is {max_concurrency}; it must be at least 1")
        self._engine = engine
        self._max = max_concurrency or engine.max_concurrency
        self._retry = retry
        self._rng = random.Random(seed)
        self._limit = self._max
        self._in_flight = 0
        self._num_successes = 0
        """Since the limit last changed."""
        self._num_cuts = 0
        self._has_answered = False
        self._is_down = False
        """Whether a request has used up its attempts and none was answered since."""
        self._resume_at_s = 0.0
        """No dispatch before this time of the monotonic clock."""
        self._alarm_loop: asyncio.AbstractEventLoop | None = None
        """Where a timer for the end of the pause is set."""
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        """A heap of (-height, arrival, slot); cancelled ones stay until they come up."""
        self._num_waiting = 0
        self._arrivals = itertools.count()

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def limit(self) -> int:
        """Most requests in flight, as it is now."""
        return self._limit

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot; those between two attempts do not count."""
        return self._num_waiting

    async def complete(
        self,
        request: Request,
        *,
        height: int = 0,
        on_delta: OnDelta | None = None,
        on_attempt: Callable[[int], None] | None = None,
        on_retry: Callable[[int, EngineError, float], None] | None = None,
    ) -> Reply:
        """Answer `request`, trying again where the error is `retryable`.

        Args:
            request: What to send.
            height: Length of the path that waits for this; the higher is served first, equal
                ones in the order of arrival.
            on_delta: Gets the text while it is generated; a retry starts again from its beginning.
            on_attempt: Gets the attempt's number, from 1, before each.
            on_retry: Gets the failed attempt's number, its error, and the seconds until the next.

        Raises:
            EngineError: the last attempt's, with a note on the number of attempts.
        """
        arrival = next(self._arrivals)
        attempt = 0
        while True:
            attempt += 1
            if self._queue or self._resume_at_s or self._in_flight >= self._limit:
                await self._wait_for_slot(height, arrival)
            else:
                self._in_flight += 1
            num_cuts = self._num_cuts
            try:
                if on_attempt is not None:
                    on_attempt(attempt)
                reply = await self._engine.complete(request, on_delta)
            except EngineError as error:
                self._note_failure(error, num_cuts)
                if not error.retryable:
                    raise
                if attempt >= self._most_attempts(error):
                    self._is_down = isinstance(error, EngineUnavailableError)
                    error.add_note(f"gave up after {attempt} attempt{'s' if attempt > 1 else ''}")
                    raise
                wait_s = self._wait_s(error, attempt)
                failure = error
            else:
                self._has_answered = True
                self._is_down = False
                if self._limit < self._max:
                    self._note_success()
                return reply
            finally:
                self._in_flight -= 1
                if self._queue:
                    self._admit()
            if on_retry is not None:
                on_retry(attempt, failure, wait_s)
            del failure
            await asyncio.sleep(wait_s)

    def _most_attempts(self, error: EngineError) -> int:
        """How often to try: an engine that is not there is not waited for by every call anew."""
        most = self._retry.max_attempts
        if not isinstance(error, EngineUnavailableError):
            return most
        if self._is_down:
            return 1
        return most if self._has_answered else min(most, _FIRST_ATTEMPTS)

    async def _wait_for_slot(self, height: int, arrival: int) -> None:
        """Return with a slot taken."""
        loop = asyncio.get_running_loop()
        slot: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._queue, (-height, arrival, slot))
        self._num_waiting += 1
        if self._resume_at_s:
            self._set_alarm()
        self._admit()
        try:
            await slot
        except asyncio.CancelledError:
            # The slot may have been granted in the moment before the cancellation.
            if slot.done() and not slot.cancelled():
                self._in_flight -= 1
                self._admit()
            else:
                self._num_waiting -= 1
            raise

    def _admit(self) -> None:
        """Grant free slots to those who wait, the highest first."""
        if self._resume_at_s:
            if time.monotonic() < self._resume_at_s:
                return
            self._resume_at_s = 0.0
        queue = self._queue
        while queue and (self._in_flight < self._limit or queue[0][2].done()):
            slot = heapq.heappop(queue)[2]
            if not slot.done():
                self._in_flight += 1
                self._num_waiting -= 1
                slot.set_result(None)

    def _set_alarm(self) -> None:
        """Have the waiters looked at when the pause ends, by one timer however many there are."""
        loop = asyncio.get_running_loop()
        if self._alarm_loop is not loop:
            self._alarm_loop = loop
            loop.call_later(max(0.0, self._resume_at_s - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm_loop = None
        # The pause may have grown since, and timers may fire a little early.
        if time.monotonic() < self._resume_at_s:
            self._set_alarm()
        else:
            self._admit()

    def _note_success(self) -> None:
        self._num_successes += 1
        if self._num_successes >= self._limit:
            self._num_successes = 0
            self._limit += 1

    def _note_failure(self, error: EngineError, num_cuts: int) -> None:
        if not isinstance(error, (EngineUnavailableError, RateLimitedError)):
            return
        # A request sent before the last cut says nothing about the limit since.
        if num_cuts == self._num_cuts:
            self._num_cuts += 1
            self._num_successes = 0
            self._limit = max(1, int(self._limit * _DECREASE))
        if error.retry_after_s:
            pause_s = min(error.retry_after_s, _MAX_RETRY_AFTER_S)
            self._resume_at_s = max(self._resume_at_s, time.monotonic() + pause_s)
            self._set_alarm()

    def _wait_s(self, error: EngineError, attempt: int) -> float:
        retry_after_s: float | None = getattr(error, "retry_after_s", None)
        if retry_after_s is not None:
            return min(retry_after_s, _MAX_RETRY_AFTER_S)
        from tenacity import RetryCallState, Retrying, wait_exponential

        longest = wait_exponential(self._retry.initial_wait_s, self._retry.max_wait_s)
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = attempt
        return longest(state) * self._rng.uniform(0.5, 1.0)

"""Calls from any event loop to the one that vLLM runs on, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
Work: TypeAlias = "Callable[[Call[T]], Awaitable[T]]"

logger = logging.getLogger(__name__)


class Call(Generic[T]):
    """One call: made on the caller's loop, carried out as a task of the engine's."""

    def __init__(self, work: Work[T]) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        """Belongs to the caller's loop."""
        self.work = work
        self.task: asyncio.Task[None] | None = None
        self.is_over = False
        """Whether the work has ended, or is to."""
        self._bridge: Bridge | None = None

    def report(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function` on the caller's loop, in order; what it raises fails the call."""
        assert self._bridge is not None
        self._bridge.send(self, lambda: self._deliver(function, arguments))

    def resolve(self, result: T | BaseException) -> None:
        """Give the caller the work's outcome; runs on the caller's loop."""
        self.is_over = True
        if self.future.done():
            return
        if isinstance(result, BaseException):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Give the caller `error` from any thread, which aborts the work."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def _deliver(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self.future.done():
            return
        try:
            function(*arguments)
        except Exception as exc:
            self._fail(exc)


class Bridge:
    """The engine's side: starts calls as tasks, and sends what they report once a turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: set[Call[Any]] = set()
        self._outbox: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = defaultdict(list)
        self._is_flush_due = False
        self._closing: Callable[[], Exception] | None = None

    async def carry_out(self, call: Call[T]) -> T:
        """Run the call's work on the engine's loop; runs on the caller's.

        Cancelling this cancels the work, which aborts its requests in the engine.
        """
        call._bridge = self
        try:
            self._loop.call_soon_threadsafe(self._begin, call)
        except RuntimeError:
            assert self._closing is not None
            raise self._closing() from None
        try:
            return await call.future
        finally:
            if not call.is_over:
                call.is_over = True
                self.tell(lambda: self._abort(call))

    def send(self, call: Call[Any], delivery: Callable[[], None]) -> None:
        """Queue `delivery` for the caller's loop; all of one turn leave together."""
        self._outbox[call.loop].append(delivery)
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def tell(self, function: Callable[[], None]) -> None:
        """Call `function` on the engine's loop, from any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    async def close(self, error: Callable[[], Exception]) -> None:
        """Abort what runs; its callers, and later ones, get an `error`."""
        self._closing = error
        tasks = [call.task for call in self._calls if call.task is not None]
        for call in list(self._calls):
            self._resolve(call, error())
            self._abort(call)
        self._flush()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)

    def _begin(self, call: Call[Any]) -> None:
        if call.is_over:
            return
        if self._closing is not None:
            self._resolve(call, self._closing())
            return
        self._calls.add(call)
        call.task = self._loop.create_task(self._run(call))

    async def _run(self, call: Call[Any]) -> None:
        try:
            self._resolve(call, await call.work(call))
        except Exception as exc:
            self._resolve(call, exc)
        finally:
            self._calls.discard(call)

    def _resolve(self, call: Call[Any], result: Any) -> None:
        self.send(call, lambda: call.resolve(result))

    @staticmethod
    def _abort(call: Call[Any]) -> None:
        if call.task is not None:
            call.task.cancel()

    def _flush(self) -> None:
        self._is_flush_due = False
        for loop, deliveries in self._outbox.items():
            try:
                loop.call_soon_threadsafe(_call_all, deliveries)
            except RuntimeError:
                logger.debug("an event loop was closed while its request ran")
        self._outbox.clear()


def _call_all(deliveries: list[Callable[[], None]]) -> None:
    for deliver in deliveries:
        deliver()

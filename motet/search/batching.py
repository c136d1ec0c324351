"""Join the batches of searches that run side by side into one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from motet.search.settings import function, whole
from motet.search.tools import call_batch


@dataclass(eq=False, slots=True)
class _Caller:
    batch: list[Any]
    future: asyncio.Future[list[Any]]
    results: list[Any] = field(default_factory=list)
    num_left: int = 0

    def put(self, place: int, result: Any) -> None:
        self.results[place] = result
        self.num_left -= 1
        if not self.num_left and not self.future.done():
            self.future.set_result(self.results)


class Joined:
    """A callable over batches, which joins what concurrent tasks ask for into larger ones.

    What tasks ask for within two turns of the event loop goes into one call of `call`, in the order
    in which it came; what is too much for one call goes into several side by side. A call that
    raises fails all whose members are in it. A call that nobody waits for any more is cancelled. It
    runs in the context of the first whose members wait.
    """

    def __init__(self, call: Callable[[Sequence[Any]], Any], *, most: int = 256) -> None:
        function("call", call)
        whole("most", most)
        self._call = call
        self._most = most
        """Members of one call."""
        self._waiting: list[_Caller] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, batch: Sequence[Any]) -> list[Any]:
        if not batch:
            return []
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # What a loop that was closed has left behind is nobody's.
            self._loop, self._waiting = loop, []
        if not self._waiting:
            loop.call_soon(loop.call_soon, self._send)
        caller = _Caller(list(batch), loop.create_future(), [None] * len(batch), len(batch))
        self._waiting.append(caller)
        return await caller.future

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        members = [
            (caller, place)
            for caller in waiting
            if not caller.future.done()
            for place in range(len(caller.batch))
        ]
        for start in range(0, len(members), self._most):
            self._start(members[start : start + self._most])

    def _start(self, members: list[tuple[_Caller, int]]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(members))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        callers = {caller for caller, _ in members}

        def leave(_: asyncio.Future[list[Any]]) -> None:
            if all(caller.future.cancelled() for caller in callers):
                task.cancel()

        for caller in callers:
            caller.future.add_done_callback(leave)

    async def _answer(self, members: list[tuple[_Caller, int]]) -> None:
        try:
            found = await call_batch(
                self._call, [caller.batch[place] for caller, place in members], "the joined call"
            )
        except asyncio.CancelledError:
            for caller, _ in members:
                caller.future.cancel()
            raise
        except Exception as exc:
            for caller, _ in members:
                if not caller.future.done():
                    caller.future.set_exception(exc)
            return
        for (caller, place), result in zip(members, found, strict=True):
            caller.put(place, result)

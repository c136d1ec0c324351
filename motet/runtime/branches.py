"""Tasks that a program starts are branches of it, named by the order of their creation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from weakref import WeakKeyDictionary

from motet.refs import BRANCH

_installed: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[int, Any]] = WeakKeyDictionary()


@contextmanager
def named_branches() -> Iterator[None]:
    """Name the tasks of programs on the running loop; other tasks are left alone."""
    loop = asyncio.get_running_loop()
    users, before = _installed.get(loop, (0, None))
    if users == 0:
        before = loop.get_task_factory()
        loop.set_task_factory(_factory(before))
    _installed[loop] = (users + 1, before)
    try:
        yield
    finally:
        users, before = _installed[loop]
        if users == 1:
            del _installed[loop]
            loop.set_task_factory(before)
        else:
            _installed[loop] = (users - 1, before)


def _factory(before: Any) -> Any:
    def make(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
        branch = BRANCH.get()
        if branch.live is not None:
            context = kwargs.get("context") or copy_context()
            context.run(BRANCH.set, branch.fork())
            kwargs["context"] = context
        if before is not None:
            return before(loop, coro, **kwargs)
        return asyncio.Task(coro, loop=loop, **kwargs)

    return make

"""Which requests for logprobs may run together.

vLLM's V1 runner loses the most likely tokens of a request as soon as another one of the same step
names the tokens whose logprobs it wants (`logprob_token_ids`). Here the latter do without naming
while the former run, and the former wait while the latter do, which are of one token each.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class NamedTokens:
    """Keeps the two kinds of requests of one engine apart; belongs to one event loop."""

    def __init__(self, *, can_mix: bool) -> None:
        self._can_mix = can_mix
        self._num_named = 0
        self._num_top = 0
        """Requests for the most likely tokens that run or wait."""
        self._no_named = asyncio.Event()
        self._no_named.set()

    @contextlib.asynccontextmanager
    async def top(self) -> AsyncIterator[None]:
        """Hold while a request for the most likely tokens runs."""
        self._num_top += 1
        try:
            if not self._can_mix:
                await self._no_named.wait()
            yield
        finally:
            self._num_top -= 1

    @contextlib.asynccontextmanager
    async def named(self) -> AsyncIterator[bool]:
        """Hold while a request of one token runs; say whether it may name its tokens.

        Where it may not, it asks for the logprobs of all tokens.
        """
        if self._num_top and not self._can_mix:
            async with self.top():
                yield False
            return
        self._num_named += 1
        self._no_named.clear()
        try:
            yield True
        finally:
            self._num_named -= 1
            if not self._num_named:
                self._no_named.set()

"""Limits, counts and mapped errors for problems that bring callables of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from motet.errors import ConfigError, SearchError
from motet.search.spending import Limits, Spend
from motet.search.tools import UNPAID, Lost, call_batch


class Meter:
    """What the tools of a problem build on: `spend`, `is_spent`, and calls over batches."""

    def __init__(self, limits: Limits, spend: Spend, *, step_tokens: int | None = None) -> None:
        if limits.max_tokens is not None and step_tokens is None:
            raise ConfigError(
                f"max_tokens is {limits.max_tokens}, so the problem must say step_tokens"
            )
        self._limits = limits
        self._step_tokens = step_tokens or 0
        self.spend = spend
        self.is_spent = False
        """Whether something was not asked for because a limit was reached."""

    def may_propose(self, num: int) -> int:
        """Return how many of `num` proposals the limits hold."""
        limits, held = self._limits, num
        if limits.max_proposals is not None:
            held = min(held, limits.max_proposals - self.spend.proposals)
        if limits.max_tokens is not None and self._step_tokens:
            held = min(held, (limits.max_tokens - self.spend.tokens) // self._step_tokens)
        return self._noted(max(held, 0), num)

    def may_score(self, num: int) -> int:
        """Return how many of `num` scores the limits hold."""
        most = self._limits.max_scores
        return self._noted(num if most is None else max(min(num, most - self.spend.scores), 0), num)

    def _noted(self, held: int, num: int) -> int:
        self.is_spent |= held < num
        return held

    def is_lost(self, result: Any) -> bool:
        """Whether a batch has nothing for one of its members."""
        self.is_spent |= result is UNPAID
        return isinstance(result, Lost)

    def count(self, *, proposals: int = 0, tokens: int = 0, scores: int = 0) -> None:
        """Add to what was used.

        Raises:
            SearchError: More tokens were used than the problem's `step_tokens` allows.
        """
        most = self._limits.max_tokens
        if most is not None and tokens > proposals * self._step_tokens:
            raise SearchError(
                f"{proposals} proposals used {tokens} tokens; "
                f"step_tokens, {self._step_tokens}, bounds each"
            )
        spend = self.spend
        self.spend = Spend(
            proposals=spend.proposals + proposals,
            tokens=spend.tokens + tokens,
            scores=spend.scores + scores,
        )

    async def call(self, name: str, call: Callable[[Any], Any], batch: Sequence[Any]) -> list[Any]:
        """Return what `call` gives for `batch`, one result a member.

        Raises:
            SearchError: It raised something foreign, or gave more or fewer results.
        """
        return await call_batch(call, batch, name)

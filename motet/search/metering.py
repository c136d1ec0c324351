"""Limits, counts and mapped errors for problems that bring callables of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from motet.errors import ConfigError, SearchError
from motet.search.spending import NOTHING, Limits, Spend
from motet.search.tools import UNPAID, Lost, call_batch


class Meter:
    """What the tools of a problem build on: `spend`, `is_spent`, and calls over batches.

    What `may_propose` or `may_score` grants is held back from others while the `call` that comes
    next is under way, so that a limit holds for calls side by side too. Count what a call took
    before anything else is waited for.
    """

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
        self._is_counted = (limits.max_proposals, limits.max_tokens, limits.max_scores) != (
            None,
        ) * 3
        """Whether a limit holds; else nothing need be held back."""
        self._granted = NOTHING
        """To the call that comes next."""
        self._held = NOTHING
        """What calls that are under way may use at most."""

    def may_propose(self, num: int) -> int:
        """Return how many of `num` proposals the limits hold."""
        if not self._is_counted:
            return num
        limits, used, granted = self._limits, self.spend + self._held, num
        if limits.max_proposals is not None:
            granted = min(granted, limits.max_proposals - used.proposals)
        if limits.max_tokens is not None and self._step_tokens:
            granted = min(granted, (limits.max_tokens - used.tokens) // self._step_tokens)
        granted = max(granted, 0)
        self.is_spent |= granted < num
        self._granted = Spend(proposals=granted, tokens=granted * self._step_tokens)
        return granted

    def may_score(self, num: int) -> int:
        """Return how many of `num` scores the limits hold."""
        if not self._is_counted:
            return num
        granted, most = num, self._limits.max_scores
        if most is not None:
            granted = max(min(num, most - self.spend.scores - self._held.scores), 0)
        self.is_spent |= granted < num
        self._granted = Spend(scores=granted)
        return granted

    def is_lost(self, result: Any) -> bool:
        """Whether a batch has nothing for one of its members."""
        self.is_spent |= result is UNPAID
        return isinstance(result, Lost)

    def parted(self, given: Sequence[Any]) -> tuple[list[Any], int]:
        """Return a member's results without those that were lost, and how many were not paid for."""
        if Lost not in map(type, given):
            return list(given), 0
        kept = [each for each in given if not self.is_lost(each)]
        return kept, sum(each is UNPAID for each in given)

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
        if not self._is_counted:
            return await call_batch(call, batch, name)
        granted, self._granted = self._granted, NOTHING
        self._held += granted
        try:
            return await call_batch(call, batch, name)
        finally:
            self._held -= granted

"""Limits, counts and mapped errors for problems that bring callables of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
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

    def __init__(
        self,
        limits: Limits,
        spend: Spend,
        *,
        step_tokens: int | None = None,
        tokens_aside: Callable[[], int] | None = None,
    ) -> None:
        if limits.max_tokens is not None and step_tokens is None:
            raise ConfigError(
                f"max_tokens is {limits.max_tokens}, so the problem must say step_tokens"
            )
        self._limits = limits
        self._step_tokens = step_tokens or 0
        self._tokens_aside = tokens_aside
        """Gives once what calls used beside the steps that came of them."""
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

    def may_propose(self, num: int, costs: Sequence[int] | None = None) -> int:
        """Return how many of `num` proposals the limits hold, the first ones.

        Args:
            num: Proposals.
            costs: The most tokens of each; None is `step_tokens` for all.
        """
        if not self._is_counted:
            return num
        limits, used, granted = self._limits, self.spend + self._held, num
        if limits.max_proposals is not None:
            granted = min(granted, limits.max_proposals - used.proposals)
        if limits.max_tokens is not None and self._step_tokens:
            granted = min(granted, (limits.max_tokens - used.tokens) // self._step_tokens)
        granted = max(granted, 0)
        tokens = granted * self._step_tokens
        if costs is not None and limits.max_tokens is not None:
            sums = list(accumulate(costs[:granted]))
            granted = sum(each <= limits.max_tokens - used.tokens for each in sums)
            tokens = sums[granted - 1] if granted else 0
        self.is_spent |= granted < num
        self._granted = Spend(proposals=granted, tokens=tokens)
        return granted

    def may_score(self, num: int, *, tokens: int = 0) -> int:
        """Return how many of `num` scores, of at most `tokens` each, the limits hold."""
        if not self._is_counted:
            return num
        limits, used, granted = self._limits, self.spend + self._held, num
        if limits.max_scores is not None:
            granted = min(granted, limits.max_scores - used.scores)
        if limits.max_tokens is not None and tokens:
            granted = min(granted, (limits.max_tokens - used.tokens) // tokens)
        granted = max(granted, 0)
        self.is_spent |= granted < num
        self._granted = Spend(scores=granted, tokens=granted * tokens)
        return granted

    def is_lost(self, result: Any) -> bool:
        """Whether a batch has nothing for one of its members."""
        self.is_spent |= result is UNPAID
        return isinstance(result, Lost)

    def parted(self, given: Any, name: str = "propose") -> tuple[list[Any], int]:
        """Return a member's results without those that were lost, and how many were not paid for.

        Raises:
            SearchError: They are no list.
        """
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise SearchError(f"{name} gave {given!r}; it must give a list, or be lost")
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
        if not self._is_counted and self._tokens_aside is None:
            return await call_batch(call, batch, name)
        granted, self._granted = self._granted, NOTHING
        self._held += granted
        try:
            return await call_batch(call, batch, name)
        finally:
            self._held -= granted
            if self._tokens_aside is not None:
                self.spend += Spend(tokens=self._tokens_aside())

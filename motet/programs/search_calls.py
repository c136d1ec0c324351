"""Calls of a running program, as the callables of a search use them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from motet.combinators import settled
from motet.errors import (
    BudgetExhaustedError,
    EngineError,
    MotetError,
    ProgramError,
    PromptTooLongError,
)
from motet.search.tools import FAILED, UNPAID, Lost
from motet.types import Outcome

_MOST_FAILURES: Final = 8


@dataclass(kw_only=True)
class SearchCalls:
    """Waits for batches of calls, of which some may be lost."""

    failures: list[MotetError] = field(default_factory=list)
    """The first few."""

    async def values(self, refs: list[Any]) -> list[Any]:
        """Wait for calls; return the value of each, or how it was lost."""
        outcomes = await self.settle(refs)
        return [o.value if o.is_success else self.lost(o) for o in outcomes]

    async def settle(self, refs: list[Any]) -> list[Outcome[Any]]:
        """Wait for calls; where the engine answers none of them, it is no matter of samples.

        Raises:
            EngineError, ProgramError: All calls failed so.
        """
        outcomes: list[Outcome[Any]] = await settled(refs)
        if not outcomes:
            return []
        errors = [outcome.error for outcome in outcomes]
        if all(map(_is_of_all, errors)):
            for error in errors:
                assert error is not None
                raise error
        return outcomes

    def lost(self, outcome: Outcome[Any]) -> Lost:
        if outcome.error is not None and len(self.failures) < _MOST_FAILURES:
            self.failures.append(outcome.error)
        return UNPAID if isinstance(outcome.error, BudgetExhaustedError) else FAILED


def _is_of_all(error: MotetError | None) -> bool:
    """Whether an error says something of the engine, and not of one sample."""
    is_of_one = isinstance(error, PromptTooLongError)
    return isinstance(error, (EngineError, ProgramError)) and not is_of_one

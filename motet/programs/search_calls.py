"""Calls of a running program, as the callables of a search use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from motet.combinators import settled
from motet.errors import (
    BudgetExhaustedError,
    EngineError,
    EngineUnavailableError,
    MotetError,
    ParseError,
    ProgramError,
    PromptTooLongError,
    SearchError,
    StepError,
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

    async def step_values(self, refs: list[Any]) -> list[Any]:
        """Wait for steps of the program: its environment's, say; return the value of each.

        Raises:
            StepError, SearchError: One raised, or gave what it must not: it is wrong itself.
        """
        outcomes = await self.settle(refs)
        for outcome in outcomes:
            if isinstance(outcome.error, (StepError, SearchError)):
                raise outcome.error
        return [o.value if o.is_success else self.lost(o) for o in outcomes]

    async def sampled(
        self, nums: Sequence[int], ask: Callable[[int, int], Any], *, is_thrifty: bool = False
    ) -> list[list[Any]]:
        """Ask for all samples of a place at once; where the budget does not hold them, for half as
        many, as long as it holds some.

        Args:
            nums: Samples of each place.
            ask: Makes the call of a place for a number of samples; its value is a list.
            is_thrifty: Leave what is left to other calls once half of them were held.

        Returns:
            What came for each place: values, and how the others were lost.
        """
        given: list[list[Any]] = [[] for _ in nums]
        left = {place: (num, num) for place, num in enumerate(nums) if num}
        while left:
            sent = [(place, num) for place, (_, num) in left.items()]
            outcomes = await self.settle([ask(place, num) for place, num in sent])
            for (place, num), outcome in zip(sent, outcomes, strict=True):
                missing, _ = left[place]
                lost = None if outcome.is_success else self.lost(outcome)
                if lost is not UNPAID:
                    given[place] += [FAILED] * num if lost else outcome.value
                    missing -= num
                left[place] = missing, num // 2 if lost is UNPAID else min(num, missing)
                is_over = lost is not UNPAID and is_thrifty
                if is_over or not left[place][1]:
                    given[place] += [UNPAID] * missing
                    del left[place]
        return given

    async def settle(self, refs: list[Any]) -> list[Outcome[Any]]:
        """Wait for calls; where the engine is away or answers none, it is no matter of samples.

        Raises:
            EngineUnavailableError: It is away: the run can go on when it is back.
            EngineError, ProgramError: All calls failed so.
        """
        outcomes: list[Outcome[Any]] = await settled(refs)
        if not outcomes:
            return []
        errors = [outcome.error for outcome in outcomes]
        for error in errors:
            if isinstance(error, EngineUnavailableError) and error.is_away:
                raise error
        if all(map(_is_of_all, errors)):
            for error in errors:
                assert error is not None
                raise error
        return outcomes

    def note(self, failure: MotetError | str) -> None:
        """Keep what failed, or what is wrong with a reply, while there are few; of the budget's
        refusals one in any case.
        """
        is_new = isinstance(failure, BudgetExhaustedError) and not any(
            isinstance(each, BudgetExhaustedError) for each in self.failures
        )
        if is_new or len(self.failures) < _MOST_FAILURES:
            self.failures.append(ParseError(failure) if isinstance(failure, str) else failure)

    def lost(self, outcome: Outcome[Any]) -> Lost:
        if outcome.error is not None:
            self.note(outcome.error)
        return UNPAID if isinstance(outcome.error, BudgetExhaustedError) else FAILED


def _is_of_all(error: MotetError | None) -> bool:
    """Whether an error says something of the engine, and not of one sample."""
    is_of_one = isinstance(error, PromptTooLongError)
    return isinstance(error, (EngineError, ProgramError)) and not is_of_one

"""What rStar needs of a problem: human-like actions, and a second model that checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from motet.errors import SearchError
from motet.search.best_of_n import final_answer
from motet.search.metering import Meter
from motet.search.partials import Partial, Step
from motet.search.selection import Extract, answer_of
from motet.search.settings import called
from motet.search.spending import Limits, Spend
from motet.search.tools import Lost, checked_flag, checked_steps

Action = Literal["A1", "A2", "A3", "A4", "A5"]
"""A1 one step of thought; A2 all the rest, up to the answer; A3 the next sub-question with its
answer; A4 another answer to the last sub-question; A5 the question in other words."""
ACTIONS: Final[tuple[Action, ...]] = ("A1", "A2", "A3", "A4", "A5")
LEGAL: Final[Mapping[Action | None, tuple[Action, ...]]] = MappingProxyType(
    {
        None: ("A1", "A2", "A3", "A5"),
        "A1": ("A1", "A2"),
        "A2": (),
        "A3": ("A1", "A2", "A3", "A4"),
        "A4": ("A1", "A2", "A3"),
        "A5": ("A1", "A2", "A3"),
    }
)
"""What may follow an action; None is the question itself."""


@dataclass(frozen=True, slots=True)
class Move:
    """What to generate behind a partial solution."""

    partial: Partial
    action: Action
    n: int = 1
    """Different ones, at most; of A2 so many votes."""


Proposed: TypeAlias = Sequence[Step | Lost] | Lost
Completed: TypeAlias = str | Lost


@dataclass(frozen=True, slots=True, kw_only=True)
class RStarProblem:
    """A question as callables; sync or async, each takes whole batches.

    Of the limits, `max_proposals` bounds what is generated, `max_scores` the completions of the
    second model.
    """

    propose: Callable[[Sequence[Move]], Awaitable[Sequence[Proposed]] | Sequence[Proposed]]
    """Returns at most `n` steps a move, one that was lost may stand among them; the `prior` of a
    last step is the confidence in it."""
    complete: (
        Callable[[Sequence[Partial]], Awaitable[Sequence[Completed]] | Sequence[Completed]] | None
    ) = None
    """The second model: returns the rest of a solution whose end is hidden. None checks nothing."""
    extract: Extract = final_answer
    is_same: Callable[[str, str], bool] | None = None
    """Whether two answers are one; asked both ways, one yes is enough. None compares the texts."""
    step_tokens: int | None = None
    """The most tokens of one generated step; needed for `max_tokens`."""
    completion_tokens: int = 0
    """The most tokens of one completion."""
    tokens_aside: Callable[[], int] | None = None
    """Gives what was used since it was asked last, beside the tokens of the steps: for completions
    and dropped replies, say. None where there is nothing of this kind."""

    def tools(self, limits: Limits, spend: Spend) -> RStarTools:
        """Return the callables as a search sees them."""
        return RStarTools(self, limits, spend)


class RStarTools(Meter):
    """A question's callables while a search runs; they keep its limits."""

    def __init__(self, problem: RStarProblem, limits: Limits, spend: Spend) -> None:
        super().__init__(
            limits, spend, step_tokens=problem.step_tokens, tokens_aside=problem.tokens_aside
        )
        self._problem = problem

    @property
    def has_checker(self) -> bool:
        return self._problem.complete is not None

    async def propose(self, moves: Sequence[Move]) -> list[list[Step]]:
        """Return what was generated for each move; none where it failed or a limit was reached.

        Raises:
            SearchError: The proposer breaks its contract.
        """
        results: list[list[Step]] = [[] for _ in moves]
        left = self.may_propose(sum(move.n for move in moves))
        asked = []
        for place, move in enumerate(moves):
            n = min(move.n, left)
            left -= n
            if n:
                asked.append((place, replace(move, n=n)))
        if not asked:
            return results
        taken = tokens = 0
        found = await self.call("propose", self._problem.propose, [move for _, move in asked])
        for (place, move), steps in zip(asked, found, strict=True):
            if self.is_lost(steps):
                continue
            given, num_unpaid = self.parted(steps)
            n = move.n - num_unpaid
            kept = checked_steps(given, n)
            for step in kept:
                if step.prior is not None and not 0 <= step.prior <= 1:
                    raise SearchError(
                        f"propose gave the prior {step.prior}; a confidence is from 0 to 1"
                    )
                tokens += step.num_tokens
            taken += n
            results[place] = kept
        self.count(proposals=taken, tokens=tokens)
        return results

    async def complete(self, partials: Sequence[Partial]) -> list[str | None]:
        """Return the second model's rest of each solution; None where it failed."""
        results: list[str | None] = [None] * len(partials)
        asked = partials[: self.may_score(len(partials), tokens=self._problem.completion_tokens)]
        if self._problem.complete is None or not asked:
            return results
        for place, text in enumerate(await self.call("complete", self._problem.complete, asked)):
            if self.is_lost(text):
                continue
            if not isinstance(text, str):
                raise SearchError(f"complete gave {text!r}; it must give text")
            results[place] = text
        self.count(scores=len(asked))
        return results

    def answer(self, text: str) -> str | None:
        """Return the answer that `text` states."""
        return answer_of(text, self._problem.extract)

    def is_same(self, one: str | None, other: str | None) -> bool:
        """Whether two answers are one; what is no answer is like none."""
        if one is None or other is None:
            return False
        is_same = self._problem.is_same
        return one == other or (
            is_same is not None
            and any(
                checked_flag(called("is_same", is_same, *pair), "is_same")
                for pair in ((one, other), (other, one))
            )
        )

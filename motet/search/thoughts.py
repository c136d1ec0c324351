"""A problem of thoughts: who proposes them, who values them, and how replies are read."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from motet.errors import ConfigError, SearchError
from motet.search.metering import Meter
from motet.search.partials import Partial, Step
from motet.search.settings import called, whole
from motet.search.spending import Limits, Spend
from motet.search.tools import (
    UNPAID,
    Ask,
    Lost,
    Propose,
    Score,
    checked_flag,
    checked_number,
    checked_steps,
)

Vote: TypeAlias = Callable[
    [Sequence[Partial], int], Awaitable[Sequence[int] | Lost] | Sequence[int] | Lost
]
"""Takes the candidates of one ballot and a number of votes, returns the votes of each."""

VALUE_OF_WORD: Final = {"impossible": 0.001, "likely": 1.0, "sure": 20.0}
"""Source: Tree of Thoughts, Game of 24."""
_BEST_CHOICE: Final = re.compile(
    r"best choice is(?:(?!best choice is)[^\d\n])*(\d+)", re.IGNORECASE
)
_MAX_DIGITS: Final = 9


def read_value(reply: str) -> float:
    """Return the value of the word that is the last line of `reply`; 0 where none is."""
    lines = [line.strip(" \t*_`\"'.") for line in reply.splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return VALUE_OF_WORD.get(last.lower(), 0.0)


def read_vote(reply: str, num_candidates: int) -> int | None:
    """Return the place, from 0, of the candidate that "best choice is" names last; None where
    it names none.
    """
    named = _BEST_CHOICE.findall(reply)
    place = int(named[-1]) - 1 if named and len(named[-1]) <= _MAX_DIGITS else -1
    return place if 0 <= place < num_candidates else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThoughtProblem:
    """What a tree of thoughts needs, as callables; sync or async, each takes whole batches.

    Raises:
        ConfigError: Nobody values thoughts, or `step_tokens` is out of range.
    """

    propose: Propose
    """Where thoughts are listed, it gives at most `n` of them from one reply, else `n` samples."""
    evaluators: tuple[Score, ...] = ()
    """Each values every thought, once for each time that it stands in the batch; from 0 on."""
    vote: Vote | None = None
    """Compares the thoughts of a level instead."""
    is_terminal: Callable[[Partial], bool] | None = None
    """Whether a partial solution ends here though its last step does not say so."""
    step_tokens: int | None = None
    """The most tokens of one reply; needed for `max_tokens`."""
    value_tokens: int = 0
    """The most tokens of one value."""
    vote_tokens: int = 0
    """The most tokens of one vote."""
    tokens_aside: Callable[[], int] | None = None
    """Gives what was used since it was asked last, beside the tokens of the thoughts: for values,
    votes and dropped replies, say. None where there is nothing of this kind."""

    def __post_init__(self) -> None:
        if not self.evaluators and self.vote is None:
            raise ConfigError("evaluators is () and vote is None; thoughts need one of them")
        if self.step_tokens is not None:
            whole("step_tokens", self.step_tokens)

    def tools(self, limits: Limits, spend: Spend) -> ThoughtTools:
        """Return the callables as a search sees them."""
        return ThoughtTools(self, limits, spend)


class ThoughtTools(Meter):
    """A problem's callables while a search runs; they keep its limits."""

    def __init__(self, problem: ThoughtProblem, limits: Limits, spend: Spend) -> None:
        super().__init__(
            limits, spend, step_tokens=problem.step_tokens, tokens_aside=problem.tokens_aside
        )
        self._problem = problem

    @property
    def has_evaluators(self) -> bool:
        return bool(self._problem.evaluators)

    @property
    def has_vote(self) -> bool:
        return self._problem.vote is not None

    async def think(
        self, partials: Sequence[Partial], n: int, *, is_list: bool
    ) -> list[list[Step]]:
        """Return at most `n` thoughts behind each; none where it failed or a limit was reached.

        A list of thoughts counts as one proposal, samples count one each.

        Raises:
            SearchError: The proposer breaks its contract.
        """
        each = 1 if is_list else n
        held = self.may_propose(each * len(partials))
        asks = [
            Ask(partial, n if is_list else min(n, held - i * each))
            for i, partial in enumerate(partials)
            if held > i * each
        ]
        if not asks:
            return [[] for _ in partials]
        found = await self.call("propose", self._problem.propose, asks)
        results: list[list[Step]] = []
        for ask, given in zip(asks, found, strict=True):
            if self.is_lost(given):
                self.count(proposals=0 if given is UNPAID else 1 if is_list else ask.n)
                results.append([])
                continue
            kept, num_unpaid = self.parted(given)
            steps = self._checked(replace(ask, n=ask.n - num_unpaid), kept)
            tokens = sum(step.num_tokens for step in steps)
            self.count(proposals=1 if is_list else ask.n - num_unpaid, tokens=tokens)
            results.append(steps)
        return results + [[] for _ in partials[len(asks) :]]

    def _checked(self, ask: Ask, given: Sequence[Step]) -> list[Step]:
        is_terminal = self._problem.is_terminal
        steps = []
        for step in checked_steps(given, ask.n):
            is_last = step.is_last
            if not is_last and is_terminal is not None:
                said = called("is_terminal", is_terminal, ask.partial.then(step))
                is_last = checked_flag(said, "is_terminal")
            steps.append(replace(step, is_last=is_last))
        return steps

    async def value(self, partials: Sequence[Partial]) -> list[list[float | None]]:
        """Return what each evaluator says of each; None where it failed or a limit was reached.

        Raises:
            SearchError: An evaluator breaks its contract.
        """
        results: list[list[float | None]] = [[] for _ in partials]
        for evaluator in self._problem.evaluators:
            asked = partials[: self.may_score(len(partials), tokens=self._problem.value_tokens)]
            found = await self.call("value", evaluator, asked) if asked else []
            self.count(scores=sum(value is not UNPAID for value in found))
            for place in range(len(partials)):
                is_missing = place >= len(found) or self.is_lost(found[place])
                results[place].append(
                    None if is_missing else checked_number(found[place], "value", 0.0)
                )
        return results

    async def vote(self, partials: Sequence[Partial], num_votes: int) -> list[int] | None:
        """Return the votes of each; None where they failed or a limit was reached.

        Raises:
            SearchError: The vote breaks its contract.
            ConfigError: The problem has no vote.
        """
        call = self._problem.vote
        if call is None:
            raise ConfigError("evaluate is 'vote', and the problem's vote is None")
        each = self._problem.vote_tokens
        num = self.may_score(num_votes, tokens=each) if partials else 0
        if not num:
            return None
        [found] = await self.call("vote", lambda _: _one(call(partials, num)), [partials])
        if found is not UNPAID:
            self.count(scores=num)
        if self.is_lost(found):
            return None
        if not isinstance(found, Sequence):
            raise SearchError(f"vote gave {found!r}; it must give a count for each thought")
        counts = list(found)
        is_whole = all(type(each) is int and each >= 0 for each in counts)
        if len(counts) != len(partials) or not is_whole or sum(counts) > num:
            raise SearchError(
                f"vote gave {counts} for {len(partials)} thoughts; it must give a count for each, "
                f"at most {num} in all"
            )
        return counts


async def _one(found: object) -> list[object]:
    return [await found if inspect.isawaitable(found) else found]

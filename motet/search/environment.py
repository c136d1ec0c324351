"""An environment as a search sees it: which actions there are, and where they lead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pydantic import JsonValue

from motet.errors import SearchError
from motet.search.metering import Meter
from motet.search.partials import Step
from motet.search.settings import called
from motet.search.spending import Limits, Spend
from motet.search.tools import Lost, checked_flag, checked_number, checked_steps


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where an action leads."""

    state: JsonValue
    reward: float = 0.0
    is_terminal: bool = False


Listed: TypeAlias = Sequence[Step | Lost] | Lost
ListActions: TypeAlias = Callable[
    [Sequence[JsonValue]], Awaitable[Sequence[Listed]] | Sequence[Listed]
]
"""Takes states, returns each one's actions; one that was lost may stand among them. A step's
`prior` is its fast reward."""
Reached: TypeAlias = Outcome | Lost
Advance: TypeAlias = Callable[
    [Sequence[tuple[JsonValue, Step]]], Awaitable[Sequence[Reached]] | Sequence[Reached]
]
"""Takes states with an action each, returns where these lead; it must not change the states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentProblem:
    """A world in which a search acts, as callables; sync or async, each takes whole batches.

    Of the limits, `max_proposals` bounds the states whose actions are listed, `max_scores` the
    actions that are taken.
    """

    start: JsonValue
    list_actions: ListActions
    advance: Advance
    is_terminal: Callable[[JsonValue], bool] | None = None
    """Whether the world ends in a state though the outcome does not say so; asked of `start` too."""
    step_tokens: int | None = None
    """The most tokens that listing one state's actions takes; needed for `max_tokens`."""
    advance_tokens: int = 0
    """The most tokens that taking one action takes."""
    tokens_aside: Callable[[], int] | None = None
    """Gives what was used since it was asked last, beside the tokens of the steps: for replies that
    were dropped, say. None where there is nothing of this kind."""

    def tools(self, limits: Limits, spend: Spend) -> EnvironmentTools:
        """Return the callables as a search sees them."""
        return EnvironmentTools(self, limits, spend)


class EnvironmentTools(Meter):
    """An environment's callables while a search runs; they keep its limits."""

    def __init__(self, problem: EnvironmentProblem, limits: Limits, spend: Spend) -> None:
        super().__init__(
            limits, spend, step_tokens=problem.step_tokens, tokens_aside=problem.tokens_aside
        )
        self._environment = problem

    @property
    def start(self) -> JsonValue:
        return self._environment.start

    def is_over(self, state: JsonValue) -> bool:
        """Whether the problem says that the world ends in `state`."""
        is_terminal = self._environment.is_terminal
        if is_terminal is None:
            return False
        return checked_flag(called("is_terminal", is_terminal, state), "is_terminal")

    async def list_actions(self, states: Sequence[JsonValue]) -> list[list[Step] | None]:
        """Return each state's actions; None where that failed or a limit was reached.

        Raises:
            SearchError: The environment breaks its contract.
        """
        results: list[list[Step] | None] = [None] * len(states)
        asked = states[: self.may_propose(len(states))]
        if not asked:
            return results
        taken = tokens = 0
        found = await self.call("list_actions", self._environment.list_actions, asked)
        for place, steps in enumerate(found):
            if self.is_lost(steps):
                continue
            given, num_unpaid = self.parted(steps, "list_actions")
            kept = checked_steps(given, name="list_actions")
            tokens += sum(step.num_tokens for step in kept)
            if num_unpaid and num_unpaid == len(steps):
                continue
            taken += 1
            results[place] = kept
        self.count(proposals=taken, tokens=tokens)
        return results

    async def advance(self, pairs: Sequence[tuple[JsonValue, Step]]) -> list[Outcome | None]:
        """Return where each action leads; None where that failed or a limit was reached.

        Raises:
            SearchError: The environment breaks its contract.
        """
        results: list[Outcome | None] = [None] * len(pairs)
        asked = pairs[: self.may_score(len(pairs), tokens=self._environment.advance_tokens)]
        if not asked:
            return results
        found = await self.call("advance", self._environment.advance, asked)
        for place, outcome in enumerate(found):
            if type(outcome) is Outcome or not self.is_lost(outcome):
                results[place] = self._checked(outcome)
        self.count(scores=len(asked))
        return results

    def _checked(self, outcome: Any) -> Outcome:
        if not isinstance(outcome, Outcome):
            raise SearchError(f"advance gave {outcome!r}; it must give Outcome objects")
        reward = checked_number(outcome.reward, "the reward of advance")
        reached: Outcome = outcome
        if reward is not reached.reward:
            reached = replace(reached, reward=reward)
        may_end = self._environment.is_terminal is not None and not reached.is_terminal
        if may_end and self.is_over(reached.state):
            return replace(reached, is_terminal=True)
        return reached

"""Two-player games in which both move at once, as a search sees them."""

from __future__ import annotations

import copy
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from pydantic import JsonValue

from motet.errors import SearchError
from motet.search.environment import Outcome
from motet.search.metering import Meter
from motet.search.spending import Limits, Spend
from motet.search.tools import Lost

T = TypeVar("T")
ManyOf: TypeAlias = Awaitable[Sequence[T | Lost]] | Sequence[T | Lost]
ListMoves: TypeAlias = Callable[[Sequence[JsonValue]], ManyOf[Sequence[str]]]
"""Takes states, returns each one's moves that are worth looking at, best first."""
Simulate: TypeAlias = Callable[[Sequence[tuple[JsonValue, str, str]]], ManyOf[Outcome]]
"""Takes states with both players' moves, returns where these lead; the reward of an outcome that
ends the game is what we get."""
Value: TypeAlias = Callable[[Sequence[JsonValue]], ManyOf[float]]
"""Takes states, returns what each is worth to us; siblings come in one batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GameProblem:
    """A game as callables; sync or async, each takes whole batches, and copies of the states.

    Of the limits, `max_proposals` bounds the lists of moves that are asked for, `max_scores` the
    states that are valued.
    """

    start: JsonValue
    list_own: ListMoves
    list_other: ListMoves
    simulate: Simulate
    value: Value
    fall_back_move: Callable[[JsonValue], str]
    """The move where `list_own` twice names none that is legal."""
    is_legal: Callable[[JsonValue, str], bool] | None = None
    """Whether we may make a move; None takes all."""
    fall_back_value: Callable[[JsonValue], float] | None = None
    """What a state is worth that `value` failed on; None leaves it out."""

    def tools(self, limits: Limits, spend: Spend) -> GameTools:
        """Return the callables as a search sees them."""
        return GameTools(self, limits, spend)


class GameTools(Meter):
    """A game's callables while a search runs; they keep its limits."""

    def __init__(self, problem: GameProblem, limits: Limits, spend: Spend) -> None:
        super().__init__(limits, spend, step_tokens=0)
        self.game = problem

    async def list_own(self, states: Sequence[JsonValue]) -> list[list[str]]:
        """Return our legal moves in each state; where there is none, ask once more, then fall back."""
        moves = [self._legal(*each) for each in zip(states, await self._own(states), strict=True)]
        again = [place for place, found in enumerate(moves) if not found]
        second = await self._own([states[place] for place in again])
        for place, found in zip(again, second, strict=True):
            state = states[place]
            moves[place] = self._legal(state, found) or [
                self.game.fall_back_move(copy.deepcopy(state))
            ]
        return moves

    async def _own(self, states: Sequence[JsonValue]) -> list[list[str]]:
        return await self._list("list_own", self.game.list_own, states)

    def _legal(self, state: JsonValue, moves: Sequence[str]) -> list[str]:
        is_legal = self.game.is_legal
        return [move for move in moves if is_legal is None or is_legal(copy.deepcopy(state), move)]

    async def list_other(self, states: Sequence[JsonValue]) -> list[list[str]]:
        """Return the other player's moves in each state; none where that failed."""
        return await self._list("list_other", self.game.list_other, states)

    async def _list(
        self, name: str, call: ListMoves, states: Sequence[JsonValue]
    ) -> list[list[str]]:
        results: list[list[str]] = [[] for _ in states]
        asked = states[: self.may_propose(len(states))]
        if not asked:
            return results
        for place, moves in enumerate(await self.call(name, call, copy.deepcopy(list(asked)))):
            if self.is_lost(moves):
                continue
            if isinstance(moves, str) or not all(isinstance(move, str) for move in moves):
                raise SearchError(f"{name} gave {moves!r}; it must give a list of moves")
            results[place] = list(dict.fromkeys(moves))
        self.count(proposals=len(asked))
        return results

    async def simulate(self, triples: Sequence[tuple[JsonValue, str, str]]) -> list[Outcome | None]:
        """Return where both players' moves lead; None where that failed."""
        results: list[Outcome | None] = [None] * len(triples)
        if not triples:
            return results
        own = [(copy.deepcopy(state), a, b) for state, a, b in triples]
        for place, outcome in enumerate(await self.call("simulate", self.game.simulate, own)):
            if self.is_lost(outcome):
                continue
            if not isinstance(outcome, Outcome):
                raise SearchError(f"simulate gave {outcome!r}; it must give Outcome objects")
            _check_finite("simulate", outcome.reward)
            results[place] = replace(outcome, state=copy.deepcopy(outcome.state))
        return results

    async def value(self, states: Sequence[JsonValue]) -> list[float | None]:
        """Return what each state is worth to us; None where that is not known."""
        results: list[float | None] = [None] * len(states)
        asked = states[: self.may_score(len(states))]
        if asked:
            found = await self.call("value", self.game.value, copy.deepcopy(list(asked)))
            for place, value in enumerate(found):
                results[place] = None if self.is_lost(value) else _check_finite("value", value)
            self.count(scores=len(asked))
        fall_back = self.game.fall_back_value
        if fall_back is None:
            return results
        return [
            _check_finite("fall_back_value", fall_back(copy.deepcopy(state)))
            if value is None
            else value
            for state, value in zip(states, results, strict=True)
        ]


def _check_finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SearchError(f"{name} gave {value!r}; it must give finite numbers")
    return float(value)

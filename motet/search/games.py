"""Two-player games in which both move at once, as a search sees them."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

from pydantic import JsonValue

from motet.errors import ConfigError, SearchError
from motet.search.environment import Outcome
from motet.search.metering import Meter
from motet.search.settings import called
from motet.search.spending import Limits, Spend
from motet.search.tools import Lost, checked_flag, checked_number

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
    states that are valued, `max_tokens` both.
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
    list_tokens: Callable[[Literal["own", "other"], JsonValue], int] | None = None
    """Returns the most tokens that listing a state's moves takes; needed for `max_tokens`."""
    value_tokens: int = 0
    """The most tokens that the value of one state takes."""
    tokens_aside: Callable[[], int] | None = None
    """Gives what was used since it was asked last; None where nothing uses tokens."""

    def tools(self, limits: Limits, spend: Spend) -> GameTools:
        """Return the callables as a search sees them."""
        return GameTools(self, limits, spend)


class GameTools(Meter):
    """A game's callables while a search runs; they keep its limits."""

    def __init__(self, problem: GameProblem, limits: Limits, spend: Spend) -> None:
        if limits.max_tokens is not None and problem.list_tokens is None:
            raise ConfigError(
                f"max_tokens is {limits.max_tokens}, so the problem must say list_tokens"
            )
        super().__init__(limits, spend, step_tokens=0, tokens_aside=problem.tokens_aside)
        self.game = problem

    async def list_own(self, states: Sequence[JsonValue]) -> list[list[str]]:
        """Return our legal moves in each state; where there is none, ask once more, then fall back."""
        moves = [self._legal(*each) for each in zip(states, await self._own(states), strict=True)]
        again = [place for place, found in enumerate(moves) if not found]
        second = await self._own([states[place] for place in again])
        for place, found in zip(again, second, strict=True):
            state = states[place]
            moves[place] = self._legal(state, found) or [self._fall_back(state)]
        return moves

    async def _own(self, states: Sequence[JsonValue]) -> list[list[str]]:
        return await self._list("own", self.game.list_own, states)

    def _fall_back(self, state: JsonValue) -> str:
        move: object = called("fall_back_move", self.game.fall_back_move, copy.deepcopy(state))
        if not isinstance(move, str):
            raise SearchError(f"fall_back_move gave {move!r}; it must give a move")
        return move

    def _legal(self, state: JsonValue, moves: Sequence[str]) -> list[str]:
        is_legal = self.game.is_legal
        if is_legal is None:
            return list(moves)
        return [
            move
            for move in moves
            if checked_flag(called("is_legal", is_legal, copy.deepcopy(state), move), "is_legal")
        ]

    async def list_other(self, states: Sequence[JsonValue]) -> list[list[str]]:
        """Return the other player's moves in each state; none where that failed."""
        return await self._list("other", self.game.list_other, states)

    async def _list(
        self, side: Literal["own", "other"], call: ListMoves, states: Sequence[JsonValue]
    ) -> list[list[str]]:
        name = f"list_{side}"
        results: list[list[str]] = [[] for _ in states]
        cost = self.game.list_tokens
        costs = None if cost is None else [cost(side, state) for state in states]
        asked = states[: self.may_propose(len(states), costs)]
        if not asked:
            return results
        for place, moves in enumerate(await self.call(name, call, copy.deepcopy(list(asked)))):
            if self.is_lost(moves):
                continue
            is_list = isinstance(moves, Sequence) and not isinstance(moves, str)
            if not is_list or not all(isinstance(move, str) for move in moves):
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
            reward = checked_number(outcome.reward, "the reward of simulate")
            results[place] = replace(outcome, state=copy.deepcopy(outcome.state), reward=reward)
        return results

    async def value(self, states: Sequence[JsonValue]) -> list[float | None]:
        """Return what each state is worth to us; None where that is not known."""
        results: list[float | None] = [None] * len(states)
        asked = states[: self.may_score(len(states), tokens=self.game.value_tokens)]
        if asked:
            found = await self.call("value", self.game.value, copy.deepcopy(list(asked)))
            for place, value in enumerate(found):
                results[place] = None if self.is_lost(value) else checked_number(value, "value")
            self.count(scores=len(asked))
        fall_back = self.game.fall_back_value
        if fall_back is None:
            return results
        return [
            checked_number(
                called("fall_back_value", fall_back, copy.deepcopy(state)), "fall_back_value"
            )
            if value is None
            else value
            for state, value in zip(states, results, strict=True)
        ]

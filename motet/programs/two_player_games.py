"""Games of two players who move at once, as functions, whose calls are steps of the run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import JsonValue

from motet.errors import ConfigError, SearchError
from motet.operations import step
from motet.programs.environments import Maybe
from motet.refs import Ref
from motet.search.environment import Outcome
from motet.search.settings import function, number
from motet.search.tools import checked_number

_FUNCTIONS: Final = ("own_moves", "other_moves", "advance", "show")
_OPTIONAL: Final = ("estimate", "fall_back")


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """A game of two players, as functions; sync or async. None changes its state.

    Both move at once; where they move in turn, the one who waits has one move, such as `wait`.
    """

    rules: str
    """What the models are told of the game."""
    start: JsonValue
    """The position to move in."""
    own_moves: Callable[[JsonValue], Maybe[Sequence[str]]]
    """Returns our legal moves; at least one where the game goes on."""
    other_moves: Callable[[JsonValue], Maybe[Sequence[str]]]
    """Returns the other player's."""
    advance: Callable[[JsonValue, str, str], Maybe[Outcome]]
    """Returns where our move and the other's lead; the reward of an outcome that ends the game is
    what we get, within `value_range`."""
    show: Callable[[JsonValue], Maybe[str]]
    """Returns what the models see of a position."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """What we get for the worst and the best end."""
    estimate: Callable[[JsonValue], Maybe[float]] | None = None
    """Returns what a position is worth where no reply of the judge says; None leaves it out."""
    fall_back: Callable[[JsonValue], Maybe[str]] | None = None
    """Returns our move where the model twice names none that is legal; None is the first legal."""

    def __post_init__(self) -> None:
        if not isinstance(self.rules, str) or not self.rules.strip():
            raise ConfigError(f"rules is {self.rules!r}; it must be a text")
        for name in _FUNCTIONS:
            function(name, getattr(self, name))
        for name in _OPTIONAL:
            if getattr(self, name) is not None:
                function(name, getattr(self, name))
        bounds: Any = self.value_range
        if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
            raise ConfigError(f"value_range is {bounds!r}; it must be (low, high)")
        for bound in bounds:
            number("value_range", bound)
        if bounds[0] >= bounds[1]:
            raise ConfigError(f"value_range is {bounds!r}; it must be (low, high)")

    @property
    def is_async(self) -> bool:
        """Whether one of the functions is a coroutine function."""
        names = (*_FUNCTIONS, *_OPTIONAL)
        return any(inspect.iscoroutinefunction(getattr(self, name)) for name in names)


@dataclass(frozen=True, slots=True)
class Standing:
    """A position as it is come to."""

    state: JsonValue
    shown: str = ""
    own: tuple[str, ...] = ()
    """Our legal moves; none where the game is over."""
    other: tuple[str, ...] = ()
    fall_back: str = ""
    estimate: float | None = None
    reward: float = 0.0
    is_terminal: bool = False


def stand(game: Game, state: JsonValue, moves: tuple[str, str] | None = None) -> Ref[Standing]:
    """Make the call that plays `moves`, ours first, in `state`; without any it looks at `state`."""
    call: Callable[..., Ref[Standing]] = standing_awaited if game.is_async else standing_of
    return call(game, state, moves)


@step
def standing_of(game: Game, state: JsonValue, moves: tuple[str, str] | None) -> Standing:
    """Where two moves lead, in a game of plain functions."""
    outcome: Any = Outcome(state) if moves is None else game.advance(state, *moves)
    reached = _checked(game, outcome)
    if reached.is_terminal:
        return Standing(reached.state, reward=reached.reward, is_terminal=True)
    at = reached.state
    return _standing(
        game,
        at,
        game.show(at),
        game.own_moves(at),
        game.other_moves(at),
        None if game.fall_back is None else game.fall_back(at),
        None if game.estimate is None else game.estimate(at),
    )


@step
async def standing_awaited(game: Game, state: JsonValue, moves: tuple[str, str] | None) -> Standing:
    """Where two moves lead, in a game that has to be waited for."""
    outcome = Outcome(state) if moves is None else await _settled(game.advance(state, *moves))
    reached = _checked(game, outcome)
    if reached.is_terminal:
        return Standing(reached.state, reward=reached.reward, is_terminal=True)
    at = reached.state
    return _standing(
        game,
        at,
        await _settled(game.show(at)),
        await _settled(game.own_moves(at)),
        await _settled(game.other_moves(at)),
        None if game.fall_back is None else await _settled(game.fall_back(at)),
        None if game.estimate is None else await _settled(game.estimate(at)),
    )


async def _settled(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found


def _checked(game: Game, outcome: Any) -> Outcome:
    if not isinstance(outcome, Outcome):
        raise SearchError(f"advance gave {outcome!r}; it must give an Outcome")
    reward = checked_number(outcome.reward, "the reward of advance")
    low, high = game.value_range
    if outcome.is_terminal and not low <= reward <= high:
        raise SearchError(f"advance gave the reward {reward}; value_range is {game.value_range}")
    return replace(outcome, reward=reward)


def _standing(
    game: Game, state: JsonValue, shown: Any, own: Any, other: Any, fall_back: Any, estimate: Any
) -> Standing:
    if not isinstance(shown, str):
        raise SearchError(f"show gave {shown!r}; it must give a text")
    ours, theirs = _moves("own_moves", own), _moves("other_moves", other)
    chosen = ours[0] if fall_back is None else fall_back
    if chosen not in ours:
        raise SearchError(f"fall_back gave {chosen!r}; it must give a legal move")
    if game.estimate is not None:
        estimate = checked_number(estimate, "estimate", *game.value_range)
    return Standing(state, shown, ours, theirs, chosen, estimate)


def _moves(name: str, given: Any) -> tuple[str, ...]:
    is_list = isinstance(given, Sequence) and not isinstance(given, str)
    moves = tuple(given) if is_list else ()
    if not moves or not all(isinstance(each, str) and each.strip() for each in moves):
        raise SearchError(f"{name} gave {given!r} where the game goes on; it must give moves")
    return moves

"""Environments that a model acts in: functions of a state, whose calls are steps of the run."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from pydantic import JsonValue

from motet.errors import SearchError
from motet.operations import step
from motet.refs import Ref
from motet.search.environment import Outcome
from motet.search.settings import function
from motet.search.tools import checked_flag, checked_number

T = TypeVar("T")
Maybe: TypeAlias = Awaitable[T] | T


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A world in which texts are actions, as functions; sync or async. None changes its state.

    `advance` says where an action leads without taking it: what cannot be undone (a payment, a
    message) has to be left out of `list_actions`, or be played in a copy of the world.
    """

    reset: Callable[[], Maybe[JsonValue]]
    """Returns the state at the beginning."""
    advance: Callable[[JsonValue, str], Maybe[Outcome]]
    """Returns where an action leads from a state."""
    observe: Callable[[JsonValue], Maybe[str]]
    """Returns what an actor sees of a state."""
    list_actions: Callable[[JsonValue], Maybe[Sequence[str]]] | None = None
    """Returns the legal actions of a state; None where any text may be one."""
    is_terminal: Callable[[JsonValue], Maybe[bool]] | None = None
    """Whether the world ends in a state though its outcome does not say so; asked of the first too."""

    def __post_init__(self) -> None:
        for name in ("reset", "advance", "observe"):
            function(name, getattr(self, name))
        for name in ("list_actions", "is_terminal"):
            if getattr(self, name) is not None:
                function(name, getattr(self, name))

    @property
    def is_async(self) -> bool:
        """Whether one of the functions is a coroutine function."""
        names = ("reset", "advance", "observe", "list_actions", "is_terminal")
        return any(inspect.iscoroutinefunction(getattr(self, name)) for name in names)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A state as it is come to."""

    state: JsonValue
    observation: str
    actions: tuple[str, ...] | None = None
    """The legal ones; None where any text may be one."""
    reward: float = 0.0
    is_terminal: bool = False


def arrive(
    environment: Environment, state: JsonValue = None, action: str | None = None
) -> Ref[Arrival]:
    """Make the call that takes `action` in `state`, or that begins where there is none."""
    call: Callable[..., Ref[Arrival]] = arrival_awaited if environment.is_async else arrival_of
    return call(environment, state, action)


@step
def arrival_of(environment: Environment, state: JsonValue, action: str | None) -> Arrival:
    """Where an action leads, in a world of plain functions."""
    world = environment
    found: Any = world.reset() if action is None else world.advance(state, action)
    reached = Outcome(found) if action is None else _checked(found)
    is_over = reached.is_terminal
    if not is_over and world.is_terminal is not None:
        is_over = checked_flag(world.is_terminal(reached.state), "is_terminal")
    actions = None
    if world.list_actions is not None:
        actions = _listed(world.list_actions(reached.state))
    return _arrival(reached, is_over, world.observe(reached.state), actions)


@step
async def arrival_awaited(
    environment: Environment, state: JsonValue, action: str | None
) -> Arrival:
    """Where an action leads, in a world that has to be waited for."""
    world = environment
    found = await _settled(world.reset() if action is None else world.advance(state, action))
    reached = Outcome(found) if action is None else _checked(found)
    is_over = reached.is_terminal
    if not is_over and world.is_terminal is not None:
        is_over = checked_flag(await _settled(world.is_terminal(reached.state)), "is_terminal")
    actions = None
    if world.list_actions is not None:
        actions = _listed(await _settled(world.list_actions(reached.state)))
    return _arrival(reached, is_over, await _settled(world.observe(reached.state)), actions)


async def _settled(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found


def _checked(outcome: Any) -> Outcome:
    if not isinstance(outcome, Outcome):
        raise SearchError(f"advance gave {outcome!r}; it must give an Outcome")
    return replace(outcome, reward=checked_number(outcome.reward, "the reward of advance"))


def _listed(given: Any) -> tuple[str, ...]:
    """Return the legal actions; without `list_actions` any text is one, with it those alone."""
    is_list = isinstance(given, Sequence) and not isinstance(given, str)
    if not is_list or not all(isinstance(each, str) and each.strip() for each in given):
        raise SearchError(f"list_actions gave {given!r}; it must give a list of texts, none empty")
    return tuple(given)


def _arrival(
    reached: Outcome, is_over: bool, seen: Any, actions: tuple[str, ...] | None
) -> Arrival:
    if not isinstance(seen, str):
        raise SearchError(f"observe gave {seen!r}; it must give a text")
    return Arrival(reached.state, seen, actions, reached.reward, is_over)


def legal_action(said: str, actions: Sequence[str] | None) -> str | None:
    """Return the legal action that a reply names, None where it names none.

    Quotes, a final stop and the case of letters do not count where they make no difference.
    """
    if actions is None:
        return said.strip() or None
    if said.strip() in actions:
        return said.strip()
    named = [each for each in actions if _folded(each) == _folded(said)]
    return named[0] if len(named) == 1 else None


def _folded(text: str) -> str:
    return " ".join(text.split()).strip("\"'`*. ").casefold()

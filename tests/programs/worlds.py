"""Small worlds for programs that act, a grid with a goal, and engines that break off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import motet
from motet import Capability
from motet.engine import Request
from motet.errors import EngineUnavailableError, RunFailedError
from motet.programs.environments import Environment
from motet.search.environment import Outcome
from motet.testing import ScriptedEngine

MOVES = {"up": (0, 1), "down": (0, -1), "left": (-1, 0), "right": (1, 0)}
SIZE = 3
GOAL = [2, 1]


def legal(place: Any) -> list[str]:
    x, y = place
    return [name for name, (a, b) in MOVES.items() if 0 <= x + a < SIZE and 0 <= y + b < SIZE]


def moved(place: Any, action: str) -> Outcome:
    """An action that is not legal is an error of whoever takes it."""
    assert action in legal(place), f"{action} in {place}"
    after = [place[0] + MOVES[action][0], place[1] + MOVES[action][1]]
    is_there = after == GOAL
    return Outcome(after, float(is_there), is_there)


def seen(place: Any) -> str:
    return f"You are at {place[0]}, {place[1]}. The goal is at {GOAL[0]}, {GOAL[1]}."


def corner() -> Any:
    return [0, 0]


async def corner_later() -> Any:
    return [0, 0]


async def moved_later(place: Any, action: str) -> Outcome:
    return moved(place, action)


GRID = Environment(reset=corner, advance=moved, observe=seen, list_actions=legal)
GRID_ASYNC = Environment(reset=corner_later, advance=moved_later, observe=seen, list_actions=legal)


class Outage:
    """A script whose engine is away behind so many answers, until `is_back`."""

    def __init__(self, script: Callable[[Request], Any], num: int) -> None:
        self._script = script
        self._num = num
        self.is_back = False

    def __call__(self, request: Request) -> Any:
        if not self._num and not self.is_back:
            return EngineUnavailableError("away")
        self._num = max(self._num - 1, 0)
        return self._script(request)


def resumed(script: Callable[[Request], Any], num: int, store: str, make: Any) -> tuple[Any, int]:
    """Return the value of a run that broke off behind `num` answers and was gone on with, and how
    many requests it made then.
    """
    outage = Outage(script, num)
    served = ScriptedEngine(outage, capabilities=frozenset(Capability))
    with pytest.raises(RunFailedError) as failed:
        motet.run(make(served), store=store, seed=3, cache=False)
    outage.is_back = True
    served.requests.clear()
    result = motet.run(make(served), store=store, seed=3, cache=False, resume=failed.value.run_id)
    return result.value, len(served.requests)

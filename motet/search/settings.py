"""Checks of an algorithm's settings, made before anything is paid for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from motet.errors import ConfigError, MotetError, SearchError

ResultT = TypeVar("ResultT")

MOST_AT_ONCE: Final = 1_000_000
"""Of anything that a search holds or asks for side by side."""


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> None:
    """Refuse what is no whole number from `least` to `most`, both included.

    Raises:
        ConfigError: Names the setting and its value.
    """
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not is_whole or (most is not None and value > most):
        high = f", at most {most}" if most is not None else ""
        raise ConfigError(f"{name} is {value!r}; it must be a whole number, at least {least}{high}")


def at_once(name: str, value: Any) -> None:
    """Refuse what is no number of things that stand side by side: 1 to a million.

    Raises:
        ConfigError: Names the setting and its value.
    """
    whole(name, value, 1, MOST_AT_ONCE)


def number(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> None:
    """Refuse what is no number from `least` to `most`, both included.

    Raises:
        ConfigError: Names the setting and its value.
    """
    is_number = not isinstance(value, bool) and isinstance(value, (int, float))
    if not is_number or not least <= value <= most or not _is_finite(value):
        raise ConfigError(f"{name} is {value!r}; it must be a {_bounds(least, most)}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _bounds(least: float, most: float) -> str:
    low = f" from {least:g}" if least > -math.inf else ""
    high = f" to {most:g}" if most < math.inf else ""
    return f"finite number{low}{high}"


def one_of(name: str, value: Any, known: Sequence[Any]) -> None:
    """Refuse what is none of `known`.

    Raises:
        ConfigError: Names the setting and its value.
    """
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(map(str, known))}")


def flag(name: str, value: Any) -> None:
    """Refuse what is neither True nor False.

    Raises:
        ConfigError: Names the setting and its value.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}; it must be True or False")


def function(name: str, value: Any) -> None:
    """Refuse what cannot be called.

    Raises:
        ConfigError: Names the setting and its value.
    """
    if not callable(value):
        raise ConfigError(f"{name} is {value!r}; it must be a function")


def some_text(name: str, value: Any) -> None:
    """Refuse what is no text, or an empty one.

    Raises:
        ConfigError: Names the setting and its value.
    """
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} is {value!r}; it must be some text")


def several(name: str, value: Any) -> None:
    """Refuse what is no tuple.

    Raises:
        ConfigError: Names the setting and its value.
    """
    if not isinstance(value, tuple):
        raise ConfigError(f"{name} is {value!r}; it must be a tuple")


def called(name: str, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
    """Return what a setting's function gives.

    Raises:
        SearchError: It raised something foreign; the cause stands behind it.
    """
    try:
        return function(*arguments)
    except MotetError:
        raise
    except Exception as exc:
        raise SearchError(f"{name} failed: {type(exc).__name__}: {exc}") from exc

"""Checks of an algorithm's settings, made before anything is paid for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from motet.errors import ConfigError


def whole(name: str, value: Any, least: int = 1) -> None:
    """Refuse what is no whole number from `least` on.

    Raises:
        ConfigError: Names the setting and its value.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number, at least {least}")


def number(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> None:
    """Refuse what is no number from `least` to `most`, both included.

    Raises:
        ConfigError: Names the setting and its value.
    """
    is_number = not isinstance(value, bool) and isinstance(value, (int, float))
    if not is_number or not least <= value <= most or abs(value) == math.inf:
        raise ConfigError(f"{name} is {value!r}; it must be a {_bounds(least, most)}")


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

"""The algorithm that a program is given, as an object or as a text."""

from __future__ import annotations

from typing import TypeVar, cast

from motet.errors import ConfigError
from motet.search.registry import find_algorithm

AlgorithmT = TypeVar("AlgorithmT")


def chosen(algorithm: object, **kinds: type[AlgorithmT]) -> AlgorithmT:
    """Return `algorithm`, or what it names as in `agent-q(num_rollouts=4)`.

    Args:
        algorithm: Of one of `kinds`, or the text of one.
        kinds: By name, with `_` for `-`.

    Raises:
        ConfigError: It is none of them, or a setting of it is wrong.
    """
    if isinstance(algorithm, str):
        places = {
            name.replace("_", "-"): f"{kind.__module__}:{kind.__qualname__}"
            for name, kind in kinds.items()
        }
        return cast(AlgorithmT, find_algorithm(algorithm, places))
    if isinstance(algorithm, tuple(kinds.values())):
        return cast(AlgorithmT, algorithm)
    names = " or ".join(kind.__name__ for kind in kinds.values())
    raise ConfigError(f"algorithm is {algorithm!r}; it must be a {names}")

"""The algorithm that a program is given, as an object or as a text."""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

from motet.errors import ConfigError
from motet.search.algorithm import Algorithm
from motet.search.registry import find_algorithm

AlgorithmT = TypeVar("AlgorithmT")
_PROGRAM_OF: Final = {
    "AgentQ": "agent_q",
    "DepthFirstThoughts": "think_in_trees",
    "Diver": "diver",
    "Mbr": "minimum_bayes_risk",
    "Minimax": "play",
    "RStar": "rstar",
    "Refinement": "refine",
    "Steering": "steer",
    "TransferQ": "reward_guided",
    "TreeOfThoughts": "think_in_trees",
}
"""Searches of other things than steps with scores, and the program of each."""


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


def of_steps(algorithm: object) -> Algorithm[Any, Any]:
    """Return `algorithm`, or what it names, where it searches steps by scores.

    Raises:
        ConfigError: It is no search, or one that has a program of its own; names the program.
    """
    if isinstance(algorithm, str):
        named = _plain(algorithm.partition("(")[0])
        for kind, program in _PROGRAM_OF.items():
            if named in (_plain(kind), _plain(program)):
                raise ConfigError(f"algorithm is {algorithm!r}; that is the program {program}")
        return find_algorithm(algorithm)
    kinds = {each.__name__ for each in type(algorithm).__mro__ if _is_ours(each)}
    for kind in kinds & set(_PROGRAM_OF):
        raise ConfigError(f"algorithm is a {kind}; its program is {_PROGRAM_OF[kind]}")
    has_all = all(callable(getattr(algorithm, name, None)) for name in _METHODS)
    if isinstance(algorithm, type) or not has_all:
        raise ConfigError(
            f"algorithm is {algorithm!r}; it must be a search, such as Beam(n=16, width=4), or "
            "its text"
        )
    return cast(Algorithm[Any, Any], algorithm)


_METHODS: Final = ("init", "step", "is_done", "found")


def _plain(name: str) -> str:
    return name.strip().replace("-", "").replace("_", "").lower()


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("motet.search.")

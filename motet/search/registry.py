"""Algorithms by name, with their settings as text: `beam`, `beam(n=16, width=4)`."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any, Final, cast

from motet.errors import ConfigError
from motet.search.algorithm import Algorithm

ALGORITHMS: Final = {
    "adaptive-consistency": "motet.search.adaptive_consistency:AdaptiveConsistency",
    "adaptive-sampling": "motet.search.adaptive:AdaptiveSampling",
    "astar": "motet.search.astar:AStar",
    "beam": "motet.search.beam:Beam",
    "best-of-n": "motet.search.best_of_n:BestOfN",
    "dfs-prune": "motet.search.dfs_prune:DFSPrune",
    "dvts": "motet.search.dvts:DVTS",
    "early-pruning": "motet.search.early_pruning:EarlyPruning",
    "mcts": "motet.search.mcts:MCTS",
    "mcts-alpha": "motet.search.mcts_alpha:MCTSAlpha",
    "parallel-tempering": "motet.search.tempering:ParallelTempering",
    "particle-gibbs": "motet.search.particle_gibbs:ParticleGibbs",
    "particles": "motet.search.particles:Particles",
    "speculative-rejection": "motet.search.speculative_rejection:SpeculativeRejection",
}
"""Name -> where the class is."""


def find_algorithm(
    text: str, among: Mapping[str, str] = ALGORITHMS, *, what: str = "algorithm"
) -> Algorithm[Any, Any]:
    """Return the algorithm that `text` names; its settings are Python literals.

    Args:
        text: A name, or a name with settings.
        among: What is known, as `ALGORITHMS`.
        what: Word for it, in errors.

    Raises:
        ConfigError: There is no such algorithm or setting, or a value is wrong.
    """
    name, bracket, rest = text.strip().partition("(")
    place = among.get(_key(name, among))
    if place is None:
        raise ConfigError(f"{what} is {text!r}; {_hint(name, among)}")
    module, _, attribute = place.partition(":")
    kind: Any = getattr(import_module(module), attribute)
    settings = literal_settings(text, rest) if bracket else {}
    known = {each.name: each.default for each in fields(kind)}
    for setting in settings:
        if setting not in known:
            raise ConfigError(f"{name} has no setting {setting!r}; {_hint(setting, known)}")
        if callable(known[setting]):
            raise ConfigError(f"{setting} of {name} is a function, which is given in Python only")
    try:
        found: Algorithm[Any, Any] = kind(**settings)
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"{what} is {text!r}: {exc}") from exc
    return found


def canonical_text(text: str) -> str:
    """Return the one way to write what `text` names: `BestOfN( n=4 )` is `best-of-n(n=4)`.

    Raises:
        ConfigError: As `find_algorithm`.
    """
    known = [each.name for each in fields(cast(Any, find_algorithm(text)))]
    name, bracket, rest = text.strip().partition("(")
    settings = literal_settings(text, rest) if bracket else {}
    shown = [f"{each}={settings[each]!r}" for each in known if each in settings]
    return _key(name) + (f"({', '.join(shown)})" if shown else "")


def _key(name: str, among: Mapping[str, str] = ALGORITHMS) -> str:
    """Return the name under which an algorithm stands, of it or of its class."""
    plain = name.strip().replace("_", "-").lower()
    classes = {place.rpartition(":")[2].lower(): key for key, place in among.items()}
    return classes.get(plain, plain)


def literal_settings(
    text: str,
    rest: str,
    *,
    what: str = "algorithm",
    example: str = "beam(n=16, width=4)",
) -> dict[str, Any]:
    """Return the settings that stand behind a name's opening bracket: Python literals.

    Args:
        text: The whole, for messages.
        rest: What stands behind the bracket.
        what: Word for it, in errors.
        example: How it is written, in errors.

    Raises:
        ConfigError: It is written otherwise.
    """
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        names = [each.arg for each in call.keywords] if isinstance(call, ast.Call) else []
        is_plain = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args
        if not is_plain or None in names or len(set(names)) < len(names):
            raise ValueError("settings are given as name=value")
        assert isinstance(call, ast.Call)
        return {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as exc:
        raise ConfigError(f"{what} is {text!r}; settings are written as in {example}") from exc


def _hint(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"

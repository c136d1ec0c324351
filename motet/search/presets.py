"""Searches by name, with the settings of a published comparison of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from motet.errors import ConfigError
from motet.search.adaptive_consistency import AdaptiveConsistency
from motet.search.algorithm import Algorithm
from motet.search.beam import Beam
from motet.search.best_of_n import BestOfN, final_answer
from motet.search.dfs_prune import DFSPrune
from motet.search.mcts_alpha import MCTSAlpha
from motet.search.selection import Extract


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetSampling:
    """How a proposer samples, so that a preset's numbers compare with the source's."""

    temperature: float = 0.7
    top_p: float = 0.9
    max_tokens: int = 2048


SAMPLING: Final = PresetSampling()
"""Of all presets."""

_MADE: Final[Mapping[str, Callable[[Extract], Any]]] = MappingProxyType(
    {
        "best-of-n": lambda extract: BestOfN(n=32, extract=extract),
        "majority": lambda extract: BestOfN(n=32, choose="majority", extract=extract),
        "weighted-majority": lambda extract: BestOfN(n=32, choose="weighted", extract=extract),
        "adaptive-majority": lambda extract: AdaptiveConsistency(max_draws=32, extract=extract),
        "beam": lambda extract: Beam(n=16, width=4, max_steps=20),
        "mcts-alpha": lambda extract: MCTSAlpha(
            num_simulations=5, n=4, max_depth=8, c_init=1.25, c_base=19652.0
        ),
        "dfs-prune": lambda extract: DFSPrune(
            n=4, max_depth=8, prune_ratio=0.4, min_score=0.3, num_paths=3
        ),
    }
)

PRESETS: Final = tuple(sorted(_MADE))
"""Their names."""


def preset(name: str, *, extract: Extract = final_answer) -> Algorithm[Any, Any]:
    """Return a search with the settings of its name, for a `Problem` whose scores are in [0, 1].

    `dataclasses.replace` changes one of them.

    Args:
        name: One of `PRESETS`.
        extract: Reads the answer where answers vote; `motet.search.answers.maths_answer` lets
            those of one mathematical value vote together.

    Raises:
        ConfigError: There is no such preset.

    Source: settings of usail-hkust/benchmark_inference_time_computation_LLM. Ours are
    `adaptive-majority`, the proposals of `beam` (16, 4 a beam), the 4 steps a node of the tree
    searches, the bound of `dfs-prune`'s expansions, and `extract`.
    """
    if not isinstance(name, str) or name not in _MADE:
        close = difflib.get_close_matches(str(name), PRESETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(PRESETS)}"
        raise ConfigError(f"preset is {name!r}; {hint}")
    found: Algorithm[Any, Any] = _MADE[name](extract)
    return found

"""All sources whose figures can be recomputed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, TypeAlias

from motet.errors import ConfigError, MotetError
from motet.evaluation.published.figure import Published
from motet.search.settings import one_of

Figures: TypeAlias = Callable[..., list[Published]]
"""Takes the folders that hold data sets, which are parts of the same ones."""

_PLACES: Final = {
    "alpaca_eval_lc": "alpaca_eval_lc:figures",
    "zeroeval_gsm8k": "zeroeval:gsm8k",
    "zeroeval_math_l5": "zeroeval:math_l5",
    "zeroeval_crux": "zeroeval:crux",
    "llmbar": "llmbar:figures",
    "judgebench": "judgebench:figures",
    "autoj": "autoj:figures",
    "pandalm": "pandalm:figures",
    "wildbench": "wildbench:figures",
    "bbh": "bbh:figures",
    "gsm8k": "gsm8k:figures",
    "qwen_bon8": "qwen_bon8:figures",
    "codet_samples": "codet_samples:figures",
    "tot_logs": "tot_logs:figures",
    "routellm": "routellm:figures",
    "routerarena": "routerarena:figures",
    "llmrouter": "llmrouter:figures",
    "open_llm_lb_v2": "open_llm_lb_v2:figures",
    "bandit": "bandit:figures",
}
SOURCES: Final = tuple(_PLACES)
"""By the names of their folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """The figures of a source, or why there are none."""

    source: str
    figures: tuple[Published, ...]
    missing: str | None
    """What is absent or cannot be read; then there are no figures."""
    seconds: float

    @property
    def misses(self) -> tuple[Published, ...]:
        return tuple(figure for figure in self.figures if not figure.is_reproduced)

    @property
    def is_reproduced(self) -> bool:
        return self.missing is None and not self.misses


def figures_of(source: str) -> Figures:
    """Return what computes the figures of a source.

    Raises:
        ConfigError: There is no such source; lists those that there are.
    """
    one_of("source", source, SOURCES)
    module, _, name = _PLACES[source].partition(":")
    found: Figures = getattr(import_module(f"motet.evaluation.published.{module}"), name)
    return found


def recompute(folders: Sequence[Path], names: Sequence[str] = ()) -> Iterator[Recomputed]:
    """Compute the figures of each source; a set that is absent or damaged stops no other.

    Args:
        folders: Each holds a folder for each data set. Several are parts of the same sets.
        names: Of sources; all, if there are none.

    Raises:
        ConfigError: A name is no source, or there is no folder.
    """
    chosen = list(dict.fromkeys(names)) or list(SOURCES)
    computes = {name: figures_of(name) for name in chosen}
    if not folders:
        raise ConfigError("no folder of data sets is given")
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder of data sets")
    return (_recomputed(name, compute, folders) for name, compute in computes.items())


def _recomputed(source: str, compute: Figures, folders: Sequence[Path]) -> Recomputed:
    began = time.perf_counter()
    missing = None
    found: tuple[Published, ...] = ()
    try:
        found = tuple(compute(*folders))
        if not found:
            missing = f"nothing is stated of {source}"
    except MotetError as exc:
        missing = str(exc)
    seconds = time.perf_counter() - began
    return Recomputed(source=source, figures=found, missing=missing, seconds=seconds)

"""What engines must be able to do, found out before a search has paid for anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from motet.engine import Capability, Engine, LearningEngine
from motet.errors import CapabilityError, EngineError
from motet.model import Model
from motet.refs import RUN
from motet.search.adaptive import AdaptiveSampling
from motet.search.adaptive_consistency import AdaptiveConsistency
from motet.search.best_of_n import BestOfN
from motet.search.compute_optimal import ComputeOptimal

_WHOLE: Final = (AdaptiveConsistency, AdaptiveSampling, BestOfN)
"""Searches that draw whole answers to the question, and go on with none."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a setting's model must be able to do."""

    setting: str
    model: Model
    capability: Capability


async def refuse_unable(needs: Iterable[Need]) -> None:
    """Refuse what an engine is known not to be able to do; one that has to be asked is asked.

    An engine that is away is not held against the program: its calls will tell.

    Raises:
        CapabilityError: names the setting and what is missing.
    """
    for need in needs:
        if not await _is_able(need.model, need.capability):
            raise CapabilityError(
                f"{need.setting} is {need.model.label}, which lacks {need.capability}"
            )


async def _is_able(model: Model, capability: Capability) -> bool:
    if model.program is not None:
        return capability is Capability.CONTINUE  # its chat may end as it will
    engine = await _engine_of(model)
    if isinstance(engine, LearningEngine) and _is_asked(engine, capability):
        try:
            await engine.prepare()
        except EngineError:
            return True
    return capability in engine.capabilities


def _is_asked(engine: Engine, capability: Capability) -> bool:
    """Whether asking may change what is known: a server may lack what most have."""
    return engine.url.startswith("http") or capability not in engine.capabilities


async def _engine_of(model: Model) -> Engine:
    if isinstance(model.engine, Engine):
        return model.engine
    run: Any = RUN.get()
    dispatcher = await run.dispatcher(model)
    engine: Engine = dispatcher.engine
    return engine


def needs_of_scorer(scorer: Any, setting: str = "scorer") -> list[Need]:
    """Return what a scorer needs, where it says so: the `capability` of its `model`, or what its
    `scorers` need.
    """
    found: list[Need] = []
    members = getattr(scorer, "scorers", ())
    for member in members if isinstance(members, tuple) else ():
        found += needs_of_scorer(member, setting)
    model, capability = getattr(scorer, "model", None), getattr(scorer, "capability", None)
    if isinstance(model, Model) and isinstance(capability, Capability):
        found.append(Need(setting, model, capability))
    return found


def goes_on(algorithm: Any) -> bool:
    """Say whether a search goes on with unfinished solutions; of one's own it is not known."""
    if isinstance(algorithm, ComputeOptimal):
        return any(map(goes_on, algorithm.algorithms))
    is_ours = type(algorithm).__module__.startswith("motet.search.")
    return is_ours and not isinstance(algorithm, _WHOLE)

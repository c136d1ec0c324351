"""The shape of every search: `init`, `step`, `is_done` over a frozen state."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol, TypeVar

from motet.search.partials import Candidate
from motet.search.spending import Limits, Spend
from motet.search.tree import Tree
from motet.types import JSON

StateT = TypeVar("StateT")


class Metered(Protocol):
    """What a search asks things of: it keeps the limits and counts."""

    spend: Spend
    """What was used so far."""
    is_spent: bool
    """Whether something was not asked for because a limit was reached."""


ToolsT_co = TypeVar("ToolsT_co", bound=Metered, covariant=True)
ToolsT_contra = TypeVar("ToolsT_contra", bound=Metered, contravariant=True)


class Searchable(Protocol[ToolsT_co]):
    """A problem: callables, which `tools` hands out so that they keep the limits."""

    def tools(self, limits: Limits, spend: Spend) -> ToolsT_co: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a state holds for the reader."""

    best: Candidate | None
    """What the search would answer if it ended here; unfinished where nothing is finished yet."""
    is_elected: bool = False
    """Whether votes or chance chose `best`, so that a later one replaces it whatever its score; a
    finished one is replaced by finished ones only."""
    candidates: tuple[Candidate, ...] = ()
    """Solutions that compete, finished ones first, best first."""
    tree: Tree = field(default_factory=Tree)
    notes: Mapping[str, JSON] = field(default_factory=dict)
    """Further figures, by name: an effective sample size, a vote's share."""


class Algorithm(Protocol[StateT, ToolsT_contra]):
    """A search. Its fields are its settings; what it knows stands in the state.

    A state is frozen, made of dataclasses, tuples and plain values, so that it can be written and
    read back (`motet.search.checkpoints`). All chance comes from `rng`, so that a step is a
    function of its state and of what the tools answer.

    One that cannot do without a problem's `score` or `verify` says so in an attribute or property
    `needs`, a set of those names, and is refused before anything is asked.
    """

    def init(self, seed: int) -> StateT:
        """Return the state before the first step."""
        ...

    async def step(self, state: StateT, tools: ToolsT_contra) -> StateT:
        """Take one step; hand whole batches to the tools.

        Where tools give nothing (a failed sample, a spent limit), the step goes on with what there
        is. A step must change the state, or the search ends.
        """
        ...

    def is_done(self, state: StateT) -> bool: ...

    def found(self, state: StateT) -> Found: ...


def rng(seed: int, *place: int) -> random.Random:
    """Return the generator of one place in a search: the number of a step, say, and of a particle."""
    text = ":".join(map(str, (seed, *place)))
    return random.Random(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big"))

"""Routers: from the embedding of a prompt to an estimate of each model's score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats, Outcomes


@runtime_checkable
class TrainedRouter(Protocol):
    """A fitted router; it is a frozen dataclass of arrays, numbers and texts, so that `save` and
    `load` (motet/routing/saving.py) can write it without pickle.
    """

    @property
    def models(self) -> tuple[str, ...]: ...

    @property
    def dimensions(self) -> int:
        """Length D of the embeddings that it was trained on."""
        ...

    def estimate(self, embeddings: Floats) -> Floats:
        """Return estimated scores [Q, M], 0 to 1, of Q prompts by their embeddings [Q, D].

        Raises:
            DataError: The embeddings are of another size than those it was trained on.
        """
        ...


class Router(Protocol):
    """A frozen dataclass of settings, whose `fit` gives a `TrainedRouter`."""

    def fit(self, outcomes: Outcomes, embeddings: Floats) -> TrainedRouter:
        """Train on a table and the embeddings [P, D] of its prompts; the same each time.

        Raises:
            DataError: The table cannot teach it, for instance a model never tried.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which model is to answer, and why."""

    model: str
    reason: str
    """One sentence for a person."""
    price: float | None
    """Expected cost of the answer in the unit of the outcomes table; None where unknown."""
    estimates: Mapping[str, float]
    """Estimated score of each model that was considered."""

"""What a run gives back, whole or partial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from motet.engine import Usage
from motet.errors import MotetError
from motet.graph import Graph

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallResult:
    """One call of a run that ended."""

    id: str
    parent_id: str | None
    operation: str
    value: Any = None
    error: MotetError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialResult:
    """What a run finished before it ended without its value."""

    run_id: str
    usage: Usage
    """What was paid for, over all resumptions."""
    cost: float
    calls: tuple[CallResult, ...]
    """Calls that finished or failed, in the order in which they became known."""

    @property
    def values(self) -> list[Any]:
        """Values of the finished prompts and steps."""
        return [c.value for c in self.calls if c.error is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Generic[T]):
    """A run's value, and what it took."""

    value: T
    run_id: str
    usage: Usage
    """What was paid for, over all resumptions."""
    cost: float
    """In the currency of the models' prices."""
    duration_s: float
    """Of this execution."""
    _graph: Callable[[], Graph] = field(repr=False, compare=False)

    @property
    def graph(self) -> Graph:
        """The graph that ran, grown to its full size, with what every call used."""
        return self._graph()

"""What a run reports: frozen events, sent to observers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from motet.engine import Usage

CallKind: TypeAlias = Literal["prompt", "step", "program", "map", "race", "collect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a run."""

    run_id: str
    time_s: float
    """Monotonic clock, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    program: str
    is_resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent(Event):
    """Something that happened to one call."""

    call_id: str
    parent_id: str | None
    """The program call that made this call; None at the top."""
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCreated(CallEvent):
    """The call is known; it may still wait for its inputs."""

    kind: CallKind
    inputs: tuple[str, ...]
    """Ids of the calls whose values it takes."""
    model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(CallEvent):
    """Its inputs are there and it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCalled(CallEvent):
    """A request went to the engine."""

    model: str
    attempt: int
    """1 for the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRetried(CallEvent):
    """An attempt failed and another follows."""

    attempt: int
    error: str
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStreamed(CallEvent):
    """A piece of text of completion number `index`."""

    index: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished(CallEvent):
    """The call has its value."""

    usage: Usage
    cost: float
    duration_s: float
    source: Literal["engine", "cache", "journal", "local"]
    """Who answered: the engine, the cache across runs, this run's journal, or plain Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed(CallEvent):
    error_type: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCancelled(CallEvent):
    """Nobody needs the call any more, or a limit was reached; the engine was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    status: Literal["finished", "failed", "cancelled"]
    usage: Usage
    cost: float
    duration_s: float
    error: str | None = None


class Observer(Protocol):
    """Receives every event of a run, on the run's thread. It cannot change the run."""

    def on_event(self, event: Event) -> None: ...

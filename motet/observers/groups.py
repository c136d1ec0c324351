"""A run's calls, counted in groups of equal ones, so that 10,000 calls cost as little as ten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet.engine import Usage
from motet.events import (
    CallCancelled,
    CallCreated,
    CallFailed,
    CallFinished,
    CallStarted,
    EngineRetried,
    RunFinished,
    RunStarted,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motet.events import CallKind, Event

_MAX_DEPTH = 12
"""Deeper calls count with their ancestor at this depth."""
_MAX_GROUPS = 2000


class Group:
    """Calls of one operation on one model, made by calls of one group."""

    __slots__ = (
        "cached",
        "cancelled",
        "children",
        "created",
        "depth",
        "ended_s",
        "error",
        "failed",
        "finished",
        "kind",
        "model",
        "operation",
        "retries",
        "running",
        "started_s",
        "tokens",
    )

    def __init__(self, operation: str, kind: CallKind, model: str | None, depth: int) -> None:
        self.operation = operation
        self.kind = kind
        self.model = model
        self.depth = depth
        self.children: dict[tuple[str, str | None], Group] = {}
        self.created = 0
        self.running = 0
        self.finished = 0
        self.failed = 0
        self.cancelled = 0
        self.cached = 0
        """Finished without asking the engine: from the journal or the cache."""
        self.retries = 0
        self.tokens = 0
        self.started_s: float | None = None
        self.ended_s: float | None = None
        self.error: str | None = None
        """Of the last call that failed, or of the last attempt while none has."""

    @property
    def name(self) -> str:
        """Name to show a person."""
        short = self.operation.rpartition(":")[2].rpartition(".")[2]
        return short if self.model is None else f"{short} on {self.model}"

    @property
    def is_done(self) -> bool:
        return self.finished + self.failed + self.cancelled >= self.created

    def seconds(self, now_s: float) -> float:
        """Time from the first start to the last end, or until now."""
        if self.started_s is None:
            return 0.0
        until = self.ended_s if self.is_done and self.ended_s is not None else now_s
        return max(0.0, until - self.started_s)

    def walk(self) -> Iterator[Group]:
        for child in self.children.values():
            yield child
            yield from child.walk()


class CallGroups:
    """Counts what happens in a run. Feed it events; read `root`, `usage` and `cost` any time."""

    def __init__(self) -> None:
        self.root = Group("", "program", None, 0)
        self.program = ""
        self.run_id: str | None = None
        self.is_resumed = False
        self.status: str | None = None
        self.started_s: float | None = None
        self.usage = Usage()
        self.cost = 0.0
        self.retries = 0
        self.num_prompts = 0
        self.num_prompts_done = 0
        self._groups: dict[str, Group] = {}
        """Of calls that are not done."""
        self._running: set[str] = set()
        self._num_groups = 0

    def add(self, event: Event) -> None:
        """Count `event`."""
        if isinstance(event, CallCreated):
            self._create(event)
        elif isinstance(event, CallStarted):
            self._start(event)
        elif isinstance(event, CallFinished):
            group = self._end(event)
            group.finished += 1
            if not group.failed:
                group.error = None
            if event.source in ("cache", "journal"):
                group.cached += 1
            group.tokens += event.usage.tokens
            if group.kind == "prompt":
                self.usage += event.usage
                self.cost += event.cost
        elif isinstance(event, CallFailed):
            group = self._end(event)
            group.failed += 1
            group.error = f"{event.error_type}: {event.message}"
        elif isinstance(event, CallCancelled):
            self._end(event).cancelled += 1
        elif isinstance(event, EngineRetried):
            self.retries += 1
            group = self._groups.get(event.call_id, self.root)
            group.retries += 1
            group.error = event.error
        elif isinstance(event, RunStarted):
            self.program, self.run_id = event.program, event.run_id
            self.is_resumed = event.is_resumed
            self.started_s = event.time_s
        elif isinstance(event, RunFinished):
            self.status, self.usage, self.cost = event.status, event.usage, event.cost

    def _create(self, event: CallCreated) -> None:
        parent = self._groups.get(event.parent_id or "", self.root)
        group = parent
        if parent.depth < _MAX_DEPTH:
            key = (event.operation, event.model)
            found = parent.children.get(key)
            if found is None and self._num_groups < _MAX_GROUPS:
                found = Group(event.operation, event.kind, event.model, parent.depth + 1)
                parent.children[key] = found
                self._num_groups += 1
            group = found or parent
        group.created += 1
        self._groups[event.call_id] = group
        if event.kind == "prompt":
            self.num_prompts += 1
        elif event.kind in ("program", "map", "race"):
            # Its calls run before it has its value, so it is at work from now on.
            self._mark_running(event, group)

    def _start(self, event: CallStarted) -> None:
        if event.call_id not in self._running:
            self._mark_running(event, self._groups.get(event.call_id, self.root))

    def _mark_running(self, event: CallCreated | CallStarted, group: Group) -> None:
        group.running += 1
        self._running.add(event.call_id)
        if group.started_s is None:
            group.started_s = event.time_s

    def _end(self, event: CallFinished | CallFailed | CallCancelled) -> Group:
        group = self._groups.pop(event.call_id, self.root)
        if event.call_id in self._running:
            self._running.discard(event.call_id)
            group.running -= 1
        group.ended_s = event.time_s
        if group.kind == "prompt":
            self.num_prompts_done += 1
        return group

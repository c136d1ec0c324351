"""`motet map`: run a program on every row of a file, in order, to be gone on with at any time.

Rows are worked on in parts. Each part is a run of one program that calls the user's once a row, so
that the journal answers what was finished before a kill, and the budget holds over all rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from motet.cli.calling import Invocation, with_models
from motet.cli.failures import FAILED, CommandError
from motet.cli.inputs import Input, bind, inputs_of
from motet.cli.rows import Output, Row
from motet.cli.terminal import safe_plain
from motet.engine import Usage
from motet.errors import (
    BudgetExhaustedError,
    CallCancelledError,
    EngineUnavailableError,
    ModelNotFoundError,
    MotetError,
    RunFailedError,
)
from motet.events import CallFinished, Event, RunStarted
from motet.operations import Program

if TYPE_CHECKING:
    from motet.budget import Budget
    from motet.cli.mapping_state import MappingState
    from motet.cli.settings import Settings
    from motet.events import Observer
    from motet.model import Model

_MOST_PROBLEMS = 10
_MOST_UNAVAILABLE = 8
"""So many rows in a row that the engine did not answer end the mapping."""


@dataclass(slots=True, kw_only=True)
class Mapping:
    """One `motet map` at work."""

    invocation: Invocation
    settings: Settings
    output: Output
    state: MappingState
    concurrency: int
    window: int
    is_strict: bool = False
    is_cached: bool = True
    observers: list[Observer] = field(default_factory=list)
    stopped_by: Exception | None = None
    """Why no further row is begun."""
    is_engine_gone: bool = False
    paid: Usage = field(default_factory=Usage)
    """In this process."""
    problems: list[str] = field(default_factory=list)
    """Of the first rows that failed."""
    _inputs: list[Input] = field(default_factory=list)
    _ready: dict[int, tuple[Any, dict[str, Any] | None]] = field(default_factory=dict)
    _waiting: list[Row] = field(default_factory=list)
    """Rows of the part that are not written, in order."""
    _unavailable: set[int] = field(default_factory=set)
    _deadline: float | None = None

    def on_event(self, event: Event) -> None:
        if isinstance(event, CallFinished) and event.source == "engine":
            self.paid += event.usage

    async def work(self, rows: Iterator[Row]) -> None:
        """Write a line for every row behind the output's last.

        Raises:
            RunFailedError, CommandError: It had to stop; started again, it goes on.
        """
        assert self.invocation.found.operation is not None
        self._inputs = inputs_of(self.invocation.found.operation)
        if self.settings.timeout is not None:
            self._deadline = time.monotonic() + self.settings.timeout
        for part in itertools.count():
            chunk = list(itertools.islice(rows, self.window))
            if not chunk:
                return
            if chunk[-1].number > self.output.last:
                await self._work_part(part, chunk)

    async def _work_part(self, part: int, chunk: list[Row]) -> None:
        from motet.runtime.running import arun

        self._waiting = [row for row in chunk if row.number > self.output.last]
        keep = _Keeper(self, part)
        settings = self.settings
        try:
            with contextlib.redirect_stdout(sys.stderr):
                result = await arun(
                    self._program(chunk)([[r.number, r.inputs, r.error] for r in chunk]),
                    budget=self._budget_left(),
                    seed=settings.seed,
                    model=settings.make_model(settings.model),
                    store=settings.store_or_none,
                    cache=self.is_cached,
                    resume=self.state.resumable(part),
                    observers=[keep, self, *self.observers],
                    stream=False,
                    max_concurrency=settings.max_concurrency,
                    manifest=self._manifest(chunk),
                    patience_s=30.0,
                )
        except RunFailedError as exc:
            if self.is_engine_gone:
                # What failed is in that run's journal; a new one asks again.
                self.state.end(exc.partial.usage, exc.partial.cost)
            if self.stopped_by is None:
                raise
            if isinstance(self.stopped_by, MotetError):
                raise exc from self.stopped_by
            raise self.stopped_by from exc
        self.state.end(result.usage, result.cost)

    def _manifest(self, chunk: list[Row]) -> dict[str, Any]:
        manifest = self.invocation.manifest(self.settings)
        manifest["command"]["rows"] = [chunk[0].number, chunk[-1].number]
        manifest["command"]["output"] = self.output.path
        return manifest

    def _budget_left(self) -> Budget | None:
        budget = self.settings.budget
        if budget is None:
            return None
        used = self.state.usage
        left = {
            "max_tokens": (budget.max_tokens, used.tokens),
            "max_calls": (budget.max_calls, used.calls),
            "max_cost": (budget.max_cost, self.state.cost),
        }
        changes: dict[str, Any] = {
            name: None if limit is None else max(0, limit - spent)
            for name, (limit, spent) in left.items()
        }
        if self._deadline is not None:
            changes["timeout_s"] = max(0.0, self._deadline - time.monotonic())
        return replace(budget, **changes)

    def _program(self, chunk: list[Row]) -> Program[Any]:
        gate = asyncio.Semaphore(self.concurrency)

        async def map_rows(rows: list[Any]) -> int:
            # Each task is a branch of its own, named by its place: ids do not depend on the order.
            async with asyncio.TaskGroup() as group:
                for row in chunk:
                    group.create_task(self._work_row(row, gate))
            if self.stopped_by is not None:
                raise CallCancelledError(f"the mapping was stopped: {self.stopped_by}")
            self._unavailable.clear()
            self._flush()
            return len(rows)

        return Program(map_rows, {}, "motet.cli:map_rows")

    async def _work_row(self, row: Row, gate: asyncio.Semaphore) -> None:
        if row.number <= self.output.last:
            return
        async with gate:
            if self.stopped_by is not None:
                return
            try:
                value, error = safe_plain(await self._call(row)), None
            except CommandError as exc:
                value, error = None, {"type": "RowError", "message": told(exc)}
                problem: Exception = exc
            except MotetError as exc:
                value, error = None, {"type": type(exc).__name__, "message": str(exc)}
                problem = exc
        if error is None:
            self._unavailable.clear()
        elif self._must_stop(row, problem):
            return
        self._ready[row.number] = value, error
        try:
            self._flush()
        except OSError as exc:
            self.stopped_by = self.stopped_by or CommandError(
                f"{self.output.path or 'stdout'} cannot be written: {exc.strerror}",
                "make room and start the same command again: it goes on",
                code=FAILED,
            )

    async def _call(self, row: Row) -> Any:
        if row.inputs is None:
            raise CommandError(row.error or "no row")
        operation: Any = self.invocation.found.operation
        given = with_models(self._inputs, row.inputs, self.settings)
        return await operation(**bind(self._inputs, given, self._make_model))

    def _make_model(self, text: str) -> Model:
        """Make a model; one that only a row names gets no key of the user's."""
        given = self.invocation.inputs.values()
        texts = [t for v in given for t in (v if isinstance(v, list) else [v])]
        is_ours = text == self.settings.model or text in texts
        return self.settings.make_model(text, is_foreign=not is_ours)

    def _must_stop(self, row: Row, problem: Exception) -> bool:
        """Say whether to end here instead of writing the row's failure."""
        if isinstance(problem, (BudgetExhaustedError, CallCancelledError)):
            self.stopped_by = self.stopped_by or problem
            return True
        if self.is_strict:
            self.stopped_by = self.stopped_by or CommandError(
                f"row {row.number}: {problem}", "without --strict it would go on", code=FAILED
            )
            return True
        if isinstance(problem, (EngineUnavailableError, ModelNotFoundError)):
            self._unavailable.add(row.number)
            most = min(_MOST_UNAVAILABLE, len(self._waiting))
            if len(self._unavailable) >= most:
                self.is_engine_gone = True
                self.stopped_by = self.stopped_by or problem
                return True
        else:
            self._unavailable.clear()
        return False

    def _flush(self) -> None:
        """Write what is ready, up to the first row that is not."""
        written = 0
        for row in self._waiting:
            if row.number not in self._ready or row.number in self._unavailable:
                break
            value, error = self._ready.pop(row.number)
            self.output.write(row, value, error)
            written += 1
            if error is not None and len(self.problems) < _MOST_PROBLEMS:
                self.problems.append(f"row {row.number}: {error['type']}: {error['message']}")
        del self._waiting[:written]


def told(error: CommandError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)


class _Keeper:
    """Writes down which run works on a part, before it asks anything."""

    def __init__(self, mapping: Mapping, part: int) -> None:
        self._mapping = mapping
        self._part = part

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            try:
                self._mapping.state.begin(self._part, event.run_id)
            except CommandError as exc:
                self._mapping.stopped_by = self._mapping.stopped_by or exc

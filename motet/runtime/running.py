"""Running a program: `run`, `arun`, `stream`, and what a program can ask about its run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from motet.budget import LIMITS, Budget, remaining
from motet.engine import Usage
from motet.errors import (
    ConfigError,
    MotetError,
    ReplayMismatchError,
    RunFailedError,
    StoreError,
    UnboundInputError,
)
from motet.events import Event, Observer, RunFinished, RunStarted
from motet.model import Model
from motet.refs import RUN, SCOPE, Ref
from motet.runtime.branches import named_branches
from motet.runtime.collecting import rare_full_collections
from motet.runtime.engines import EnginePool
from motet.runtime.executor import Executor
from motet.runtime.journal import Journal
from motet.runtime.planning import graph_of
from motet.runtime.result import CallResult, PartialResult, Result
from motet.store.records import RunRecord
from motet.types import JSON

if TYPE_CHECKING:
    from motet.store import Store

T = TypeVar("T")
_log = logging.getLogger(__name__)
DEFAULT_STORE = "default"
"""Stands for a SQLite file in the user's data folder."""
_PATIENCE_S = 30.0
"""How long a first Ctrl-C waits for requests in flight."""


def default_store_path() -> str:
    """Path of the store that is used where none is named."""
    import platformdirs

    return os.path.join(platformdirs.user_data_dir("motet", appauthor=False), "motet.db")  # noqa: PTH118


def new_run_id() -> str:
    """An id that sorts by time and that a person can type."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3)


async def arun(
    ref: Ref[T],
    *,
    budget: Budget | None = None,
    seed: int | None = None,
    model: Model | str | None = None,
    store: Store | str | os.PathLike[str] | None = DEFAULT_STORE,
    cache: bool = True,
    resume: str | None = None,
    observers: Sequence[Observer] = (),
    stream: bool = False,
    max_concurrency: int | None = None,
    manifest: Mapping[str, JSON] | None = None,
    patience_s: float = 0.0,
) -> Result[T]:
    """Run `ref` and return its value with what it took.

    Args:
        ref: What a prompt, a step, a program or a combinator returned.
        budget: Limits of the whole run, resumptions included.
        seed: Seeds of all calls derive from it and from their ids; 0 by default.
        model: For prompts that nothing else binds.
        store: Journal and cache: a `Store`, a path, a database URL, or None for neither. By
            default a SQLite file in the user's data folder.
        cache: Whether an equal request of an earlier run may answer.
        resume: Id of a run of the same program to go on with.
        observers: Told of every event.
        stream: Ask engines for text piece by piece, reported as `TextStreamed`.
        max_concurrency: Most requests in flight at one engine; None leaves it to the engine.
        manifest: Kept with the run's record, for whoever wants to rebuild the program.
        patience_s: Seconds that a cancelled run waits for requests in flight, so that what they
            answer is kept.

    Raises:
        ProgramError, ConfigError: The program or a setting is wrong; nothing was asked.
        RunFailedError: The run ended without its value; holds the partial result and the run's
            id, to resume from.
    """
    if not isinstance(ref, Ref):
        raise UnboundInputError(f"run takes a ref, not {type(ref).__name__}")
    if ref.branch.live is not None:
        raise UnboundInputError(
            f"{ref!r} belongs to a running program, which has started it; await it there",
            place=ref.place,
        )
    if budget is not None and not isinstance(budget, Budget):
        raise ConfigError(f"budget is {budget!r}; write motet.Budget(max_tokens=...)")
    for observer in observers:
        if isinstance(observer, type) or not callable(getattr(observer, "on_event", None)):
            raise ConfigError(f"observer {observer!r} has no method on_event")
    if max_concurrency is not None and max_concurrency < 1:
        raise ConfigError(f"max_concurrency is {max_concurrency}; it must be at least 1")
    if resume is not None and store is None:
        raise ConfigError("resume needs a store; store is None")
    with contextlib.ExitStack() as stack:
        opened = _open_store(store, stack)
        journal, budget, seed = await _open_journal(
            opened, ref, resume, budget, seed, dict(manifest or {}), stack
        )
        executor = Executor(
            journal.record.run_id if journal is not None else new_run_id(),
            budget=budget,
            seed=seed,
            model=Model(model) if isinstance(model, str) else model,
            journal=journal,
            is_cached=cache,
            observers=observers,
            is_streaming=stream,
            engines=EnginePool.of_running_loop(),
            max_concurrency=max_concurrency,
        )
        return await _execute(executor, ref, resume is not None, patience_s)


def run(
    ref: Ref[T],
    *,
    budget: Budget | None = None,
    seed: int | None = None,
    model: Model | str | None = None,
    store: Store | str | os.PathLike[str] | None = DEFAULT_STORE,
    cache: bool = True,
    resume: str | None = None,
    observers: Sequence[Observer] = (),
    stream: bool = False,
    max_concurrency: int | None = None,
    manifest: Mapping[str, JSON] | None = None,
) -> Result[T]:
    """Run `ref` from plain code; see `arun` for the settings.

    Inside a running event loop, as in a notebook, the run has a thread of its own. A first
    Ctrl-C waits for the requests in flight, a second one does not.
    """
    coroutine = arun(
        ref,
        budget=budget,
        seed=seed,
        model=model,
        store=store,
        cache=cache,
        resume=resume,
        observers=observers,
        stream=stream,
        max_concurrency=max_concurrency,
        manifest=manifest,
        patience_s=_PATIENCE_S,
    )
    is_nested = True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        is_nested = False
    result: Result[T] = _run_in_thread(coroutine) if is_nested else asyncio.run(coroutine)
    return result


def _run_in_thread(coroutine: Any) -> Any:
    outcome: dict[str, Any] = {}

    async def cancellable() -> Any:
        outcome["task"] = asyncio.current_task()
        outcome["loop"] = asyncio.get_running_loop()
        return await coroutine

    def work() -> None:
        try:
            outcome["value"] = asyncio.run(cancellable())
        except BaseException as exc:
            outcome["error"] = exc

    thread = threading.Thread(target=work, name="motet-run")
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        if "task" in outcome:
            outcome["loop"].call_soon_threadsafe(outcome["task"].cancel)
        thread.join()
        raise
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


class _Feed:
    """An observer that hands events to a stream."""

    def __init__(self, queue: asyncio.Queue[Event | None]) -> None:
        self._queue = queue

    def on_event(self, event: Event) -> None:
        self._queue.put_nowait(event)

    def end(self, task: object) -> None:
        self._queue.put_nowait(None)


class EventStream(AsyncIterator[Event]):
    """The events of a run as they happen. Leaving the loop early cancels the run."""

    def __init__(self, ref: Ref[Any], settings: Mapping[str, Any]) -> None:
        self._ref = ref
        self._settings = settings
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._task: asyncio.Task[Result[Any]] | None = None

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        if self._task is None:
            # The run must not hold the stream, or leaving the loop would not be noticed.
            feed = _Feed(self._queue)
            observers = (*self._settings.get("observers", ()), feed)
            settings = {"stream": True, **self._settings, "observers": observers}
            self._task = asyncio.ensure_future(arun(self._ref, **settings))
            self._task.add_done_callback(feed.end)
        event = await self._queue.get()
        if event is not None:
            return event
        self._queue.put_nowait(None)
        if not self._task.cancelled() and self._task.exception() is not None:
            raise self._task.exception()  # type: ignore[misc]
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel the run where it still goes on."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, MotetError):
                await self._task

    def __del__(self) -> None:
        if self._task is not None and not self._task.done():
            with contextlib.suppress(RuntimeError):  # its loop may be closed
                self._task.cancel()

    @property
    def result(self) -> Result[Any]:
        """The run's result, once the stream has ended."""
        if self._task is None or not self._task.done():
            raise ConfigError("the stream has not ended yet; read all of its events first")
        return self._task.result()


def stream(ref: Ref[Any], **settings: Any) -> EventStream:
    """Run `ref` and yield its events as they happen; see `arun` for the settings.

    `async for event in motet.stream(ref)`; the value is in `.result` behind the last event.
    """
    return EventStream(ref, settings)


def _open_store(
    store: Store | str | os.PathLike[str] | None, stack: contextlib.ExitStack
) -> Store | None:
    if store is None:
        return None
    from motet.store import Store as StoreClass

    if isinstance(store, StoreClass):
        return store
    where = default_store_path() if store == DEFAULT_STORE else store
    opened = StoreClass.open(where)
    stack.callback(opened.close)
    return opened


async def _open_journal(
    store: Store | None,
    ref: Ref[Any],
    resume: str | None,
    budget: Budget | None,
    seed: int | None,
    manifest: dict[str, JSON],
    stack: contextlib.ExitStack,
) -> tuple[Journal | None, Budget, int]:
    if store is None:
        return None, budget or Budget(), seed or 0
    if resume is None:
        from motet import __version__

        manifest |= {
            "seed": seed or 0,
            "budget": asdict(budget or Budget()),
            "versions": {"motet": __version__, "python": platform.python_version()},
        }
        record = RunRecord(
            run_id=new_run_id(),
            program=ref.operation.name,
            status="running",
            created_at=time.time(),
            manifest=manifest,
        )
        stack.enter_context(store.lease(record.run_id))
        return Journal(store, record), budget or Budget(), seed or 0
    found = await store.find_run(resume)
    stack.enter_context(store.lease(found.run_id))
    journal = Journal(store, found)
    await journal.load()
    kept: Any = found.manifest
    if seed is not None and seed != kept.get("seed", 0):
        raise ReplayMismatchError(
            f"run {found.run_id} has seed {kept.get('seed', 0)}; it cannot go on with seed {seed}"
        )
    if budget is None:
        budget = Budget(**(kept.get("budget") or {}))
    else:
        journal.manifest = {**kept, "budget": asdict(budget)}
    return journal, budget, int(kept.get("seed", 0))


async def _execute(
    executor: Executor, ref: Ref[Any], is_resumed: bool, patience_s: float
) -> Result[Any]:
    began = time.monotonic()
    journal = executor.journal
    with named_branches(), rare_full_collections():
        try:
            root = await executor.prepare(ref)
            if journal is not None:
                if journal.record.root_id not in (None, root.id):
                    raise ReplayMismatchError(
                        f"run {journal.record.run_id} was of another program or other inputs than "
                        f"{ref.operation.short_name} now (at {ref.place})"
                    )
                await journal.save(
                    status="running", root_id=root.id, error=None, manifest=journal.manifest
                )
            executor.events.send(
                RunStarted(
                    run_id=executor.run_id,
                    time_s=time.monotonic(),
                    program=ref.operation.name,
                    is_resumed=is_resumed,
                )
            )
            status: Literal["finished", "failed", "cancelled"] = "cancelled"
            error: MotetError | None = None
            try:
                value = await executor.execute(root)
                status = "finished"
            except asyncio.CancelledError:
                await executor.drain(patience_s)
                raise
            except MotetError as exc:
                status, error = "failed", exc
            finally:
                try:
                    await executor.close()
                finally:
                    await _end(executor, status, began, error)
        finally:
            await executor.close()
    calls, default = executor.calls, executor.default_model
    failure = None if error is None else _failure(executor, error)
    executor.let_go()
    if failure is not None:
        raise failure from error
    return Result(
        value=value,
        run_id=executor.run_id,
        usage=executor.usage,
        cost=executor.cost,
        duration_s=time.monotonic() - began,
        _graph=lambda: graph_of(calls, ref, default=default),
    )


async def _end(executor: Executor, status: Any, began: float, error: MotetError | None) -> None:
    from motet.errors import describe_error

    if executor.journal is not None:
        try:
            await executor.journal.save(
                status=status,
                finished_at=time.time(),
                usage=executor.usage,
                cost=executor.cost,
                calls=executor.usage.calls,
                error=describe_error(error) if error is not None else None,
            )
        except StoreError as exc:
            # Every call is in the journal, so the run can be resumed to this end.
            _log.warning("the end of run %s is not recorded: %s", executor.run_id, exc)
    executor.events.send(
        RunFinished(
            run_id=executor.run_id,
            time_s=time.monotonic(),
            status=status,
            usage=executor.usage,
            cost=executor.cost,
            duration_s=time.monotonic() - began,
            error=None if error is None else f"{type(error).__name__}: {error}",
        )
    )


def _failure(executor: Executor, error: MotetError) -> RunFailedError:
    calls = tuple(
        CallResult(
            call.id,
            call.parent.id if call.parent is not None else None,
            call.ref.operation.name,
            call.value,
            call.error,
        )
        for call in executor.calls.by_ref.listed
        if call.state in ("finished", "failed")
    )
    partial = PartialResult(
        run_id=executor.run_id, usage=executor.usage, cost=executor.cost, calls=calls
    )
    how = ""
    if executor.journal is not None:
        how = f'; run {executor.run_id} can go on with motet.run(..., resume="{executor.run_id}")'
    return RunFailedError(
        f"{type(error).__name__}: {error}{how}", run_id=executor.run_id, partial=partial
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """The run that the asking code is part of, and what it has left."""

    run_id: str
    seed: int
    usage: Usage
    """Paid for so far by the whole run."""
    max_tokens: float | None
    """Tokens left; None where unlimited. Reservations of calls in flight count as spent."""
    max_calls: float | None
    max_cost: float | None
    timeout_s: float | None


def current() -> Current:
    """Return the run that this code is part of, with what is left of its budget.

    Raises:
        UnboundInputError: No run is going on here.
    """
    executor = RUN.get()
    if not isinstance(executor, Executor):
        raise UnboundInputError("motet.current() was asked outside a run")
    scope = SCOPE.get()
    left = remaining(executor.accounts.of(scope))
    return Current(
        run_id=executor.run_id,
        seed=executor.accounts.seed_of(scope),
        usage=executor.usage,
        **{name: left[name] for name in LIMITS},
    )

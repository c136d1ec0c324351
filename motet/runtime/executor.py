"""The executor: starts a call when its own inputs are there, and never twice."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from motet.budget import Account, Ledger
from motet.calls import Call, Calls, LargeGraph, check_edges, collecting_nothing, set_heights
from motet.combinators import Item, Map, Settle
from motet.engine import Sampling, Usage
from motet.errors import (
    BudgetExhaustedError,
    CallCancelledError,
    EngineError,
    MotetError,
    ReplayMismatchError,
    StoreError,
    TooFewSurvivorsError,
    UnboundInputError,
)
from motet.events import (
    CallCancelled,
    CallCreated,
    CallFailed,
    CallFinished,
    CallStarted,
    Observer,
)
from motet.operations import Program, Step
from motet.prompts import Prompt, model_of
from motet.refs import (
    BRANCH,
    PLAIN,
    RUN,
    SCOPE,
    UNEXPANDED,
    Branch,
    Ref,
    Scope,
    snapshot,
    substitute,
)
from motet.runtime.accounts import Accounts
from motet.runtime.prompting import Answer, answer_prompt, check_prompt, learn
from motet.runtime.sending import EventSender
from motet.runtime.stepping import StepRunner, step_error
from motet.runtime.unsettled import Unsettled
from motet.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from motet.budget import Budget
    from motet.dispatch import Dispatcher
    from motet.model import Model
    from motet.runtime.engines import EnginePool
    from motet.runtime.journal import Journal

_log = logging.getLogger(__name__)
_SLICE_S = 0.005
"""Longest time that ready calls run before the event loop gets its turn."""
_SLICE_TASKS = 16
"""Most tasks to start before the loop's turn, so that first requests leave before the last begin."""
_CHAIN = 32
"""Longest chain of steps to run one after another while others wait. The calls of a chain lie side
by side in memory, which a graph of a million of them is much quicker for."""
_SLICE_ANSWERS = 4
"""Most answers to go on from before the loop's turn. Where many come at once, what follows from the
first is asked for before the last are read, so that the engine is not left idle meanwhile."""


class Executor:
    """Executes one run on the running event loop. It is the `LiveRun` of its programs."""

    def __init__(
        self,
        run_id: str,
        *,
        budget: Budget,
        seed: int,
        model: Model | None,
        journal: Journal | None,
        is_cached: bool,
        observers: Sequence[Observer],
        is_streaming: bool,
        engines: EnginePool,
        max_concurrency: int | None,
    ) -> None:
        self.run_id = run_id
        self.seed = seed
        self.default_model = model
        self.journal = journal
        self.is_cached = is_cached
        self.events = EventSender(run_id, observers)
        self.is_streaming = is_streaming
        self.ledger = Ledger(budget)
        self.accounts = Accounts(self.ledger, seed)
        self.usage = Usage()
        self.cost = 0.0
        self._unchecked: list[Ref[Any]] | None = []
        """Prompts to check before anything runs."""
        self.calls = Calls(model, check=self._check_ref)
        self.is_stopping = False
        self.in_flight: set[Call] = set()
        """Prompts whose request is at an engine now."""
        self._root: Call | None = None
        self._large_graph = LargeGraph()
        self._engines = engines
        self._max_concurrency = max_concurrency
        self._ready: deque[Call] = deque()
        self._verdicts: deque[tuple[Call, Call]] = deque()
        """Races, and members that have ended: judged in turn, since races may nest deeply."""
        self._is_scheduled = False
        self._answered: deque[Callable[[], None]] = deque()
        """What goes on from answers that have come, in turn."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._steps = StepRunner()
        self._samplings: dict[tuple[int, int], tuple[Sampling, Any, Model]] = {}
        self._checked: dict[tuple[int, int, int], Any] = {}
        self._unsettled: Unsettled | None = None
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._context.run(BRANCH.set, Branch(None, None))
        self._context.run(SCOPE.set, None)
        self._context.run(RUN.set, self)
        if journal is not None:
            self._unsettled = Unsettled(journal, self.calls, self._noted)
            journal.input_id = lambda ref: self.calls.by_ref[ref].id
            self.calls.on_identified = self._identified
            self.usage, self.cost = journal.paid, journal.paid_cost
            self.ledger.charge(self.ledger.root, journal.paid, journal.paid_cost)

    # ---- what programs use -------------------------------------------------------------------

    def submit(self, ref: Ref[Any]) -> None:
        """Start `ref` as soon as its inputs are there."""
        parent = ref.branch.parent
        maker = parent if isinstance(parent, Call) else None
        if maker is not None and (maker.is_done or self.is_stopping):
            if maker.task is asyncio.current_task():
                raise asyncio.CancelledError  # it may catch every other error, and try for ever
            raise CallCancelledError(f"{maker.ref.operation.short_name} has ended")
        try:
            new = self.calls.add(ref)
        except ReplayMismatchError as exc:
            self._abort(exc)
            raise
        call = self.calls.by_ref[ref]
        self._adopt_and_need(call, maker, new)

    def _adopt_and_need(self, call: Call, maker: Call | None, new: list[Call]) -> None:
        if maker is not None:
            call.height = maker.height + 1
            if maker.children is None:
                maker.children = []
            maker.children.append(call)
        set_heights(self.calls, reversed(new))
        try:
            self._need(call)
        except ReplayMismatchError as exc:
            self._abort(exc)
            raise

    async def result(self, ref: Ref[Any]) -> Any:
        """Wait for the value of `ref`; raise the error that it failed with."""
        call = self.calls.by_ref.get(ref)
        if call is None or not call.is_needed:
            self.submit(ref)
            call = self.calls.by_ref[ref]
        if not call.is_done:
            future: asyncio.Future[None] = self._loop.create_future()
            if call.awaiting is None:
                call.awaiting = []
            call.awaiting.append(future)
            try:
                await future
            finally:
                if not call.is_done:
                    call.awaiting.remove(future)
        parent = BRANCH.get().parent
        if self._unsettled is not None and isinstance(parent, Call):
            self._unsettled.deliver(call, parent)
        if call.state == "finished":
            value = call.value
            return value if type(value) in PLAIN else substitute([ref], self._value_of)[0]
        raise call.error.with_traceback(None)

    def drop_children(self, maker: Call) -> None:
        """Cancel the calls that `maker` made and that nothing waits for."""
        for child in reversed(maker.children or ()):
            if not child.is_done and self._is_unwanted(child):
                self._cancel(child)

    # ---- engines -------------------------------------------------------------------------------

    def sampling_of(self, prompt: Prompt[Any], model: Model) -> Sampling:
        """Settings of `prompt` on `model`, seed apart; worked out once for each binding."""
        key = (id(prompt.binding), id(model))
        found = self._samplings.get(key)
        if found is None:
            # The binding and the model are kept, so that their ids stay theirs.
            found = (prompt.binding.resolved(model), prompt.binding, model)
            self._samplings[key] = found
        return found[0]

    def is_new_pairing(self, prompt: Prompt[Any], model: Model, scope: Scope | None) -> bool:
        """Say whether a binding, model and scope were not checked together yet."""
        return (id(prompt.binding), id(model), id(scope)) not in self._checked

    def note_pairing(self, prompt: Prompt[Any], model: Model, scope: Scope | None) -> None:
        """Remember that they go together; what is checked is kept, so that its ids stay its own."""
        key = (id(prompt.binding), id(model), id(scope))
        self._checked[key] = (prompt.binding, model, scope)

    async def dispatcher(self, model: Model) -> Dispatcher:
        return await self._engines.dispatcher(model, self._max_concurrency)

    # ---- the run -------------------------------------------------------------------------------

    async def prepare(self, root: Ref[Any]) -> Call:
        """Name the calls of `root` and check them; nothing is asked.

        Raises:
            ProgramError, ConfigError: The program is wrong; names the place.
        """
        with collecting_nothing():
            new = self.calls.add(root)
            self._large_graph.set_aside(len(new))
        await self._check_prompts()
        set_heights(self.calls, reversed(new))
        self._root = self.calls.by_ref[root]
        self.calls.is_running = True
        return self._root

    async def execute(self, root: Call) -> Any:
        """Return the value of `root`; raise the `MotetError` that it failed with."""
        timer = None
        limit = self.ledger.root.timeout_s
        if limit is not None:
            timer = self._loop.call_later(limit, self._expire, root, self.ledger.root)
        try:
            self._need(root)
            return await self.result(root.ref)
        finally:
            if timer is not None:
                timer.cancel()

    async def close(self) -> None:
        """Abort what still runs, and wait until the engines were told."""
        self._large_graph.give_back()
        self.is_stopping = True
        self._end_answered()
        self._ready.clear()
        for call in list(self.calls.by_ref.listed) if self._tasks else ():
            if call.task is not None and not call.is_done:
                self._cancel(call)
        for task in self._tasks:
            task.cancel()  # one whose call has failed may still run
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        self._steps.close()

    def let_go(self) -> None:
        """Drop the calls of a run that has ended.

        Connections that it opened live on, and each keeps the context in which it was opened, of
        which this run is part.
        """
        self.calls = Calls(self.default_model)
        self._root = self._unsettled = None
        self._samplings.clear()
        self._checked.clear()

    async def drain(self, patience_s: float) -> None:
        """Start nothing new; wait for the requests in flight, for `patience_s` at most."""
        self.is_stopping = True
        self._end_answered()
        self._ready.clear()
        for call in list(self.calls.by_ref.listed):
            is_prompt = isinstance(call.operation, Prompt) and call.task is not None
            if (
                is_prompt
                and call.children is None
                and not call.is_done
                and call not in self.in_flight
            ):
                call.task.cancel()
        waiting = [call.task for call in self.in_flight]
        if waiting:
            await asyncio.wait(waiting, timeout=patience_s)

    def _check_ref(self, ref: Ref[Any]) -> None:
        check_edges(ref)
        if self._unchecked is not None and isinstance(ref.operation, Prompt):
            self._unchecked.append(ref)

    async def _check_prompts(self) -> None:
        """Refuse what cannot be answered before anything is asked."""
        prompts, self._unchecked = self._unchecked or (), None
        seen: set[Any] = set()
        for ref in prompts:
            operation: Prompt[Any] = ref.operation  # type: ignore[assignment]
            model = model_of(operation, ref.scope, self.default_model)
            key = (operation, ref.scope)
            if key in seen:
                continue
            seen.add(key)
            check_prompt(ref, model, None, priced=self.accounts.is_priced(ref.scope))
            if model is not None and model.program is None:
                engine = (await self.dispatcher(model)).engine
                try:
                    await learn(ref, model, engine)
                except EngineError:  # it is away, which only matters once it is asked
                    continue
                check_prompt(ref, model, engine, priced=False)

    # ---- states --------------------------------------------------------------------------------

    def _need(self, root: Call) -> None:
        """Mark `root` and what it waits for as needed; queue what can start."""
        with collecting_nothing():
            self._mark_needed(root)
        self._schedule()

    def _mark_needed(self, root: Call) -> None:
        calls = self.calls
        stack = [root]
        while stack:
            call = stack.pop()
            if call.is_needed:
                continue
            call.is_needed = True
            if self.events.is_heard:
                self._tell_created(call)
            if self.journal is not None and self._recall(call):
                continue
            if call.operation.kind == "race":
                self._start_race(call)
                stack.extend(reversed(calls.below(call)))
                continue
            failed: Call | None = None
            unmet = 0
            for below in reversed(calls.below(call)):  # the first one is popped first
                if below.state == "finished":
                    continue
                if below.state in ("failed", "cancelled"):
                    failed = below
                    continue
                unmet += 1
                if below.dependents is None:
                    below.dependents = []
                below.dependents.append(call)
                stack.append(below)
            call.unmet = unmet
            if failed is not None and not call.operation.tolerates_failures:
                self._fail(call, failed.error)
            elif unmet == 0:
                self._ready.append(call)

    def _recall(self, call: Call) -> bool:
        assert self.journal is not None
        found = self.journal.recall(call)
        if found is None:
            return False
        value, error, entry = found
        if error is not None:
            call.is_noted = True
            self._fail(call, error)
        else:
            call.usage, call.cost, call.duration_s = entry.usage, entry.cost, entry.duration_s
            if self.events.is_heard:
                self.events.tell(
                    CallFinished,
                    call,
                    usage=entry.usage,
                    cost=entry.cost,
                    duration_s=entry.duration_s,
                    source="journal",
                )
            self._set_finished(call, value)
            if call.operation.kind == "race":
                self._cancel_losers(call)
        return True

    def _identified(self, call: Call) -> None:
        assert self.journal is not None
        self.journal.check(call)
        entry = self.journal.entry(call.id)
        if entry is not None:
            self.accounts.charge_scopes(call.scope, entry.usage, entry.cost)
            if self.journal.is_kept(entry):  # what it made is not made again, needed or not
                self.accounts.charge_scopes(call.scope, *self.journal.paid_below(call.id))

    def _tell_created(self, call: Call) -> None:
        ref = call.ref
        model = None
        if isinstance(ref.operation, Prompt):
            found = model_of(ref.operation, ref.scope, self.default_model)
            model = found.label if found is not None else None
        inputs = tuple([below.id for below in self.calls.below(call)])
        self.events.tell(CallCreated, call, kind=ref.operation.kind, inputs=inputs, model=model)

    def _schedule(self) -> None:
        if (self._ready or self._verdicts) and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._run_ready, context=self._context)

    def _run_ready(self) -> None:
        self._is_scheduled = False
        ready = self._ready
        if self.is_stopping:
            ready.clear()
            self._verdicts.clear()
        while self._verdicts:
            self._judge(*self._verdicts.popleft())
        until = time.perf_counter() + _SLICE_S
        count = 0
        most_tasks = len(self._tasks) + _SLICE_TASKS
        chain = 0
        while ready:
            call = ready.popleft()
            waiting = len(ready)
            if call.state == "waiting":
                self._start(call)
            count += 1
            chain += 1
            if chain < _CHAIN and len(ready) == waiting + 1 and type(ready[-1].operation) is Step:
                ready.rotate()
            else:
                chain = 0
            if len(self._tasks) >= most_tasks:
                self._schedule()
                return
            while self._verdicts:
                self._judge(*self._verdicts.popleft())
            if not count & 31 and time.perf_counter() > until:
                self._schedule()
                return

    def _start(self, call: Call) -> None:
        operation = call.operation
        if self.events.is_heard:
            call.started_s = time.monotonic()
            self.events.tell(CallStarted, call)
        elif self.journal is not None:
            call.started_s = time.monotonic()
        try:
            if type(operation) is Step:
                self._start_step(call, operation)
            elif isinstance(operation, Prompt):
                self._spawn(call, self._run_prompt)
            elif call.ref.body is not UNEXPANDED:
                self._finish(call, substitute(call.ref.body, self._value_of))
            elif isinstance(operation, (Program, Map)):
                self._spawn(call, self._run_program)
            else:
                self._start_combinator(call)
        except MotetError as exc:
            self._fail(call, exc)
        except Exception as exc:  # the user's code may raise anything
            self._fail(call, step_error(call, exc))

    def _value_of(self, ref: Ref[Any]) -> Any:
        return self.calls.by_ref[ref].value

    def _values(self, call: Call) -> tuple[Any, ...]:
        if call.is_bare:
            values = [below.value for below in self.calls.below(call)]
        else:
            values = list(call.ref.arguments)
        for i, value in enumerate(values):
            if type(value) not in PLAIN:
                values[i] = substitute(value, self._value_of)
        return tuple(values)

    # ---- steps ---------------------------------------------------------------------------------

    def _start_step(self, call: Call, operation: Step[Any]) -> None:
        values = self._values(call)
        if operation.is_async:
            self._spawn(call, self._run_async_step, operation, values)
            return
        if self._steps.is_quick(operation):
            self._finish_step(call, self._steps.run_here(call, operation, values))
        else:
            self._spawn(call, self._run_in_thread, operation, values)

    async def _run_async_step(
        self, call: Call, operation: Step[Any], values: tuple[Any, ...]
    ) -> None:
        SCOPE.set(call.scope)
        self._finish_step(call, await operation.parameters.invoke(values))

    async def _run_in_thread(
        self, call: Call, operation: Step[Any], values: tuple[Any, ...]
    ) -> None:
        self._finish_step(call, await self._steps.run_in_thread(call, operation, values))

    def _finish_step(self, call: Call, value: Any) -> None:
        if type(value) not in PLAIN and (type(value) is Ref or inspect.isawaitable(value)):
            if inspect.iscoroutine(value):
                value.close()
            raise UnboundInputError(
                f"step {call.operation.short_name} returned a {type(value).__name__}; "
                "make it a @program, or an async step",
                place=call.ref.place,
            )
        self._finish(call, value)

    # ---- prompts and programs ------------------------------------------------------------------

    async def _run_prompt(self, call: Call) -> None:
        prompt: Prompt[Any] = call.operation  # type: ignore[assignment]
        answer = await answer_prompt(self, call, self._values(call))
        error: MotetError | None = None
        value: Any = None
        try:
            value = prompt.read(answer.reply)
        except MotetError as exc:
            error = exc
        self._finish(call, value, raw=answer.reply, answer=answer, error=error)

    async def _run_program(self, call: Call) -> None:
        operation: Any = call.operation
        branch = Branch(self, call)
        BRANCH.set(branch)
        SCOPE.set(call.scope)
        values = self._values(call)
        try:
            if isinstance(operation, Map):
                result = await operation.grow(values)
            else:
                result = await operation.parameters.invoke(values)
            found: list[Ref[Any]] = []
            result = snapshot(result, found)
            for ref in found:
                await self.result(ref)
            value = substitute(result, self._value_of)
        finally:
            if self._unsettled is not None:
                self._unsettled.forget(call)
            self.drop_children(call)
        self._finish(call, value)

    # ---- combinators ---------------------------------------------------------------------------

    def _start_combinator(self, call: Call) -> None:
        operation = call.operation
        if isinstance(operation, Item):
            # Picked before it is copied, so that reading n items is not n copies of them all.
            source, key = call.ref.arguments
            key = substitute(key, self._value_of)
            picked = operation.pick(self._value_of(source), key)
            self._finish(call, substitute(picked, self._value_of))
        elif isinstance(operation, Settle):
            outcomes = [self._outcome(member) for member in call.ref.arguments[0]]
            try:
                value = operation.value_of(call.ref, outcomes)
            except TooFewSurvivorsError as exc:
                self._fail(call, exc)
            else:
                if self._unsettled is not None and not all(o.is_final for o in outcomes):
                    self._unsettled.keep(call, outcomes)
                    self._end(call, value, None, None)
                else:
                    self._finish(call, value, raw=outcomes)

    def _outcome(self, member: Any) -> Outcome[Any]:
        if type(member) is not Ref:
            return Outcome(member)
        below = self.calls.by_ref[member]
        if below.state == "finished":
            return Outcome(below.value)
        return Outcome(error=below.error)

    def _start_race(self, race: Call) -> None:
        members = dict.fromkeys(self.calls.by_ref[ref] for ref in race.ref.inputs)
        race.state = "running"
        race.unmet = len(members)
        race.started_s = time.monotonic()
        for member in members:
            if member.is_done:
                self._verdicts.append((race, member))
            else:
                if member.dependents is None:
                    member.dependents = []
                member.dependents.append(race)

    def _cancel_losers(self, race: Call) -> None:
        for ref in race.ref.inputs:
            loser = self.calls.by_ref[ref]
            others = [d for d in loser.dependents or () if d is not race and not d.is_done]
            if not loser.is_done and not others and not loser.awaiting:
                self._cancel(loser)

    def _judge(self, race: Call, member: Call) -> None:
        """Let `member` win, or count it out; without a winner the race fails."""
        if race.unmet <= 0 or race.is_done:
            return
        accept = race.ref.arguments[1]
        try:
            wins = member.state == "finished" and (
                accept is None or accept(substitute(member.value, self._value_of))
            )
        except Exception as exc:  # accept= is the user's function
            race.unmet = 0
            self._fail(race, step_error(race, exc))
            return
        inputs = [self.calls.by_ref[ref] for ref in race.ref.inputs]
        if wins:
            race.unmet = 0
            self._finish(race, member.value, raw=(inputs.index(member), member.value))
            self._cancel_losers(race)
            return
        race.unmet -= 1
        if race.unmet == 0:
            failures = [m.error for m in inputs if m.error is not None]
            why = f": {type(failures[0]).__name__}: {failures[0]}" if failures else ""
            self._fail(
                race,
                TooFewSurvivorsError(
                    f"none of {len(inputs)} racing calls gave a good value{why}",
                    failures=failures,
                ),
            )

    # ---- ends ----------------------------------------------------------------------------------

    def _finish(
        self,
        call: Call,
        value: Any,
        *,
        raw: Any = None,
        answer: Answer | None = None,
        error: MotetError | None = None,
    ) -> None:
        """Journal `call`, then let those go on that wait for it."""
        if call.is_done or (self.is_stopping and isinstance(call.operation, (Program, Map))):
            return  # what a program makes of an interruption is no value
        call.state = "running"
        if self.journal is None:
            if answer is not None:
                self._go_on_from(lambda: self._end(call, value, answer, error))
            elif self.events.is_heard:
                self._end(call, value, answer, error)
            else:
                self._set_finished(call, value)
            return

        if self._unsettled is not None:
            self._unsettled.write_before(call)

        def on_committed(failure: StoreError | None) -> None:
            if failure is not None:
                self._abort(failure)
            elif answer is not None:
                self._go_on_from(lambda: self._end(call, value, answer, error))
            elif not call.is_done:
                self._end(call, value, answer, error)

        operation = call.operation
        if operation.is_derived:
            if operation.kind != "collect":
                self.journal.write(call, None, on_committed=self._noted)
            self._end(call, value, answer, error)
            return
        if answer is None:
            self.journal.write(call, value if raw is None else raw, on_committed=on_committed)
            return
        finish = answer.reply.completions[0].finish_reason if answer.reply.completions else None
        self.journal.write(
            call,
            raw,
            on_committed=on_committed,
            usage=answer.usage,
            cost=answer.cost,
            source=answer.source,
            model=answer.model,
            request=answer.request,
            is_cacheable=answer.source == "engine" and error is None,
            finish_reason=finish,
        )

    def _go_on_from(self, end: Callable[[], None]) -> None:
        """End a call that was answered, when its turn comes."""
        if not self._answered:
            self._loop.call_soon(self._run_answered, context=self._context)
        self._answered.append(end)

    def _run_answered(self) -> None:
        for _ in range(min(len(self._answered), _SLICE_ANSWERS)):
            self._answered.popleft()()
        if self._answered:
            self._loop.call_soon(self._run_answered, context=self._context)

    def _end_answered(self) -> None:
        while self._answered:
            self._answered.popleft()()

    def _abort(self, error: MotetError) -> None:
        """End the run: what happens from now on could not be resumed."""
        if self._root is not None:
            self._fail(self._root, error)

    def _noted(self, failure: StoreError | None) -> None:
        if failure is not None:
            self._abort(failure)

    def _end(self, call: Call, value: Any, answer: Answer | None, error: MotetError | None) -> None:
        if call.is_done:
            return
        if call.started_s:
            call.duration_s = time.monotonic() - call.started_s
        if answer is not None:
            call.usage, call.cost = answer.usage, answer.cost
        if error is not None:
            call.is_noted = answer is not None  # its reply is journaled and fails again when read
            self._fail(call, error)
            return
        if self.events.is_heard:
            self.events.tell(
                CallFinished,
                call,
                usage=answer.usage if answer else Usage(),
                cost=answer.cost if answer else 0.0,
                duration_s=call.duration_s or 0.0,
                source=answer.source if answer else "local",
            )
        self._set_finished(call, value)

    def _set_finished(self, call: Call, value: Any) -> None:
        call.state = "finished"
        call.value = value
        dependents = call.dependents
        if dependents is not None:
            call.dependents = None
            for above in dependents:
                if above.state == "waiting":
                    above.unmet -= 1
                    if above.unmet == 0:
                        self._ready.append(above)
                elif above.state == "running":
                    self._verdicts.append((above, call))
            self._schedule()
        self._wake(call)

    def _wake(self, call: Call) -> None:
        if call.awaiting is not None:
            for future in call.awaiting:
                if not future.done():
                    future.set_result(None)
            call.awaiting = None

    def _fail(self, root: Call, error: MotetError) -> None:
        """Fail `root` and everything that cannot do without it."""
        stack = [root]
        while stack:
            call = stack.pop()
            if call.is_done:
                continue
            call.state = "failed"
            call.error = error
            if call.children:
                self.drop_children(call)
            if self.events.is_heard:
                self.events.tell(
                    CallFailed, call, error_type=type(error).__name__, message=str(error)
                )
            for below in self.calls.below(call):
                if not below.is_done and not self._is_held(below.ref) and self._is_unwanted(below):
                    self._cancel(below)
            for above in call.dependents or ():
                if above.is_done:
                    continue
                if not above.operation.tolerates_failures:
                    stack.append(above)
                elif above.state == "waiting":
                    above.unmet -= 1
                    if above.unmet == 0:
                        self._ready.append(above)
                else:
                    self._verdicts.append((above, call))
            self._wake(call)
        self._schedule()

    def _is_held(self, ref: Ref[Any]) -> bool:
        """Whether a running program made this call, or may reach for it, so may await it yet."""
        maker = ref.branch.parent
        if maker is None and self._root is not None:
            root = self._root.ref
            return isinstance(root.operation, (Program, Map)) and root.body is UNEXPANDED
        return isinstance(maker, Call) and not maker.is_done

    def _is_unwanted(self, call: Call) -> bool:
        return not call.awaiting and all(d.is_done for d in call.dependents or ())

    def _cancel(self, root: Call) -> None:
        """Cancel `root`, what it has made, and what only it waited for."""
        orphans: list[tuple[Call, Call]] = []
        stack = [root]
        while stack:
            call = stack.pop()
            if call.is_done:
                continue
            call.state = "cancelled"
            call.error = CallCancelledError(
                f"{call.operation.short_name} was cancelled: nothing needs it any more"
            )
            if call.task is not None:
                call.task.cancel()
            if self.events.is_heard:
                self.events.tell(CallCancelled, call)
            stack.extend(call.children or ())
            for below in self.calls.below(call):
                # A race aborts its members; others stay while the program may still await them.
                is_held = call.operation.kind != "race" and self._is_held(below.ref)
                if not below.is_done and not is_held and self._is_unwanted(below):
                    stack.append(below)
            for above in call.dependents or ():
                if not above.is_done and above not in stack:
                    orphans.append((above, call))
            self._wake(call)
        for above, call in orphans:
            if above.is_done:
                continue
            if not above.operation.tolerates_failures:
                self._fail(above, call.error)
            elif above.state == "waiting":
                above.unmet -= 1
                if above.unmet == 0:
                    self._ready.append(above)
            else:
                self._verdicts.append((above, call))
        self._schedule()

    def _expire(self, call: Call, account: Account) -> None:
        if call.is_done:
            return
        seconds = account.timeout_s or 0.0
        error = BudgetExhaustedError(
            f"timeout_s is {seconds:g}: {call.operation.short_name} was not done in time",
            limit="timeout_s",
            limit_value=seconds,
        )
        task = call.task
        self._fail(call, error)
        for child in call.children or ():
            self._cancel(child)
        if task is not None:
            task.cancel()

    # ---- tasks ---------------------------------------------------------------------------------

    def _spawn(
        self, call: Call, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any
    ) -> None:
        call.state = "running"
        # Made here and not by loop.create_task, so that it is no branch of the calling program.
        task = asyncio.Task(
            self._guard(call, work, arguments), loop=self._loop, context=self._context.copy()
        )
        call.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(
        self,
        call: Call,
        work: Callable[..., Coroutine[Any, Any, None]],
        arguments: tuple[Any, ...],
    ) -> None:
        timer = None
        scope = call.scope
        if scope is not None:
            timer = self._limit_time(call, scope)
        try:
            await work(call, *arguments)
        except asyncio.CancelledError:
            # Whoever cancels a call marks it first; this came out of the user's own code.
            if not call.is_done and not self.is_stopping:
                self._fail(
                    call,
                    CallCancelledError(f"{call.operation.short_name} cancelled itself"),
                )
            elif not call.is_done:
                self._cancel(call)
        except MotetError as exc:
            self._fail(call, exc)
        except Exception as exc:  # the user's code may raise anything
            self._fail(call, step_error(call, exc))
        finally:
            if timer is not None:
                timer.cancel()

    def _limit_time(self, call: Call, scope: Scope) -> asyncio.TimerHandle | None:
        nearest = self.accounts.nearest_deadline(scope)
        if nearest is None or nearest.deadline is None:
            return None
        delay = max(0.0, nearest.deadline - time.monotonic())
        return self._loop.call_later(delay, self._expire, call, nearest)

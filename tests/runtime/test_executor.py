"""The executor: data-flow scheduling, cancellation, failures, and sizes."""

import asyncio
import contextlib
import gc
import itertools
import math
import threading
import time
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Budget, Model, Ref, RunFailedError, program, prompt, step
from motet.errors import (
    CallCancelledError,
    EmptyReplyError,
    MotetError,
    StepError,
    UnboundInputError,
)
from motet.events import CallFinished
from motet.runtime import stepping
from motet.testing import Delayed, ScriptedEngine

SOON = Budget(timeout_s=1.0)
"""So that what hangs fails the test instead of the suite."""


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@step
def identity(value: Any) -> Any:
    return value


@step
def add(a: int, b: int) -> int:
    return a + b


@step
def fail(value: Any) -> Any:
    raise ValueError(value)


def delayed(**delays: float) -> ScriptedEngine:
    return ScriptedEngine(
        lambda r: Delayed(delays.get(r.prompt[-1].content, 0.0), r.prompt[-1].content)
    )


def value_of(ref: Ref[Any], **settings: Any) -> Any:
    return motet.run(ref, store=None, **settings).value


def failure_of(ref: Ref[Any], **settings: Any) -> Any:
    with pytest.raises(RunFailedError) as caught:
        motet.run(ref, store=None, **settings)
    return caught.value.__cause__


# ---- scheduling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["prompt", "async step", "sync step", "program"])
def test_a_slow_sibling_does_not_delay_another_branch(kind: str) -> None:
    """The fast branch of three calls is through before the slow call is."""
    done: list[str] = []
    engine = ScriptedEngine(delay_s=0.15)

    @step
    async def slow_async() -> str:
        await asyncio.sleep(0.15)
        return "slow"

    @step
    def slow_sync() -> str:
        time.sleep(0.15)
        return "slow"

    @program
    async def slow_program() -> str:
        await asyncio.sleep(0.15)
        return "slow"

    @step
    def note(value: Any, name: str) -> Any:
        done.append(name)
        return value

    slow: Any = {
        "prompt": lambda: ask.on(engine)("q"),
        "async step": slow_async,
        "sync step": slow_sync,
        "program": slow_program,
    }[kind]

    @program
    def whole() -> Any:
        return [note(slow(), "slow"), note(note(note(1, "1"), "2"), "3")]

    value_of(whole())

    assert done == ["1", "2", "3", "slow"]


def test_independent_calls_run_side_by_side() -> None:
    """Fifty requests, async steps and slow sync steps take the time of one."""
    engine = ScriptedEngine(delay_s=0.1)

    @step
    async def sleeping(i: int) -> int:
        await asyncio.sleep(0.1)
        return i

    @step
    def blocking(i: int) -> int:
        time.sleep(0.1)
        return i

    @program
    def whole() -> Any:
        return [
            [ask.on(engine)(str(i)) for i in range(50)],
            [sleeping(i) for i in range(50)],
            [blocking(i) for i in range(30)],
        ]

    began = time.monotonic()
    value_of(whole())

    assert time.monotonic() - began < 0.6
    assert engine.peak_in_flight == 50


def test_slow_sync_steps_run_in_threads_and_leave_the_loop_alone() -> None:
    """The event loop turns while they block."""
    ticks = 0
    names = set()

    @step
    def blocking(i: int) -> int:
        names.add(threading.current_thread().name)
        time.sleep(0.05)
        return i

    @program
    async def whole() -> Any:
        nonlocal ticks
        refs = [blocking(i) for i in range(8)]
        for _ in range(20):
            await asyncio.sleep(0.001)
            ticks += 1
        return [await r for r in refs]

    assert value_of(whole()) == list(range(8))
    assert ticks == 20
    assert "MainThread" not in names


def test_calls_of_an_async_program_start_at_once() -> None:
    """Awaiting only reads: three calls awaited one after another overlap."""
    engine = ScriptedEngine(delay_s=0.05)

    @program
    async def whole() -> Any:
        refs = [ask.on(engine)(str(i)) for i in range(3)]
        await asyncio.sleep(0.02)
        seen = engine.in_flight
        return [seen, *[await r for r in refs]]

    began = time.monotonic()
    value = value_of(whole())

    assert value[0] == 3
    assert time.monotonic() - began < 0.14


@pytest.mark.parametrize("place", [0, 2, 4])
def test_longer_paths_are_served_first(place: int) -> None:
    """With one slot, the call that most depends on overtakes its siblings, wherever it stands."""
    engine = ScriptedEngine(max_concurrency=1, delay_s=0.001)

    @program
    def whole() -> Any:
        long: Any = ask.on(engine)("long")
        for _ in range(3):
            long = identity(long)
        refs: list[Any] = [ask.on(engine)(f"short {i}") for i in range(4)]
        refs.insert(place, long)
        return refs

    value_of(whole())

    order = [r.prompt[-1].content for r in engine.requests]  # type: ignore[union-attr]
    assert order.index("long") <= 1


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_any_graph_computes_what_plain_python_computes(data: st.DataObject) -> None:
    """Random DAGs of sync, async and prompt calls, against the functions themselves."""
    engine = ScriptedEngine(lambda r: r.prompt[-1].content + "p", delay_s=0.0)

    @step
    def joined(parts: list[str]) -> str:
        return "(" + "".join(parts) + ")"

    @step
    async def joined_later(parts: list[str]) -> str:
        await asyncio.sleep(0)
        return "[" + "".join(parts) + "]"

    refs: list[Ref[Any]] = []
    expected: list[str] = []
    for i in range(data.draw(st.integers(1, 15))):
        inputs = data.draw(st.lists(st.integers(0, i - 1), max_size=3)) if i else []
        kind = data.draw(st.integers(0, 2))
        parts = [expected[k] for k in inputs]
        given_parts = [refs[k] for k in inputs]
        if kind == 0:
            refs.append(joined(given_parts))
            expected.append("(" + "".join(parts) + ")")
        elif kind == 1:
            refs.append(joined_later(given_parts))
            expected.append("[" + "".join(parts) + "]")
        else:
            refs.append(ask.on(engine)(refs[inputs[0]] if inputs else "q"))
            expected.append((parts[0] if parts else "q") + "p")

    value = value_of(joined(refs))

    assert value == "(" + "".join(expected) + ")"


@pytest.fixture
def every_step_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the first one, however busy the machine is."""
    monkeypatch.setattr(stepping, "_QUICK_S", math.inf)


@pytest.mark.usefixtures("every_step_is_quick")
def test_a_long_chain_of_steps_lets_another_branch_reach_its_prompt() -> None:
    ran: list[str] = []

    @step
    def note(value: Any, name: str) -> Any:
        ran.append(name)
        return value

    @step
    def first_of(a: Any, b: Any) -> Any:
        return a

    def reply(request: Any) -> str:
        ran.append("asked")
        return "yes"

    engine = ScriptedEngine(reply)
    start = chain = note("Well?", "start")
    for i in range(5000):
        chain = note(chain, str(i))
    motet.run(first_of(chain, ask.on(engine)(note(start, "question"))), store=None)

    assert ran.index("question") <= 40
    assert ran.index("asked") < 4000


@pytest.mark.usefixtures("every_step_is_quick")
def test_chains_of_steps_take_turns_and_each_runs_in_order() -> None:
    ran: list[tuple[int, int]] = []

    @step
    def note(value: Any, place: tuple[int, int]) -> Any:
        ran.append(place)
        return value

    @step
    def all_of(values: list[Any]) -> int:
        return len(values)

    chains: list[Any] = [note(0, (3, 0))] * 3
    for depth in range(200):
        chains = [note(value, (which, depth)) for which, value in enumerate(chains)]
    motet.run(all_of(chains), store=None)

    for which in range(3):
        assert [depth for w, depth in ran if w == which] == list(range(200))
    lengths = [len(list(run)) for _, run in itertools.groupby(ran, key=lambda place: place[0])]
    assert max(lengths) <= 32
    assert len(lengths) >= 3 * 200 // 32


# ---- async programs ------------------------------------------------------------------------------


def test_calls_that_nothing_awaits_are_cancelled_at_the_end() -> None:
    """The engine sees the abort, and the run does not wait."""
    engine = delayed(slow=30)

    @program
    async def whole() -> Any:
        ask.on(engine)("slow")
        ask.on(engine)("slow")
        await asyncio.sleep(0.02)
        return "done"

    began = time.monotonic()

    assert value_of(whole()) == "done"
    assert engine.num_aborted == 2
    assert time.monotonic() - began < 5


def test_the_calls_of_an_inner_program_end_with_it() -> None:
    """Not only with the run."""
    engine = delayed(slow=30)

    @program
    async def inner() -> str:
        ask.on(engine)("slow")
        await asyncio.sleep(0.02)
        return "inner"

    @program
    async def whole() -> Any:
        value = await inner()
        await asyncio.sleep(0.02)
        return [value, engine.num_aborted, engine.in_flight]

    assert value_of(whole()) == ["inner", 1, 0]


def test_a_ref_can_be_awaited_often_and_by_many() -> None:
    """One call, whoever reads it."""
    engine = ScriptedEngine(lambda r: "a", delay_s=0.01)

    @program
    async def whole() -> Any:
        ref = ask.on(engine)("q")

        async def read() -> str:
            return await ref

        return [await ref, await ref, *await asyncio.gather(read(), read(), read())]

    assert value_of(whole()) == ["a"] * 5
    assert len(engine.requests) == 1


def test_a_program_may_catch_a_failure_and_go_on() -> None:
    """The error is the call's own, each time it is awaited."""

    @program
    async def whole() -> Any:
        ref = fail("x")
        caught = []
        for _ in range(3):
            try:
                await ref
            except StepError as error:
                caught.append(error)
        return [len(caught), caught[0] is caught[2], await identity("went on")]

    assert value_of(whole()) == [3, True, "went on"]


def test_a_failure_that_nobody_awaits_fails_nothing() -> None:
    """An unread call may fail."""

    @program
    async def whole() -> Any:
        fail("unread")
        await asyncio.sleep(0.02)
        return "done"

    assert value_of(whole()) == "done"


def test_an_exception_cancels_what_the_program_has_made() -> None:
    """The engine is told, and the run fails with the program's error."""
    engine = delayed(slow=30)

    @program
    async def whole() -> Any:
        ask.on(engine)("slow")
        await asyncio.sleep(0.02)
        raise KeyError("wrong")

    failure = failure_of(whole())

    assert isinstance(failure, StepError)
    assert failure.error_type == "builtins.KeyError"
    assert engine.num_aborted == 1


def test_a_cancelled_reader_does_not_cancel_the_call() -> None:
    """`wait_for` gives up reading; the call goes on and may be read later."""
    engine = delayed(slow=0.05)

    @program
    async def whole() -> Any:
        ref = ask.on(engine)("slow")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await ref
        return await ref

    assert value_of(whole()) == "slow"
    assert len(engine.requests) == 1


def test_calls_cannot_be_made_for_a_program_that_has_ended() -> None:
    """A task that outlives its program is told so."""
    seen: list[Any] = []

    async def straggler() -> None:
        await asyncio.sleep(0.02)
        try:
            await identity(1)
        except CallCancelledError as error:
            seen.append(type(error))

    @program
    async def inner() -> str:
        seen.append(asyncio.create_task(straggler()))
        return "ended"

    @program
    async def whole() -> Any:
        await inner()
        await asyncio.sleep(0.05)
        return "done"

    assert value_of(whole()) == "done"
    assert seen[1:] == [CallCancelledError]


def test_current_is_known_in_every_kind_of_code() -> None:
    """Programs, their tasks, async steps, and sync steps on the loop or in threads."""

    @step
    def sync_step(i: int) -> str:
        return motet.current().run_id

    @step
    async def async_step() -> str:
        return motet.current().run_id

    async def task() -> str:
        return motet.current().run_id

    @program
    async def whole() -> Any:
        ids = [motet.current().run_id, await async_step(), await asyncio.create_task(task())]
        return [*ids, *[await sync_step(i) for i in range(3)]]

    result = motet.run(whole(), store=None)

    assert set(result.value) == {result.run_id}
    with pytest.raises(UnboundInputError, match="outside a run"):
        motet.current()


# ---- failures ------------------------------------------------------------------------------------


def test_a_failure_reaches_the_result_and_the_partial_result_holds_the_rest() -> None:
    """What finished before is kept, with usage."""
    engine = ScriptedEngine(lambda r: "" if r.prompt[-1].content == "bad" else "a")

    @program
    async def whole() -> Any:
        good = await ask.on(engine)("good")
        return [good, await ask.on(engine)("bad")]

    with pytest.raises(RunFailedError) as caught:
        motet.run(whole(), store=None)

    assert isinstance(caught.value.__cause__, EmptyReplyError)
    partial = caught.value.partial
    assert partial.values == ["a"]
    assert partial.usage.calls == 2
    assert [type(c.error).__name__ for c in partial.calls if c.error][:1] == [
        "EmptyReplyError"
    ] or {type(c.error) for c in partial.calls if c.error} == {EmptyReplyError}


def test_one_failure_fails_each_of_its_users_once() -> None:
    """A diamond below a failure."""

    @program
    def whole() -> Any:
        bad = fail("x")
        return motet.settled([add(bad, bad), identity([bad, identity(bad)])])

    outcomes = value_of(whole())

    assert outcomes[0].error is outcomes[1].error


def test_a_sync_step_that_raises_stop_iteration_fails() -> None:
    """`next()` of an empty iterator is an ordinary mistake."""

    @step
    def first(items: list[int]) -> int:
        return next(iter(items))

    failure = failure_of(first([]), budget=SOON)

    assert isinstance(failure, StepError)


def test_an_async_step_that_is_cancelled_from_inside_fails_its_users() -> None:
    """A library that cancels its own task does not hang the run."""

    @step
    async def cancelled() -> int:
        raise asyncio.CancelledError

    failure = failure_of(identity(cancelled()), budget=SOON)

    assert isinstance(failure, CallCancelledError)


def test_a_quick_sync_step_that_raises_cancelled_fails() -> None:
    """Whatever a step raises, the others go on."""

    @step
    def sometimes(i: int) -> int:
        if i == 20:
            raise asyncio.CancelledError
        return i

    @program
    async def whole() -> Any:
        return [await sometimes(i) for i in range(30)]

    failure = failure_of(whole(), budget=SOON)

    assert isinstance(failure, (CallCancelledError, StepError))


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError(), KeyError(), OSError(1, "x"), RecursionError()]
)
@pytest.mark.parametrize("kind", ["sync", "async", "program"])
def test_whatever_a_function_raises_is_a_motet_error(error: Exception, kind: str) -> None:
    """No foreign error leaves a run."""

    @step
    def sync_step() -> None:
        raise error

    @step
    async def async_step() -> None:
        raise error

    @program
    async def growing() -> None:
        raise error

    ref: Any = {"sync": sync_step, "async": async_step, "program": growing}[kind]()  # type: ignore[operator]
    failure = failure_of(identity(ref))

    assert isinstance(failure, MotetError)
    assert failure.__cause__ is error


def test_a_motet_error_of_a_users_function_is_not_wrapped() -> None:
    """Steps may fail with typed errors of their own choice."""

    @step
    def typed() -> None:
        raise EmptyReplyError("mine")

    assert isinstance(failure_of(typed()), EmptyReplyError)


def test_a_task_cancelled_before_it_starts_leaves_no_warning() -> None:
    """A race that is won in the same turn as a program was started is clean."""

    @program
    def literal() -> int:
        return 1

    @program
    async def growing() -> int:
        return 2

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = value_of(motet.race(literal(), growing()))
        gc.collect()

    assert value == 1
    assert [str(w.message) for w in caught] == []


# ---- sizes ---------------------------------------------------------------------------------------


def test_a_chain_of_ten_thousand_steps_runs() -> None:
    """No recursion anywhere: building, naming, starting, finishing, failing."""
    good: Ref[Any] = identity(0)
    bad: Ref[Any] = fail(0)
    for _ in range(10_000):
        good, bad = add(good, 1), add(bad, 1)

    assert value_of(good) == 10_000
    assert isinstance(failure_of(bad), StepError)


def test_a_chain_of_two_thousand_programs_runs() -> None:
    """Static programs behind one another."""

    @program
    def increment(value: int) -> Any:
        return add(value, 1)

    ref: Ref[Any] = identity(0)
    for _ in range(2_000):
        ref = increment(ref)

    assert value_of(ref) == 2_000


def test_a_loop_of_three_thousand_awaits_runs() -> None:
    """An async program may go on for long."""

    @program
    async def counting() -> int:
        value = 0
        for _ in range(3_000):
            value = await add(value, 1)
        return value

    assert value_of(counting()) == 3_000


def test_ten_thousand_inputs_of_one_step() -> None:
    """A wide fan-in, and a wide race."""
    refs = [identity(i) for i in range(10_000)]

    @step
    def total(values: list[int]) -> int:
        return sum(values)

    assert value_of(total(refs)) == sum(range(10_000))
    assert value_of(motet.race(*refs[:2_000])) in range(10_000)


def test_a_long_chain_that_is_cancelled_ends() -> None:
    """Cancelling goes down iteratively."""
    engine = delayed(slow=30)
    slow: Ref[Any] = ask.on(engine)("slow")
    for _ in range(5_000):
        slow = identity(slow)

    assert value_of(motet.race(slow, ask.on(engine)("fast"))) == "fast"
    assert engine.num_aborted == 1


def test_concurrent_runs_keep_their_own_settings() -> None:
    """Budget, seed, model and observers of one run are not another's."""
    engine = ScriptedEngine(delay_s=0.01)
    models = [Model(engine, f"m{i}") for i in range(6)]

    @program
    async def whole(label: str) -> Any:
        current = motet.current()
        answer = await ask(label)
        return [current.run_id, current.seed, current.max_calls, answer]

    async def main() -> list[Any]:
        runs = [
            motet.arun(
                whole("same"), store=None, seed=i, budget=Budget(max_calls=i + 1), model=models[i]
            )
            for i in range(6)
        ]
        return await asyncio.gather(*runs)  # type: ignore[no-any-return]

    results = asyncio.run(main())

    assert [r.value[0] for r in results] == [r.run_id for r in results]
    assert [r.value[1:3] for r in results] == [[i, i + 1] for i in range(6)]
    assert len({r.value[3] for r in results}) == 6
    assert sorted(str(r.model) for r in engine.requests) == [f"m{i}" for i in range(6)]


def test_what_follows_from_the_first_answers_is_asked_before_the_last_are_gone_on_from() -> None:
    """Where many answers come at once, the engine gets new requests before all are read."""
    seen: list[str] = []

    class Ends:
        def on_event(self, event: Any) -> None:
            if isinstance(event, CallFinished) and event.operation.endswith("ask"):
                seen.append("finished")

    class AtOnce(ScriptedEngine):
        """Answers the first questions when all of them are there."""

        async def complete(self, request: Any, on_delta: Any = None) -> Any:
            if request.prompt[-1].content.startswith("then"):
                seen.append("asked on")
            elif len(waiting) + 1 < 200:
                waiting.append(asyncio.get_running_loop().create_future())
                await waiting[-1]
            else:
                for future in waiting:
                    future.set_result(None)
            return await super().complete(request, on_delta)

    waiting: list[asyncio.Future[None]] = []
    model = Model(AtOnce())

    @program
    async def two(number: int) -> str:
        return await ask.on(model)(f"then {await ask.on(model)(str(number))}")

    value_of(motet.map(two, list(range(200))), observers=[Ends()], max_concurrency=200)

    assert seen.count("finished") == 400
    assert seen[:200].count("finished") < 150

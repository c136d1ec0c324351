"""What once went wrong between budgets, journal, races, interruptions and resumptions."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

import motet
from motet import Budget, Model, RunFailedError, program, prompt, step
from motet.budget import Ledger
from motet.engine import Completion, Reply, Usage
from motet.errors import (
    BudgetExhaustedError,
    CallCancelledError,
    EngineUnavailableError,
    MotetError,
    OutcomeError,
    ReplayMismatchError,
    RequestRejectedError,
    StepError,
    StoreError,
)
from motet.store import Store
from motet.testing import Delayed, ScriptedEngine


@prompt(user="{{ text }}")
def ask(text: str) -> str: ...


@pytest.fixture
def store():
    opened = Store.open(":memory:")
    yield opened
    opened.close()


class Switch:
    """What differs between a run and its resumption."""

    is_first = True


@pytest.fixture
def switch():
    return Switch()


def text_of(request: Any) -> str:
    return request.prompt[-1].content


def away() -> EngineUnavailableError:
    return EngineUnavailableError("away", retry_after_s=0.0)


def failed(ref: Any, **settings: Any) -> RunFailedError:
    with pytest.raises(RunFailedError) as caught:
        motet.run(ref, cache=False, **settings)
    return caught.value


async def ends(coroutine: Any, within_s: float) -> bool:
    """Whether it ends in time; what still runs afterwards is cancelled."""
    task = asyncio.ensure_future(coroutine)
    done, _ = await asyncio.wait({task}, timeout=within_s)
    for other in asyncio.all_tasks() - {asyncio.current_task()}:
        other.cancel()
    await asyncio.wait({task}, timeout=2)
    if task.done() and not task.cancelled():
        task.exception()
    return bool(done)


# ---- the journal ---------------------------------------------------------------------------------


def test_a_caught_reply_that_is_no_value_stays_paid_for(store, switch):
    """Noting that the program caught it must not replace the record that holds its usage."""
    engine = ScriptedEngine(lambda r: "" if text_of(r) == "bad" else "fine")
    seen = []

    @program
    async def whole() -> str:
        try:
            await ask.on(engine)("bad")
        except OutcomeError as error:
            seen.append(error.completion)
        answer = await ask.on(engine)("next")
        if switch.is_first:
            raise RuntimeError("stop")
        return answer

    first = failed(whole(), store=store)
    switch.is_first = False
    result = motet.run(whole(), store=store, cache=False, resume=first.run_id)

    assert first.partial.usage.calls == 2
    assert result.usage == first.partial.usage
    assert seen[0] == seen[1]


def test_a_map_that_dropped_passing_failures_is_replayed(store, switch):
    """`await map(..., at_least=1)` is built on, so a resume must see the same list."""

    def reply(request: Any) -> Any:
        return away() if text_of(request) == "b" and switch.is_first else f"re {text_of(request)}"

    model = Model(ScriptedEngine(reply))

    @program
    async def whole() -> str:
        kept = await motet.map(ask.on(model), ["a", "b"], at_least=1)
        answer = await ask.on(model)(",".join(kept))
        if switch.is_first:
            raise RuntimeError("stop")
        return answer

    first = failed(whole(), store=store)
    switch.is_first = False
    result = motet.run(whole(), store=store, cache=False, resume=first.run_id)

    assert result.value == "re re a"


def test_a_failure_that_a_program_caught_before_it_called_another_is_replayed(store, switch):
    """What the inner program paid for depends on the failure that the outer one saw."""

    def reply(request: Any) -> Any:
        if text_of(request) == "first" and switch.is_first:
            return RequestRejectedError("down", status=400)
        return f"re {text_of(request)}"

    engine = ScriptedEngine(reply)

    @program
    async def inner(kind: str) -> str:
        answer = await ask.on(engine)(f"x {kind}")
        if switch.is_first:
            raise RuntimeError("stop")
        return answer

    @program
    async def whole() -> str:
        try:
            kind = await ask.on(engine)("first")
        except MotetError:
            kind = "fallback"
        return await inner(kind)

    first = failed(whole(), store=store)
    switch.is_first = False
    asked = len(engine.requests)
    result = motet.run(whole(), store=store, cache=False, resume=first.run_id)

    assert result.value == "re x fallback"
    assert len(engine.requests) == asked


def test_a_failure_below_a_program_that_answers_as_a_model_is_tried_again(store, switch):
    """Nobody caught it, so it is no part of the path."""

    @step
    def tool(question: str) -> str:
        if switch.is_first:
            raise OSError("away")
        return "ok"

    @program
    def answering(question: str) -> str:
        return tool(question)

    first = failed(ask.on(answering.as_model())("q"), store=store)
    switch.is_first = False
    ref = ask.on(answering.as_model())("q")

    assert motet.run(ref, store=store, cache=False, resume=first.run_id).value == "ok"


@pytest.mark.parametrize("kind", ["int as float", "ints as floats", "None as list"])
def test_a_step_whose_value_is_not_quite_its_declared_type_can_be_resumed(store, switch, kind):
    """The value comes back as it was, or the step runs again; the run is never lost."""

    @step(name="t:number")
    def number() -> float:
        return 3

    @step(name="t:numbers")
    def numbers() -> list[float]:
        return [3, 2.5]

    @step(name="t:nothing")
    def nothing() -> list[int]:
        return None  # type: ignore[return-value]

    made = {"int as float": number, "ints as floats": numbers, "None as list": nothing}[kind]
    model = Model(ScriptedEngine(lambda r: "x"))

    @program
    async def whole() -> str:
        answer = await ask.on(model)(f"{await made()}")  # type: ignore[operator]
        if switch.is_first:
            raise RuntimeError("stop")
        return answer

    first = failed(whole(), store=store)
    switch.is_first = False

    assert motet.run(whole(), store=store, cache=False, resume=first.run_id).value == "x"


class CustomError(MotetError):
    """A user's own."""


def test_a_caught_error_of_the_users_own_class_keeps_its_class(store, switch):
    """Or `except CustomError` does not catch it on resume."""
    model = Model(ScriptedEngine(lambda r: "x"))

    @step
    def failing() -> str:
        raise CustomError("mine")

    @program
    async def whole() -> str:
        try:
            text = await failing()
        except CustomError:
            text = "caught"
        answer = await ask.on(model)(text)
        if switch.is_first:
            raise RuntimeError("stop")
        return answer

    first = failed(whole(), store=store)
    switch.is_first = False

    assert motet.run(whole(), store=store, cache=False, resume=first.run_id).value == "x"


def test_refs_made_outside_of_the_run_do_not_depend_on_the_order_of_tasks(store, switch):
    """Two tasks await refs of the caller's; on resume they come in another order."""

    def reply(request: Any) -> Any:
        text = text_of(request)
        if text == "slow":
            return Delayed(0.1, text)
        return Delayed(30, text) if text == "two" and switch.is_first else text

    model = Model(ScriptedEngine(reply))

    def build() -> Any:
        one, two = ask.on(model)("one"), ask.on(model)("two")

        @program(name="t:outside")
        async def whole() -> list[str]:
            async def left() -> str:
                await ask.on(model)("slow")
                value = await one
                if switch.is_first:
                    raise RuntimeError("stop")
                return value

            async def right() -> str:
                await ask.on(model)("fast")
                return await two

            return list(await asyncio.gather(left(), right()))

        return whole()

    first = failed(build(), store=store)
    switch.is_first = False

    result = motet.run(build(), store=store, cache=False, resume=first.run_id)

    assert result.value == ["one", "two"]


def test_a_recalled_failure_leaves_its_inputs_to_others(store, switch):
    """A ref of the caller's is cancelled when a failure that used it comes from the journal."""
    model = Model(ScriptedEngine(lambda r: "x"))
    outside = ask.on(model)("x")

    @step
    def bad(text: str) -> str:
        raise ValueError(text)

    @step
    def good(text: str) -> str:
        return f"good {text}"

    @program
    async def whole() -> str:
        try:
            await bad(outside)
        except StepError:
            await ask.on(model)("y")
        if switch.is_first:
            raise RuntimeError("stop")
        return await good(outside)

    first = failed(whole(), store=store)
    switch.is_first = False

    assert motet.run(whole(), store=store, cache=False, resume=first.run_id).value == "good x"


def test_the_losers_of_a_journaled_race_are_not_asked_again(store, switch):
    """The race is known to be won, so nothing needs them."""
    engine = ScriptedEngine(lambda r: Delayed(0.01 if text_of(r) == "a" else 0.1, "x"))

    @program
    async def whole() -> str:
        value = await motet.race(ask.on(engine)("a"), ask.on(engine)("b"))
        if switch.is_first:
            raise RuntimeError("stop")
        await asyncio.sleep(0.05)
        return value

    first = failed(whole(), store=store)
    switch.is_first = False
    asked = len(engine.requests)
    motet.run(whole(), store=store, cache=False, resume=first.run_id)

    assert len(engine.requests) == asked


def test_a_mismatch_that_the_program_catches_still_ends_the_run(store, switch):
    """A journaled value of another type is refused as every mismatch is."""

    @step(name="t:typed")
    def number() -> int:
        return 3

    @step(name="t:typed")
    def numbers() -> list[int]:
        return [3]

    @program(name="t:catching")
    async def whole() -> int:
        try:
            await (number if switch.is_first else numbers)()  # type: ignore[operator]
        except MotetError:
            return 0
        raise RuntimeError("stop")

    first = failed(whole(), store=store)
    switch.is_first = False

    again = failed(whole(), store=store, resume=first.run_id)
    assert isinstance(again.__cause__, ReplayMismatchError)


def test_two_readers_of_one_outcome_see_the_same_after_a_resume(store, switch):
    """A static graph: one reader is journaled, so what it has read is settled."""

    def reply(request: Any) -> Any:
        text = text_of(request)
        if switch.is_first and text == "b":
            return away()
        if switch.is_first and text.startswith("2"):
            return RequestRejectedError("no", status=400)
        return f"re {text}"

    model = Model(ScriptedEngine(reply))

    @prompt(user="{{ n }} {{ texts | join('+') }}")
    def combine(n: int, texts: list[str]) -> str: ...

    @program
    def whole() -> list[str]:
        kept = motet.successful([ask.on(model)("a"), ask.on(model)("b")])
        return [combine.on(model)(1, kept), combine.on(model)(2, kept)]

    first = failed(whole(), store=store)
    switch.is_first = False
    result = motet.run(whole(), store=store, cache=False, resume=first.run_id)

    assert result.value == ["re 1 re a", "re 2 re a"]


# ---- budgets -------------------------------------------------------------------------------------


def test_a_scope_counts_what_a_journaled_program_has_spent(store, switch):
    """Its calls are not replayed, but they were made in the scope."""
    engine = ScriptedEngine(lambda r: "x")

    @program
    async def inner() -> str:
        return await ask.on(engine)("1") + await ask.on(engine)("2")

    @program
    async def whole() -> str:
        with motet.scope(max_calls=3):
            value = await inner()
            if switch.is_first:
                raise RuntimeError("stop")
            return value + await inner()

    first = failed(whole(), store=store)
    switch.is_first = False
    again = failed(whole(), store=store, resume=first.run_id)

    assert isinstance(again.__cause__, BudgetExhaustedError)
    assert len(engine.requests) == 3


def test_a_reply_with_too_few_completions_stays_paid_for(store):
    """It was counted, so the resumption must know of it."""

    class Short(ScriptedEngine):
        async def complete(self, request: Any, on_delta: Any = None) -> Reply:
            self.requests.append(request)
            return Reply((Completion("x"),), Usage(5, 5), "m")

    engine = Short()
    ref = ask.on(engine).samples(2)("q")
    first = failed(ref, store=store)
    failed(ref, store=store, resume=first.run_id, budget=Budget(max_calls=1))

    assert first.partial.usage.calls == 1
    assert len(engine.requests) == 1


def test_many_calls_that_wait_for_a_budget_cost_no_quadratic_work(monkeypatch):
    """A waiting call is looked at a bounded number of times, however many wait beside it."""
    engine = ScriptedEngine(lambda r: "x y")
    looks = [0]
    attempt = Ledger._try

    def counting(*arguments: Any) -> Any:
        looks[0] += 1
        return attempt(*arguments)

    monkeypatch.setattr(Ledger, "_try", counting)
    n = 3_000
    ref = motet.map(ask.on(engine, max_tokens=100), [str(i) for i in range(n)])

    result = motet.run(ref, store=None, budget=Budget(max_tokens=3 * n + 200))

    assert result.usage.calls == n
    assert looks[0] < 40 * n


# ---- ends ----------------------------------------------------------------------------------------


def _filling(store: Store, after: int) -> None:
    append, written = store.append, [0]

    def failing(record: Any, artifacts: Any, *, cache: Any = None, on_committed: Any) -> None:
        written[0] += 1
        if written[0] > after:
            asyncio.get_running_loop().call_soon(on_committed, StoreError("the disk is full"))
        else:
            append(record, artifacts, cache=cache, on_committed=on_committed)

    store.append = failing  # type: ignore[method-assign]


def test_a_full_disk_ends_a_run_whose_program_awaits_a_quick_step(store):
    """The step has no task, and the failed root's task is awaiting it: close() waits for ever."""
    _filling(store, after=3)

    @step
    def quick(i: int) -> int:
        return i

    @program
    async def whole() -> int:
        for i in range(10):
            await quick(i)
        return 1

    assert asyncio.run(ends(motet.arun(whole(), store=store), 3))


def test_a_full_disk_ends_a_run_whose_program_does_something_else(store):
    """The run ends now, not when its program next looks."""
    _filling(store, after=0)
    engine = ScriptedEngine(lambda r: "x")

    @program
    async def whole() -> int:
        ask.on(engine)("a")
        await asyncio.sleep(3)
        return 1

    assert asyncio.run(ends(motet.arun(whole(), store=store), 1.5))


def test_a_call_whose_maker_was_cancelled_fails_those_that_use_it():
    """A ref of a race's loser that another program holds must not be waited for for ever."""
    leaked: list[Any] = []

    @step
    async def slow() -> int:
        await asyncio.sleep(1)
        return 1

    @step
    async def fast() -> int:
        await asyncio.sleep(0.05)
        return 2

    @step
    def use(value: int) -> int:
        return value

    @program
    async def inner() -> int:
        leaked.append(slow())
        await asyncio.sleep(10)
        return 1

    @program
    async def whole() -> int:
        loser = inner()
        while not leaked:  # noqa: ASYNC110 - a list, not an event
            await asyncio.sleep(0.001)
        reader = use(leaked[0])
        await motet.race(loser, fast())
        return await reader

    assert asyncio.run(ends(motet.arun(whole(), store=None), 2))


async def _interrupted(ref: Any, store: Store | None, after_s: float) -> None:
    task = asyncio.ensure_future(motet.arun(ref, store=store, cache=False, patience_s=5))
    await asyncio.sleep(after_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_what_a_program_makes_of_an_interruption_is_not_journaled(store):
    """Draining cancels calls that wait; a program that catches this must not be finished by it."""
    engine = ScriptedEngine(lambda r: Delayed(0.2, f"re {text_of(r)}"), max_concurrency=1)

    @program
    async def careful() -> str:
        try:
            return await ask.on(engine)("queued")
        except MotetError:
            return "fallback"

    @program
    def whole() -> Any:
        return [ask.on(engine)("slow"), careful()]

    async def act() -> Any:
        await _interrupted(whole(), store, 0.05)
        (run,) = await store.list_runs()
        return (await motet.arun(whole(), store=store, cache=False, resume=run.run_id)).value

    assert asyncio.run(act()) == ["re slow", "re queued"]


def test_an_interruption_waits_for_requests_below_a_program_that_answers_as_a_model(store):
    """They are in flight as much as others are."""
    engine = ScriptedEngine(lambda r: Delayed(0.2, "x"))

    @program
    def answering(question: str) -> str:
        return ask.on(engine)(question)

    asyncio.run(_interrupted(ask.on(answering.as_model())("q"), store, 0.05))

    assert engine.num_aborted == 0


def test_a_program_that_tries_again_for_ever_does_not_hang_an_interruption():
    """A refused call raises at once, so that such a loop never gives the event loop a turn."""
    engine = ScriptedEngine(lambda r: Delayed(0.2, "x"), max_concurrency=1)
    turns = 0

    @program
    async def stubborn() -> str:
        nonlocal turns
        while turns < 10_000:
            turns += 1
            try:
                return await ask.on(engine)("q")
            except MotetError:
                pass
        return "gave up"

    @program
    def whole() -> Any:
        return [ask.on(engine)("slow"), stubborn()]

    asyncio.run(_interrupted(whole(), None, 0.05))

    assert turns < 100


def test_a_second_interruption_leaves_a_cancelled_run(store):
    """Not one that seems to run still."""
    engine = ScriptedEngine(lambda r: Delayed(3, "x"))

    async def act() -> str:
        task = asyncio.ensure_future(motet.arun(ask.on(engine)("q"), store=store, patience_s=5))
        for _ in range(2):
            await asyncio.sleep(0.05)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return (await store.list_runs())[0].status

    assert asyncio.run(act()) == "cancelled"


def test_a_store_that_fails_at_the_very_end_does_not_cost_the_value(store):
    """The run has its value, or fails as runs do: with its id and what it finished."""
    save = store.save_run

    async def fail() -> None:
        raise StoreError("the disk is full")

    store.save_run = lambda record, *rest: (  # type: ignore[method-assign]
        fail() if record.status == "finished" else save(record, *rest)
    )
    try:
        value = motet.run(ask.on(ScriptedEngine(lambda r: "x"))("q"), store=store).value
    except RunFailedError as error:
        value = error.partial.values[-1]

    assert value == "x"


# ---- isolation -----------------------------------------------------------------------------------


def test_an_observer_that_starts_tasks_does_not_change_ids():
    """Such as one that sends events over a socket: its tasks are no branches of the program."""
    engine = ScriptedEngine(lambda r: "x")

    @program
    async def whole() -> str:
        first = ask.on(engine)("a")

        async def one(i: int) -> str:
            return await ask.on(engine)(str(i))

        return "".join(await asyncio.gather(one(1), one(2))) + await first

    async def nothing() -> None: ...

    class Sender:
        def on_event(self, event: object) -> None:
            asyncio.get_running_loop().create_task(nothing())

    quiet = motet.run(whole(), store=None)
    watched = motet.run(whole(), store=None, observers=[Sender()])

    assert {n.id for n in quiet.graph} == {n.id for n in watched.graph}


def test_accept_cannot_change_a_races_value():
    """It looks at a copy."""

    @step
    def numbers() -> list[int]:
        return [1, 2, 3]

    ref = motet.race(numbers(), accept=lambda value: value.pop() == 3)

    assert motet.run(ref, store=None).value == [1, 2, 3]


def test_races_of_races_end():
    """Winning goes up iteratively."""

    @step
    def one() -> int:
        return 1

    @step
    async def slow() -> int:
        await asyncio.sleep(30)
        return 2

    ref = one()
    for _ in range(400):
        ref = motet.race(ref, slow())

    assert motet.run(ref, store=None, budget=Budget(timeout_s=2)).value == 1


def test_a_maps_function_may_close_over_a_ref():
    """Its id is not known yet when the map is named."""

    @step
    def join(a: str, b: str) -> str:
        return a + b

    shared = ask.on(ScriptedEngine(lambda r: "x"))("q")

    assert motet.run(motet.map(lambda i: join(i, shared), ["a"]), store=None).value == ["ax"]


@pytest.mark.parametrize(
    "error",
    [
        RunFailedError("m", run_id="r"),
        StepError("m", error_type="t"),
        BudgetExhaustedError("m", limit="max_calls", limit_value=1),
    ],
)
def test_errors_can_be_copied_and_pickled(error):
    """They cross processes: pools, Ray."""
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_calls_of_an_ended_program_are_refused():
    """Kept beside the loop above: who still asks for an ended program is told so."""
    seen: list[Any] = []

    @program
    async def inner() -> str:
        async def straggler() -> None:
            await asyncio.sleep(0.01)
            try:
                await ask("late")
            except CallCancelledError as error:
                seen.append(error)

        seen.append(asyncio.create_task(straggler()))
        return "ended"

    @program
    async def whole() -> str:
        value = await inner()
        await asyncio.sleep(0.05)
        return value

    assert motet.run(whole(), store=None, model=Model(ScriptedEngine())).value == "ended"
    assert isinstance(seen[1], CallCancelledError)

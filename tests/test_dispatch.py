"""Concurrency, order, back-off and cancellation of the dispatcher."""

import asyncio
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.dispatch import Dispatcher, RetryPolicy
from motet.engine import Reply, Request, Sampling
from motet.errors import (
    ConfigError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    GarbledReplyError,
    ModelNotFoundError,
    RateLimitedError,
)
from motet.testing import ScriptedEngine

FAST = RetryPolicy(initial_wait_s=0.001, max_wait_s=0.002)


def ask(prompt: str) -> Request:
    return Request(model="m", prompt=prompt, sampling=Sampling())


def text(reply: Reply) -> str:
    return reply.completions[0].text


def test_a_success_is_one_attempt():
    """A call that succeeds reaches the engine once and leaves nothing in flight."""
    engine = ScriptedEngine(["yes"])
    dispatcher = Dispatcher(engine)
    attempts: list[int] = []

    reply = asyncio.run(dispatcher.complete(ask("q"), on_attempt=attempts.append))

    assert text(reply) == "yes"
    assert attempts == [1]
    assert len(engine.requests) == 1
    assert (dispatcher.in_flight, dispatcher.waiting) == (0, 0)


def test_deltas_pass_through():
    """`on_delta` reaches the engine."""
    engine = ScriptedEngine(["one two"])
    deltas: list[str] = []

    asyncio.run(Dispatcher(engine).complete(ask("q"), on_delta=lambda i, t: deltas.append(t)))

    assert deltas == ["one ", "two"]


def test_peak_concurrency_is_the_limit():
    """With more calls than slots, exactly the limit is in flight at the peak."""
    engine = ScriptedEngine(delay_s=0.002)
    dispatcher = Dispatcher(engine, max_concurrency=7)

    async def act():
        async with asyncio.TaskGroup() as group:
            for number in range(60):
                group.create_task(dispatcher.complete(ask(str(number))))

    asyncio.run(act())

    assert engine.peak_in_flight == 7
    assert len(engine.requests) == 60


def test_the_engines_own_limit_is_a_default():
    """What the caller asks for goes before the engine's own limit."""
    engine = ScriptedEngine(max_concurrency=3)

    limits = [Dispatcher(engine, max_concurrency=given).limit for given in (None, 2, 100)]

    assert limits == [3, 2, 100]


def test_higher_calls_go_first_and_equals_in_order_of_arrival():
    """Waiters are served by height, then first in, first out."""
    engine = ScriptedEngine(delay_s=0.001)
    dispatcher = Dispatcher(engine, max_concurrency=1)

    async def act():
        async with asyncio.TaskGroup() as group:
            for number, height in enumerate([0, 1, 5, 1, 5, 0]):
                group.create_task(dispatcher.complete(ask(f"{height}.{number}"), height=height))

    asyncio.run(act())

    order = [request.prompt for request in engine.requests]
    assert order == ["0.0", "5.2", "5.4", "1.1", "1.3", "0.5"]


@pytest.mark.parametrize(
    "error",
    [
        EngineUnavailableError("gone"),
        RateLimitedError("slow down"),
        EngineTimeoutError("late"),
        GarbledReplyError("what"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_retryable_errors_are_tried_again(error):
    """Each kind of retryable error leads to another attempt, and the callbacks hear of it."""
    engine = ScriptedEngine([error, error, "yes"])
    attempts: list[int] = []
    retries: list[tuple[int, EngineError]] = []

    reply = asyncio.run(
        Dispatcher(engine, retry=FAST).complete(
            ask("q"),
            on_attempt=attempts.append,
            on_retry=lambda attempt, error, wait_s: retries.append((attempt, error)),
        )
    )

    assert text(reply) == "yes"
    assert attempts == [1, 2, 3]
    assert retries == [(1, error), (2, error)]


def test_other_errors_are_not_tried_again():
    """An error that is not retryable comes out at once, as it was."""
    error = ModelNotFoundError("no such model")
    engine = ScriptedEngine([error, "yes"])

    with pytest.raises(ModelNotFoundError) as raised:
        asyncio.run(Dispatcher(engine, retry=FAST).complete(ask("q")))

    assert raised.value is error
    assert len(engine.requests) == 1


def test_the_last_error_is_raised_with_the_number_of_attempts():
    """After `max_attempts` the engine's own error comes out, with a note."""
    errors = [EngineUnavailableError(str(number)) for number in range(4)]
    engine = ScriptedEngine(list(errors))
    dispatcher = Dispatcher(
        engine, retry=RetryPolicy(max_attempts=4, initial_wait_s=0, max_wait_s=0)
    )

    with pytest.raises(EngineUnavailableError) as raised:
        asyncio.run(dispatcher.complete(ask("q")))

    assert raised.value is errors[3]
    assert raised.value.__notes__ == ["gave up after 4 attempts"]
    assert (dispatcher.in_flight, dispatcher.waiting) == (0, 0)


def test_waits_grow_and_are_bounded():
    """Without Retry-After the wait doubles up to its bound, with a jitter that the seed decides."""

    def waits(seed: int) -> list[float]:
        found: list[float] = []
        engine = ScriptedEngine([EngineTimeoutError("late")] * 7)
        policy = RetryPolicy(max_attempts=7, initial_wait_s=0.002, max_wait_s=0.02)
        dispatcher = Dispatcher(engine, retry=policy, seed=seed)
        with pytest.raises(EngineTimeoutError):
            asyncio.run(
                dispatcher.complete(ask("q"), on_retry=lambda a, e, wait_s: found.append(wait_s))
            )
        return found

    first, again, other = waits(1), waits(1), waits(2)

    assert first == again != other
    for wait_s, longest in zip(first, [0.002, 0.004, 0.008, 0.016, 0.02, 0.02], strict=True):
        assert longest / 2 <= wait_s <= longest


def test_retry_after_holds_back_every_call():
    """A Retry-After pauses new calls to the engine too, and is kept to."""
    engine = ScriptedEngine({"first": [RateLimitedError("429", retry_after_s=0.15), "a"], "q": "b"})
    dispatcher = Dispatcher(engine, retry=FAST)
    starts: dict[str, float] = {}

    async def call(prompt: str) -> None:
        await dispatcher.complete(
            ask(prompt), on_attempt=lambda n: starts.__setitem__(prompt, time.monotonic())
        )

    async def act() -> float:
        async with asyncio.TaskGroup() as group:
            group.create_task(call("first"))
            await asyncio.sleep(0.02)
            began = time.monotonic()
            group.create_task(call("q one"))
            group.create_task(call("q two"))
            await asyncio.sleep(0)
            assert dispatcher.waiting == 2
        return began

    began = asyncio.run(act())

    assert all(starts[prompt] - began >= 0.12 for prompt in ("first", "q one", "q two"))


def test_an_endless_retry_after_is_capped():
    """A Retry-After of an hour makes the call wait two minutes."""
    engine = ScriptedEngine([RateLimitedError("429", retry_after_s=3600), "a"])
    waits: list[float] = []

    async def act():
        call = asyncio.ensure_future(
            Dispatcher(engine).complete(ask("q"), on_retry=lambda a, e, s: waits.append(s))
        )
        await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.wait([call])

    asyncio.run(act())

    assert waits == [120.0]


def test_a_pause_outlives_its_event_loop():
    """A dispatcher that was paused in one event loop serves again in the next."""
    engine = ScriptedEngine({"first": RateLimitedError("429", retry_after_s=0.1), "second": "b"})
    dispatcher = Dispatcher(engine, retry=RetryPolicy(max_attempts=1))
    with pytest.raises(RateLimitedError):
        asyncio.run(dispatcher.complete(ask("first")))

    reply = asyncio.run(asyncio.wait_for(dispatcher.complete(ask("second")), 5))

    assert text(reply) == "b"


def test_those_who_waited_before_a_pause_go_on_after_it():
    """Calls in the queue are served after a pause, though the call that caused it gave up."""
    error = RateLimitedError("429", retry_after_s=0.05)
    engine = ScriptedEngine({"bad": error, "good": "yes"}, delay_s=0.01)
    dispatcher = Dispatcher(engine, max_concurrency=1, retry=RetryPolicy(max_attempts=1))

    async def act():
        calls = (dispatcher.complete(ask(prompt)) for prompt in ("bad", "good 1", "bad", "good 2"))
        async with asyncio.timeout(5):
            return await asyncio.gather(*calls, return_exceptions=True)

    bad, first, again, second = asyncio.run(act())

    assert bad is again is error
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)


def test_a_waiting_retry_takes_no_slot():
    """At concurrency 2, two calls in back-off do not keep the others from finishing."""
    script = {"bad": [EngineTimeoutError("late"), "late yes"], "good": "yes"}
    engine = ScriptedEngine(script)
    policy = RetryPolicy(initial_wait_s=0.2, max_wait_s=0.2)
    dispatcher = Dispatcher(engine, max_concurrency=2, retry=policy)
    finished: list[str] = []

    async def call(prompt: str) -> None:
        await dispatcher.complete(ask(prompt))
        finished.append(prompt)

    async def act():
        async with asyncio.TaskGroup() as group:
            for prompt in ["bad 1", "bad 2", *(f"good {n}" for n in range(20))]:
                group.create_task(call(prompt))

    asyncio.run(act())

    assert sorted(finished[-2:]) == ["bad 1", "bad 2"]
    assert len(finished) == 22


def test_nobody_starves_at_concurrency_two():
    """With two slots, failures and mixed heights, every call finishes."""
    rng = random.Random(0)

    def reply(request: Request):
        return EngineUnavailableError("500") if rng.random() < 0.3 else "yes"

    engine = ScriptedEngine(reply, delay_s=lambda request: rng.random() / 1000)
    policy = RetryPolicy(max_attempts=50, initial_wait_s=0.0005, max_wait_s=0.001)
    dispatcher = Dispatcher(engine, max_concurrency=2, retry=policy)

    async def act():
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for number in range(150):
                group.create_task(dispatcher.complete(ask(str(number)), height=number % 5))

    asyncio.run(act())

    assert engine.peak_in_flight <= 2
    assert (dispatcher.in_flight, dispatcher.waiting) == (0, 0)


def test_the_limit_is_cut_once_a_window_and_recovers():
    """Failures that were in flight together cut the limit once; successes add one a window."""
    engine = ScriptedEngine(
        lambda request: EngineUnavailableError("500") if request.prompt == "bad" else "yes",
        delay_s=0.001,
    )
    dispatcher = Dispatcher(engine, max_concurrency=10, retry=RetryPolicy(max_attempts=1))

    async def together(prompt: str, num: int) -> int:
        calls = (dispatcher.complete(ask(prompt)) for _ in range(num))
        await asyncio.gather(*calls, return_exceptions=True)
        return dispatcher.limit

    async def act() -> list[int]:
        first = await together("bad", 10)
        second = await together("bad", 1)
        return [first, second, await together("good", 4), await together("good", 100)]

    assert asyncio.run(act()) == [7, 4, 5, 10]


def test_the_limit_never_falls_below_one():
    """However often the engine fails, one call may still go."""
    engine = ScriptedEngine(lambda request: RateLimitedError("429"))
    dispatcher = Dispatcher(engine, max_concurrency=2, retry=RetryPolicy(max_attempts=1))

    async def act():
        for _ in range(10):
            with pytest.raises(RateLimitedError):
                await dispatcher.complete(ask("q"))

    asyncio.run(act())

    assert dispatcher.limit == 1


def test_a_users_error_in_a_callback_frees_the_slot():
    """An exception out of `on_attempt` passes through and no slot is lost."""
    dispatcher = Dispatcher(ScriptedEngine(), max_concurrency=1)

    def fail(attempt: int) -> None:
        raise ZeroDivisionError

    async def act():
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await dispatcher.complete(ask("q"), on_attempt=fail)

    asyncio.run(asyncio.wait_for(act(), 5))

    assert dispatcher.in_flight == 0


@settings(max_examples=40, deadline=None)
@given(
    limit=st.integers(1, 4),
    calls=st.lists(
        st.tuples(
            st.integers(0, 3),  # height
            st.integers(0, 2),  # failures before the answer
            st.integers(0, 3),  # steps before it starts
            st.none() | st.integers(0, 8),  # steps before it is cancelled
        ),
        max_size=14,
    ),
)
def test_cancellation_loses_no_slot(limit, calls):
    """Whenever calls are cancelled, the others finish and every slot comes back."""
    failures = {str(place): call[1] for place, call in enumerate(calls)}

    def reply(request: Request):
        prompt = str(request.prompt)
        failures[prompt] -= 1
        return EngineTimeoutError("late") if failures[prompt] >= 0 else "yes"

    engine = ScriptedEngine(reply, delay_s=0.0)
    policy = RetryPolicy(initial_wait_s=0, max_wait_s=0)
    dispatcher = Dispatcher(engine, max_concurrency=limit, retry=policy)

    async def steps(num: int) -> None:
        for _ in range(num):
            await asyncio.sleep(0)

    async def call(place: int) -> None:
        height, _, delay, cancel_after = calls[place]
        await steps(delay)
        task = asyncio.ensure_future(dispatcher.complete(ask(str(place)), height=height))
        if cancel_after is not None:
            await steps(cancel_after)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or text(task.result()) == "yes"
        assert cancel_after is not None or not task.cancelled()

    async def act():
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for place in range(len(calls)):
                group.create_task(call(place))

    asyncio.run(act())

    assert engine.peak_in_flight <= limit
    assert (dispatcher.in_flight, dispatcher.waiting, engine.in_flight) == (0, 0, 0)


@pytest.mark.parametrize(
    "change",
    [{"max_attempts": 0}, {"initial_wait_s": -1}, {"max_wait_s": float("inf")}],
    ids=str,
)
def test_settings_are_checked(change):
    """A policy out of range names its setting."""
    with pytest.raises(ConfigError, match=next(iter(change))):
        RetryPolicy(**change)


def test_the_success_path_is_cheap():
    """The dispatcher's own time on a call that succeeds is some microseconds."""
    reply = asyncio.run(ScriptedEngine(["yes"]).complete(ask("q")))

    class Instant(ScriptedEngine):
        async def complete(self, request, on_delta=None):
            return reply

    engine = Instant()
    dispatcher = Dispatcher(engine)
    request = ask("q")

    async def act() -> float:
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            for _ in range(2000):
                await engine.complete(request)
            middle = time.process_time()
            for _ in range(2000):
                await dispatcher.complete(request)
            best = min(best, (time.process_time() - middle) - (middle - start))
        return best / 2000

    assert asyncio.run(act()) < 20e-6

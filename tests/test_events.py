"""Events: complete, in order, and without power over the run."""

import asyncio
import dataclasses
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Ref, RunFailedError, Usage, program, prompt, step
from motet.errors import RateLimitedError
from motet.events import (
    CallCancelled,
    CallCreated,
    CallEvent,
    CallFailed,
    CallFinished,
    CallStarted,
    EngineCalled,
    EngineRetried,
    Event,
    RunFinished,
    RunStarted,
    TextStreamed,
)
from motet.testing import Delayed, ScriptedEngine

ENDS = (CallFinished, CallFailed, CallCancelled)


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@step
def identity(value: Any) -> Any:
    if value == "bad":
        raise ValueError(value)
    return value


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def of(self, *kinds: type[Event]) -> list[Any]:
        return [e for e in self.events if isinstance(e, kinds)]


def record(ref: Ref[Any], **settings: Any) -> Recorder:
    recorder = Recorder()
    try:
        motet.run(ref, store=None, observers=[recorder], **settings)
    except RunFailedError:
        pass
    return recorder


def check_complete(recorder: Recorder) -> None:
    """Every started call ends exactly once, after it was created and started."""
    calls = recorder.of(CallEvent)
    created = [e.call_id for e in calls if isinstance(e, CallCreated)]
    started = [e.call_id for e in calls if isinstance(e, CallStarted)]
    ended = Counter(e.call_id for e in calls if isinstance(e, ENDS))
    place = {id(e): i for i, e in enumerate(recorder.events)}
    first: dict[tuple[type, str], int] = {}
    for e in calls:
        kind = CallFinished if isinstance(e, ENDS) else type(e)
        first.setdefault((kind, e.call_id), place[id(e)])
    assert len(set(created)) == len(created)
    assert len(set(started)) == len(started)
    assert all(ended[call_id] == 1 for call_id in started)
    assert all(count == 1 for count in ended.values())
    for call_id in started:
        assert (
            first[CallCreated, call_id] < first[CallStarted, call_id] < first[CallFinished, call_id]
        )
    assert isinstance(recorder.events[0], RunStarted)
    assert isinstance(recorder.events[-1], RunFinished)
    assert len(recorder.of(RunStarted, RunFinished)) == 2
    assert len({e.run_id for e in recorder.events}) == 1
    times = [e.time_s for e in recorder.events]
    assert times == sorted(times)


def test_a_chain_reports_each_step_of_its_life() -> None:
    """The golden order of a prompt behind a step."""
    engine = ScriptedEngine(lambda r: "two words")

    recorder = record(ask.on(engine)(identity("a b c")))

    kinds = [type(e).__name__ for e in recorder.events]
    assert kinds == [
        "RunStarted",
        "CallCreated",
        "CallCreated",
        "CallStarted",
        "CallFinished",
        "CallStarted",
        "EngineCalled",
        "CallFinished",
        "RunFinished",
    ]
    finished = recorder.of(CallFinished)
    assert [e.source for e in finished] == ["local", "engine"]
    assert finished[1].usage == Usage(3, 2, 0, 1)
    end = recorder.of(RunFinished)[0]
    assert (end.status, end.usage, end.error) == ("finished", Usage(3, 2, 0, 1), None)
    check_complete(recorder)


def test_created_calls_name_their_inputs_and_model() -> None:
    """The graph can be drawn from the events alone."""
    engine = ScriptedEngine()

    recorder = record(identity([ask.on(engine)("a"), identity(1)]))

    created = {e.call_id: e for e in recorder.of(CallCreated)}
    root = next(e for e in created.values() if len(e.inputs) == 2)
    assert {created[i].kind for i in root.inputs} == {"prompt", "step"}
    assert [e.model for e in created.values() if e.kind == "prompt"] == ["scripted:scripted"]


def test_parents_are_the_programs_that_made_the_calls() -> None:
    """Static and async programs alike; None at the top."""

    @program
    def static() -> Any:
        return identity(1)

    @program
    async def growing() -> Any:
        return await static()

    recorder = record(growing())

    created = {e.call_id: e for e in recorder.of(CallCreated)}
    chain = [e.operation.rpartition(".")[2] for e in created.values()]
    parents = {
        e.operation.rpartition(".")[2].rpartition(":")[2]: created[e.parent_id].operation
        for e in created.values()
        if e.parent_id
    }
    assert len(chain) == 3
    assert parents["static"].endswith("growing")
    assert parents["identity"].endswith("static")


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**16), st.integers(1, 10))
def test_every_started_call_has_exactly_one_end(seed: int, size: int) -> None:
    """Random graphs with failures, races, timeouts and cut-off budgets."""
    import random

    rng = random.Random(seed)
    engine = ScriptedEngine(
        lambda r: Delayed(rng.choice([0, 0.001, 30]), rng.choice(["a", "", "b"]))
    )
    refs: list[Ref[Any]] = [identity(0)]

    @program
    async def growing(value: Any) -> Any:
        ask.on(engine)("unread")
        return await identity(rng.choice(["bad", value]))

    for _ in range(size):
        some = rng.sample(refs, rng.randint(1, min(3, len(refs))))
        refs.append(
            rng.choice(
                [
                    lambda s=some: motet.race(*s),
                    lambda s=some: motet.settled(s),
                    lambda s=some: identity(s),
                    lambda s=some: growing(s[0]),
                    lambda s=some: ask.on(engine)("q"),
                    lambda s=some: motet.map(identity, ["a", "bad"], at_least=1),
                ]
            )()
        )

    recorder = record(
        identity(refs), budget=motet.Budget(timeout_s=0.02, max_calls=rng.randint(0, 5))
    )

    check_complete(recorder)


def test_a_lost_race_is_reported_as_cancelled() -> None:
    """The loser has an end of its own."""
    engine = ScriptedEngine(lambda r: Delayed(30 if r.prompt[-1].content == "s" else 0.01, "a"))

    recorder = record(motet.race(ask.on(engine)("s"), ask.on(engine)("q")))

    assert len(recorder.of(CallCancelled)) == 1
    check_complete(recorder)


def test_a_failed_run_says_why() -> None:
    """The failing call and what depended on it fail with one error."""
    recorder = record(identity(identity("bad")))

    failed = recorder.of(CallFailed)
    assert {e.error_type for e in failed} == {"StepError"}
    assert len(failed) == 2
    end = recorder.of(RunFinished)[0]
    assert end.status == "failed"
    assert "ValueError" in str(end.error)


def test_retries_are_reported() -> None:
    """Each attempt, and the wait between."""
    replies = iter([RateLimitedError("slow", retry_after_s=0.001), "a"])
    engine = ScriptedEngine(lambda r: next(replies))  # type: ignore[arg-type]

    recorder = record(ask.on(engine)("q"))

    assert [e.attempt for e in recorder.of(EngineCalled)] == [1, 2]
    assert [(e.attempt, e.wait_s) for e in recorder.of(EngineRetried)] == [(1, 0.001)]
    check_complete(recorder)


class Hostile:
    """An observer that raises, and tries to change what it gets."""

    def on_event(self, event: Event) -> None:
        try:
            event.run_id = "changed"  # type: ignore[misc]
        except dataclasses.FrozenInstanceError:
            raise RuntimeError("observer failed") from None


def test_an_observer_that_raises_changes_nothing() -> None:
    """The run's value is the same, and observers behind it get every event."""
    engine = ScriptedEngine(lambda r: "a")
    recorder = Recorder()

    result = motet.run(ask.on(engine)(identity("q")), store=None, observers=[Hostile(), recorder])

    assert result.value == "a"
    assert len(recorder.events) == 9
    check_complete(recorder)


def test_deltas_make_the_text() -> None:
    """Piece by piece, by call and by completion."""
    engine = ScriptedEngine()
    ref = identity([ask.on(engine).samples(3)("a"), ask.on(engine)("b")])
    recorder = Recorder()

    result = motet.run(ref, store=None, stream=True, observers=[recorder])

    texts: dict[tuple[str, int], str] = {}
    for event in recorder.of(TextStreamed):
        key = (event.call_id, event.index)
        texts[key] = texts.get(key, "") + event.text
    assert sorted(texts.values()) == sorted([*result.value[0], result.value[1]])
    assert len(recorder.of(TextStreamed)) > 8


def test_nothing_is_streamed_unless_asked() -> None:
    """`stream=False` asks the engine for whole replies."""
    recorder = record(ask.on(ScriptedEngine())("q"))

    assert recorder.of(TextStreamed) == []


def test_stream_yields_the_events_of_the_run() -> None:
    """Deltas concatenate to the value, and the result is there at the end."""

    async def main() -> tuple[str, Any, list[Event]]:
        events = []
        stream = motet.stream(ask.on(ScriptedEngine())("q"), store=None)
        async for event in stream:
            events.append(event)
        text = "".join(e.text for e in events if isinstance(e, TextStreamed))
        return text, stream.result, events

    text, result, events = asyncio.run(main())

    assert text == result.value
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)


def test_stream_raises_what_the_run_raises() -> None:
    """After the last event, and again where it is read on."""

    async def main() -> list[type]:
        stream = motet.stream(identity("bad"), store=None)
        seen: list[type] = []
        for _ in range(2):
            try:
                async for event in stream:
                    seen.append(type(event))
            except RunFailedError as error:
                seen.append(type(error))
        return seen

    seen = asyncio.run(main())

    assert seen[-3:] == [RunFinished, RunFailedError, RunFailedError]


def test_closing_a_stream_cancels_the_run() -> None:
    """The engine is told."""
    engine = ScriptedEngine(delay_s=30)

    async def main() -> None:
        stream = motet.stream(ask.on(engine)("q"), store=None)
        async for event in stream:
            if isinstance(event, EngineCalled):
                await asyncio.sleep(0)
                break
        await stream.aclose()

    asyncio.run(main())

    assert engine.num_aborted == 1


def test_leaving_a_stream_early_cancels_the_run() -> None:
    """`break` is enough, as the docstring has it."""
    engine = ScriptedEngine(delay_s=0.3)

    async def main() -> None:
        async for event in motet.stream(ask.on(engine)("q"), store=None):
            if isinstance(event, EngineCalled):
                await asyncio.sleep(0)
                break
        await asyncio.sleep(0.05)
        assert engine.in_flight == 0

    asyncio.run(main())


def test_a_streams_result_is_there_only_at_the_end() -> None:
    """Asking before is a mistake."""

    async def main() -> None:
        stream = motet.stream(identity(1), store=None)
        with pytest.raises(motet.errors.ConfigError):
            _ = stream.result
        async for _ in stream:
            pass
        assert stream.result.value == 1

    asyncio.run(main())

"""Running: the sync edge, many runs at once, and interruption."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import motet
from motet import Budget, Model, Ref, Result, RunFailedError, program, prompt, step
from motet.errors import ConfigError, ProgramError, UnboundInputError
from motet.testing import ScriptedEngine


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@step
def identity(value: Any) -> Any:
    return value


def test_run_gives_the_value_with_what_it_took() -> None:
    """Value, usage, cost, id and graph of one execution."""
    engine = ScriptedEngine(lambda r: "one two")
    model = Model(engine, price=motet.Price(prompt=1.0, completion=2.0))

    result = motet.run(ask.on(model)("a b c"), store=None)

    assert isinstance(result, Result)
    assert result.value == "one two"
    assert result.usage == motet.Usage(3, 2, 0, 1)
    assert result.cost == pytest.approx(7e-6)
    assert result.run_id
    assert 0 < result.duration_s < 5
    assert len(result.graph) == 1


def test_a_ref_can_be_run_twice() -> None:
    """Each run asks anew; with one seed the values are equal."""
    engine = ScriptedEngine()
    ref = identity([ask.on(engine)("q"), ask.on(engine)("q")])

    first, second = motet.run(ref, store=None), motet.run(ref, store=None)
    other = motet.run(ref, store=None, seed=1)

    assert first.value == second.value != other.value
    assert first.run_id != second.run_id
    assert len(engine.requests) == 6


def test_run_works_inside_a_running_loop() -> None:
    """As in a notebook: the run has a thread of its own; errors come through."""

    async def main() -> tuple[Any, Any]:
        value = motet.run(identity(1), store=None).value
        with pytest.raises(RunFailedError):
            motet.run(identity([])[3], store=None)
        return value, await asyncio.sleep(0, "still running")

    assert asyncio.run(main()) == (1, "still running")


def test_many_runs_on_one_loop() -> None:
    """A hundred at once, of one ref and of many."""
    engine = ScriptedEngine(delay_s=0.005)
    shared = ask.on(engine)("shared")

    async def main() -> list[Any]:
        runs = [motet.arun(shared, store=None) for _ in range(50)]
        runs += [motet.arun(ask.on(engine)(str(i)), store=None) for i in range(50)]
        return [r.value for r in await asyncio.gather(*runs)]

    values = asyncio.run(main())

    assert len(set(values[:50])) == 1
    assert len(set(values[50:])) == 50
    assert len(engine.requests) == 100


def test_runs_in_many_threads() -> None:
    """Each thread has a loop of its own."""
    engine = ScriptedEngine()

    async def main() -> list[Any]:
        ref = identity(ask.on(engine)("q"))
        return await asyncio.gather(  # type: ignore[no-any-return]
            *[asyncio.to_thread(motet.run, ref, store=None) for _ in range(8)]
        )

    results = asyncio.run(main())

    assert len({r.value for r in results}) == 1
    assert len({r.run_id for r in results}) == 8


def test_a_run_in_a_step_is_a_run_of_its_own() -> None:
    """Its calls are not the outer run's."""
    engine = ScriptedEngine(lambda r: "a")

    @step
    def outer() -> Any:
        result = motet.run(ask.on(engine)("q"), store=None)
        return [result.value, result.run_id]

    result = motet.run(outer(), store=None)

    assert result.value[0] == "a"
    assert result.value[1] != result.run_id
    assert result.usage.calls == 0
    assert len(engine.requests) == 1


def test_a_run_in_a_program_asks_nothing_twice() -> None:
    """`await motet.arun(ref)` in a program is refused, or asks once."""
    engine = ScriptedEngine(lambda r: "a")

    @program
    async def whole() -> Any:
        return (await motet.arun(ask.on(engine)("q"), store=None)).value

    try:
        motet.run(whole(), store=None)
    except RunFailedError as error:
        assert isinstance(error.__cause__, ProgramError)

    assert len(engine.requests) <= 1


@pytest.mark.parametrize("what", [identity, 5, None, "ref", ask])
def test_run_takes_a_ref(what: Any) -> None:
    """An operation that was not called is no ref."""
    with pytest.raises(UnboundInputError, match=type(what).__name__):
        motet.run(what, store=None)


@pytest.mark.parametrize("bad", [{"max_concurrency": 0}, {"max_concurrency": -1}, {"resume": "id"}])
def test_a_bad_setting_is_refused(bad: dict[str, Any]) -> None:
    """Before anything is asked."""
    engine = ScriptedEngine()

    with pytest.raises(ConfigError, match=next(iter(bad))):
        motet.run(ask.on(engine)("q"), store=None, **bad)

    assert engine.requests == []


def test_max_concurrency_bounds_what_is_in_flight() -> None:
    """Over the whole run."""
    engine = ScriptedEngine(delay_s=0.002)
    refs = [ask.on(engine)(str(i)) for i in range(20)]

    motet.run(identity(refs), store=None, max_concurrency=3)

    assert engine.peak_in_flight == 3


def test_cancelling_a_run_aborts_its_requests() -> None:
    """The cancellation passes through, and the engine is told."""
    engine = ScriptedEngine(delay_s=0.1)

    async def main() -> None:
        run = asyncio.create_task(motet.arun(ask.on(engine)("q"), store=None))
        await asyncio.sleep(0.02)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())

    assert len(engine.requests) == 1
    assert engine.num_aborted == 1
    assert engine.in_flight == 0


def test_a_failed_runs_message_names_the_error() -> None:
    """The cause is chained, and the run's id is there."""
    with pytest.raises(RunFailedError, match="TooFewSurvivorsError") as caught:
        motet.run(motet.successful([]), store=None, budget=Budget(max_calls=1))

    assert caught.value.run_id == caught.value.partial.run_id
    assert type(caught.value.__cause__).__name__ == "TooFewSurvivorsError"


def test_an_engine_that_was_given_is_not_closed() -> None:
    """It belongs to the caller; two runs may use it."""
    engine = ScriptedEngine()

    for _ in range(2):
        motet.run(ask.on(engine)("q"), store=None)

    assert not engine.is_closed


_INTERRUPTED = """
import sys, time
import motet
from motet.testing import ScriptedEngine

engine = ScriptedEngine(lambda r: "a", delay_s=float(sys.argv[1]))

@motet.prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError

@motet.program
async def whole():
    for i in range(100):
        await ask.on(engine)(str(i))

print("started", flush=True)
began = time.monotonic()
try:
    motet.run(whole(), store=None)
except KeyboardInterrupt:
    print(engine.num_aborted, len(engine.requests), time.monotonic() - began, flush=True)
"""


def interrupted(tmp_path: Path, delay_s: float, times: list[float]) -> tuple[int, int, float]:
    """Run the script, send SIGINT at `times`, and return aborted, asked and seconds."""
    script = tmp_path / "interrupted.py"
    script.write_text(_INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, str(script), str(delay_s)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        for wait_s in times:
            time.sleep(wait_s)
            os.kill(process.pid, signal.SIGINT)
        aborted, asked, seconds = process.communicate(timeout=20)[0].split()
    return int(aborted), int(asked), float(seconds)


def test_a_first_interrupt_waits_for_the_request_in_flight(tmp_path: Path) -> None:
    """What was paid for arrives, and nothing new is asked."""
    aborted, asked, seconds = interrupted(tmp_path, 1.0, [0.3])

    assert (aborted, asked) == (0, 1)
    assert 0.9 < seconds < 3


def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    """The request is left where it is."""
    _, asked, seconds = interrupted(tmp_path, 15.0, [0.3, 0.3])

    assert asked == 1
    assert seconds < 5


def test_the_type_of_the_value_is_the_programs() -> None:
    """A ref's value is what its operation is annotated with, at run time too."""
    ref: Ref[int] = identity(5)

    assert motet.run(ref, store=None).value == 5

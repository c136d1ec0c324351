"""Stepping: which sync steps run on the loop, and which in threads."""

import threading
from typing import Any

import motet
from motet import program, step
from motet.runtime.stepping import StepTimes


def test_a_step_is_quick_once_it_was_seen_to_be() -> None:
    """The first call is never trusted."""
    times = StepTimes()

    before = times.is_quick
    times.add(0.0001)

    assert not before
    assert times.is_quick


def test_a_second_slow_call_among_few_sends_a_step_to_threads() -> None:
    """One may be a pause of the garbage collector; two are the step's own."""
    times = StepTimes()
    for _ in range(100):
        times.add(0.00001)

    times.add(0.02)
    after_one = times.is_quick
    times.add(0.02)

    assert after_one
    assert not times.is_quick


def test_rare_pauses_do_not_count_against_a_quick_step() -> None:
    """One slow call in a thousand leaves a step on the event loop, however many there are."""
    times = StepTimes()

    for call in range(10_000):
        times.add(0.05 if call % 1000 == 999 else 0.00001)

    assert times.is_quick


def test_a_step_that_was_never_quick_stays_in_threads() -> None:
    """Nothing tells a slow step from one that waits, so both have a thread."""
    times = StepTimes()

    times.add(0.0008)
    times.add(0.002)

    assert not times.is_quick


def test_the_first_call_runs_in_a_thread_and_later_ones_on_the_loop() -> None:
    """A quick step costs no thread switch."""
    names: list[str] = []

    @step
    def quick(i: int) -> int:
        names.append(threading.current_thread().name)
        return i

    @program
    async def whole() -> Any:
        return [await quick(i) for i in range(20)]

    motet.run(whole(), store=None)

    assert names[0].startswith("motet-step")
    assert names[-1] == "MainThread"

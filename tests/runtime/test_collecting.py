"""Full collections of garbage are rarer while a run lasts, and the run keeps nothing after it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextvars import Context, copy_context
from typing import Any

import pytest

import motet
from motet import Model, prompt, step
from motet.refs import RUN
from motet.runtime.collecting import rare_full_collections
from motet.testing import ScriptedEngine


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@step
def threshold(number: int) -> int:
    return gc.get_threshold()[2]


@pytest.fixture(autouse=True)
def python_s_own() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_a_run_makes_them_rarer_and_puts_the_thresholds_back() -> None:
    """Inside a run the last threshold is higher; after it all are as they were."""
    inside = motet.run(threshold(1), store=None).value

    assert inside > 10
    assert gc.get_threshold() == (700, 10, 10)


def test_the_last_of_overlapping_runs_puts_them_back() -> None:
    with rare_full_collections():
        with rare_full_collections():
            pass
        between = gc.get_threshold()

    assert between[2] > 10
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("own", [(700, 10, 1000), (0, 10, 1000)])
def test_higher_thresholds_of_the_application_stay(own: tuple[int, int, int]) -> None:
    gc.set_threshold(*own)

    with rare_full_collections():
        inside = gc.get_threshold()

    assert (inside, gc.get_threshold()) == (own, own)


def test_thresholds_that_the_application_changes_meanwhile_stay() -> None:
    with rare_full_collections():
        gc.set_threshold(900, 9, 9)

    assert gc.get_threshold() == (900, 9, 9)


def test_a_context_that_outlives_its_run_holds_none_of_its_calls() -> None:
    """A connection keeps the context in which it was opened; values must not live as long."""
    kept: list[Context] = []

    def answer(request: Any) -> str:
        kept.append(copy_context())
        return "answer"

    engine = ScriptedEngine(answer)

    async def act() -> Any:
        return await motet.arun(ask.on(Model(engine))("question"), store=None)

    result = asyncio.run(act())

    live: Any = kept[0][RUN]
    assert live is not None
    assert list(live.calls.by_ref.listed) == []
    assert len(result.graph.nodes) == 1

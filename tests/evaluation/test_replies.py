"""Replies: whose failure it is, and what a part of a run took."""

from __future__ import annotations

from typing import Any

import pytest

import motet
from motet import Budget, Completion, Model, RunFailedError, program, prompt
from motet.errors import (
    BudgetExhaustedError,
    CallCancelledError,
    CapabilityError,
    ConfigError,
    CutOffReplyError,
    EmptyReplyError,
    EngineTimeoutError,
    EngineUnavailableError,
    ModelNotFoundError,
    MotetError,
    ParseError,
    ProcessorMismatchError,
    PromptTooLongError,
    RefusalError,
    RequestRejectedError,
    SearchError,
    StepError,
    StoreError,
    TooFewSurvivorsError,
)
from motet.evaluation.replies import Reply, measured
from motet.evaluation.texts import Said
from motet.testing import ScriptedEngine


@prompt(user="{{ text }}")
def ask(text: str) -> Completion:
    raise NotImplementedError


def reply(work: Any, **settings: Any) -> Reply:
    @program
    async def part() -> Reply:
        return await measured(work, **settings)

    found: Reply = motet.run(part(), store=None).value
    return found


def failing(error: MotetError) -> Any:
    async def work() -> Said:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (ParseError("p"), "failed"),
        (RefusalError("r"), "failed"),
        (CutOffReplyError("c"), "cut off"),
        (EmptyReplyError("e"), "empty"),
        (PromptTooLongError("l", prompt_tokens=2, max_tokens=1), "failed"),
        (RequestRejectedError("this row is not taken", status=400), "failed"),
        (StepError("s", error_type="ValueError"), "failed"),
        (SearchError("s"), "failed"),
        (BudgetExhaustedError("b", limit="max_tokens", limit_value=1), "failed"),
        (TooFewSurvivorsError("t", failures=[ParseError("p")]), "failed"),
    ],
)
def test_a_failure_of_its_own_is_a_reply_without_a_text(error: MotetError, missing: str) -> None:
    """That says what failed."""
    found = reply(failing(error))

    assert (found.text, found.missing) == (None, missing)
    assert found.error is not None
    assert found.error.startswith(type(error).__name__)


@pytest.mark.parametrize(
    "error",
    [
        EngineUnavailableError("away"),
        EngineTimeoutError("late"),
        ModelNotFoundError("none"),
        RequestRejectedError("no key", status=401),
        RequestRejectedError("not allowed", status=403),
        ProcessorMismatchError("old", server_version=1, client_version=2),
        ConfigError("setting"),
        CapabilityError("cannot"),
        StoreError("full"),
        CallCancelledError("lost"),
        TooFewSurvivorsError("t", failures=[ParseError("p"), EngineUnavailableError("away")]),
    ],
)
def test_any_other_failure_is_the_runs(error: MotetError) -> None:
    """It says nothing of the program, so it is no reply."""
    with pytest.raises(RunFailedError) as failed:
        reply(failing(error))

    assert type(failed.value.__cause__) is type(error)


def test_a_reply_knows_what_it_took_and_nothing_of_what_others_took() -> None:
    """Two parts of a run are measured apart."""
    engine = ScriptedEngine(lambda r: "one two three")
    model = Model(engine)

    async def once() -> Said:
        await ask.on(model)("a b")
        return Said(text="x")

    async def twice() -> Said:
        await ask.on(model)("a b")
        await ask.on(model)("c d e")
        return Said(text="y", is_cut_off=True)

    @program
    async def both() -> list[Reply]:
        return [await measured(once), await measured(twice)]

    first, second = motet.run(both(), store=None).value

    assert (first.tokens, first.calls, first.missing) == (5, 1, None)
    assert (second.tokens, second.calls, second.missing) == (11, 2, "cut off")


def test_a_limit_of_the_whole_run_is_no_failure_of_a_part() -> None:
    """Though the part asked for more than was left."""
    engine = ScriptedEngine(lambda r: "one")

    async def work() -> Said:
        await ask.on(Model(engine))("a")
        await ask.on(Model(engine))("b")
        return Said(text="x")

    @program
    async def part() -> Reply:
        return await measured(work)

    with pytest.raises(RunFailedError) as failed:
        motet.run(part(), store=None, budget=Budget(max_calls=1))

    assert isinstance(failed.value.__cause__, BudgetExhaustedError)

"""Studies: what attempts cost, what fails them, what a resume pays, and that order has no part."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Budget, Completion, Model, Price, RunFailedError, program, prompt, step
from motet.engine import Request
from motet.errors import (
    BudgetExhaustedError,
    ConfigError,
    DataError,
    EngineUnavailableError,
    ParseError,
)
from motet.evaluation.figures import Figure
from motet.evaluation.judge_metrics import Judged
from motet.evaluation.metrics import Graded, Scored
from motet.evaluation.study import ATTEMPT, study_call
from motet.evaluation.task import Contender, Task
from motet.grading.rows import Row
from motet.programs.best_of_n import answer
from motet.programs.self_consistency import self_consistency
from motet.testing import ScriptedEngine

ROWS = tuple(
    Row(id=f"row {i}", prompt=f"Say {i}.", golds=(str(i),), kind="number", task="")
    for i in range(6)
)
TASK = Task(name="numbers", rows=ROWS, metric=Graded(), instruction="Reply with the number.")


def wanted(request: Request) -> int:
    found = re.search(r"Say (\d+)", "\n".join(turn.content for turn in request.prompt))
    assert found is not None
    return int(found[1])


def sayer(share: float = 0.5) -> Any:
    """Greedy is right on even rows; a sample is right with probability `share`."""

    def script(request: Request) -> Any:
        number = wanted(request)
        if request.sampling.temperature == 0:
            return f"The answer is {number if number % 2 == 0 else 99}."
        chance = random.Random(f"{request.sampling.seed} {number}")
        return tuple(
            Completion(
                f"The answer is {number if chance.random() < share else 77}.",
                "stop",
                None,
                (1, 2, 3),
            )
            for _ in range(request.n)
        )

    return script


@prompt(user="{{ question }}")
def greedy(question: str) -> str:
    raise NotImplementedError


GREEDY = greedy.on(temperature=0.0)


def contenders_of(engine: ScriptedEngine, **model: Any) -> list[Contender]:
    made = Model(engine, **model)
    return [
        Contender(name="greedy", program=GREEDY, model=made),
        Contender(name="votes", program=self_consistency, settings={"n": 5}, model=made),
    ]


def run(
    engine: ScriptedEngine, contenders: list[Contender], task: Task = TASK, **changes: Any
) -> list[Figure]:
    call = study_call(task, contenders, **changes)
    found: list[Figure] = motet.run(call, store=None, cache=False).value
    return found


def bare(figures: list[Figure]) -> dict[tuple[str, bool, str, int], Any]:
    """Figures without their times, whose order has no part."""
    return {
        (f.contender, f.is_matched, f.row, f.seed): (f.text, f.value, f.tokens, f.calls, f.samples)
        for f in figures
    }


def test_every_contender_answers_every_row_beside_its_own_self_consistency() -> None:
    """The figures come by contender, seed and row, each with the matched one behind it."""
    engine = ScriptedEngine(sayer())

    figures = run(engine, contenders_of(engine), num_seeds=2)

    assert [(f.contender, f.seed, f.row, f.is_matched) for f in figures] == [
        (name, seed, row.id, is_matched)
        for name in ("greedy", "votes")
        for seed in range(2)
        for row in ROWS
        for is_matched in (False, True)
    ]
    own = {f.row: f.value for f in figures if f.contender == "greedy" and not f.is_matched}
    assert own == {row.id: float(i % 2 == 0) for i, row in enumerate(ROWS)}


def test_what_attempts_take_adds_up_to_what_the_engine_was_asked() -> None:
    """Tokens, calls and money of all figures are the run's own, where no sample was dropped."""
    engine = ScriptedEngine(sayer())
    price = Price(prompt=1.0, completion=10.0)
    contenders = contenders_of(engine, price=price)[:1]

    result = motet.run(study_call(TASK, contenders), store=None, cache=False)

    assert sum(f.tokens for f in result.value) == result.usage.tokens
    assert sum(f.calls for f in result.value) == result.usage.calls == len(engine.requests)
    assert sum(f.cost for f in result.value) == pytest.approx(result.cost)
    assert all(f.wall_s is not None and f.wall_s > 0 for f in result.value)


def test_where_money_is_matched_the_target_is_what_the_contender_paid() -> None:
    """Its tokens have no part: with prompts for free, five samples pay for five."""
    engine = ScriptedEngine(sayer())
    contenders = contenders_of(engine, price=Price(prompt=0.0, completion=1e6))[1:]

    figures = run(engine, contenders, match="cost")

    assert {f.samples for f in figures if f.is_matched} == {5}
    assert {f.cost for f in figures} == {20.0}


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(6)), st.booleans())
def test_the_order_of_rows_and_contenders_changes_no_figure(
    order: list[int], is_turned: bool
) -> None:
    """Seeds of samples depend on what is asked, not on its place."""
    engine = ScriptedEngine(sayer())
    contenders = contenders_of(engine)
    shuffled = Task(
        name="numbers",
        rows=tuple(ROWS[i] for i in order),
        metric=Graded(),
        instruction=TASK.instruction,
    )

    first = run(engine, contenders)
    second = run(engine, contenders[::-1] if is_turned else contenders, shuffled)

    assert bare(first) == bare(second)


@pytest.mark.parametrize("cut_after", [1, 13])
def test_a_study_that_was_cut_goes_on_and_ends_as_one_that_was_not(
    tmp_path: Path, cut_after: int
) -> None:
    """Nothing that an engine has answered is asked again, and every figure is the same."""
    engine = ScriptedEngine(sayer())
    whole = run(engine, contenders_of(engine), concurrency=2)
    num_whole = len(engine.requests)
    begun = 0

    def failing(request: Request) -> Any:
        nonlocal begun
        begun += 1
        return EngineUnavailableError("away") if begun > cut_after else sayer()(request)

    broken, mended = ScriptedEngine(failing), ScriptedEngine(sayer())
    store = tmp_path / "a.db"
    with pytest.raises(RunFailedError) as failed:
        motet.run(study_call(TASK, contenders_of(broken), concurrency=2), store=store, cache=False)
    result = motet.run(
        study_call(TASK, contenders_of(mended), concurrency=7),
        store=store,
        cache=False,
        resume=failed.value.run_id,
    )

    assert bare(result.value) == bare(whole)
    answered = {request.request_id for request in broken.requests[:cut_after]}
    assert not answered & {request.request_id for request in mended.requests}
    assert len(mended.requests) == num_whole - len(answered)
    assert result.usage.calls == num_whole


def test_a_study_that_was_interrupted_goes_on_without_paying_twice(tmp_path: Path) -> None:
    """What was answered before a cancellation is in the journal."""
    whole = ScriptedEngine(sayer())
    expected = run(whole, contenders_of(whole))
    engine = ScriptedEngine(sayer(), delay_s=lambda request: 0.002 * wanted(request))
    begun: list[str] = []

    class Watch:
        def on_event(self, event: Any) -> None:
            begun.append(event.run_id)

    async def interrupted() -> None:
        call = study_call(TASK, contenders_of(engine), concurrency=3)
        task = asyncio.create_task(
            motet.arun(call, store=tmp_path / "a.db", cache=False, observers=[Watch()])
        )
        while len(engine.requests) < 9:  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    num_aborted = engine.num_aborted
    result = motet.run(
        study_call(TASK, contenders_of(engine)),
        store=tmp_path / "a.db",
        cache=False,
        resume=begun[0],
    )

    assert bare(result.value) == bare(expected)
    assert result.usage.calls == len(whole.requests)
    assert len(engine.requests) - num_aborted == len(whole.requests)


def test_a_finished_study_is_read_and_not_asked_again(tmp_path: Path) -> None:
    """A resume of a whole run costs nothing and gives the same figures, times included."""
    engine = ScriptedEngine(sayer())
    call = study_call(TASK, contenders_of(engine))

    first = motet.run(call, store=tmp_path / "a.db", cache=False)
    num = len(engine.requests)
    again = motet.run(
        study_call(TASK, contenders_of(engine)),
        store=tmp_path / "a.db",
        cache=False,
        resume=first.run_id,
    )

    assert again.value == first.value
    assert len(engine.requests) == num


@program
async def breaks(question: str, *, how: str) -> str:
    if how == "parse":
        raise ParseError("no number")
    if how == "step":
        return await crash(question)
    if how == "none":
        return ""
    return "The answer is 1."


@step
def crash(text: str) -> str:
    raise KeyError(text)


@prompt(user="{{ question }}")
def long_reply(question: str) -> Completion:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("contender", "missing", "said"),
    [
        (Contender(name="a", program=breaks, settings={"how": "parse"}), "failed", "ParseError"),
        (Contender(name="a", program=breaks, settings={"how": "step"}), "failed", "KeyError"),
        (Contender(name="a", program=breaks, settings={"how": "none"}), "empty", None),
        (Contender(name="a", program=long_reply.on(max_tokens=1)), "cut off", None),
        (Contender(name="a", program=greedy.on(max_tokens=1)), "cut off", "CutOffReplyError"),
    ],
)
def test_a_failure_of_the_program_is_a_figure_that_counts_as_wrong(
    contender: Contender, missing: str, said: str | None
) -> None:
    """It fails no other attempt, is shown to no metric, and says why."""
    seen: list[str] = []

    def note(text: str, row: Row) -> float:
        seen.append(text)
        return 1.0

    engine = ScriptedEngine(lambda r: "The answer is 1.")
    task = Task(name="t", rows=ROWS[:2], metric=Scored(function=note))
    call = study_call(task, [contender])
    figures = motet.run(call, store=None, cache=False, model=Model(engine)).value

    assert [f.missing for f in figures] == [missing] * 2
    assert [f.counted for f in figures] == [0.0] * 2
    assert all((f.error is None) == (said is None) for f in figures)
    assert said is None or all(said in (f.error or "") for f in figures)
    assert seen == []


def test_an_attempt_that_its_budget_ends_has_failed_and_the_runs_own_budget_fails_the_run(
    tmp_path: Path,
) -> None:
    """The one says something of the contender; after the other the run goes on with more."""
    engine = ScriptedEngine(sayer())
    votes = contenders_of(engine)[1:]

    figures = run(engine, votes, max_tokens=10)

    assert {f.missing for f in figures if not f.is_matched} == {"failed"}
    assert all("BudgetExhaustedError" in (f.error or "") for f in figures if not f.is_matched)
    assert {f.missing for f in figures if f.is_matched} == {None}

    with pytest.raises(RunFailedError) as failed:
        motet.run(
            study_call(TASK, contenders_of(engine)),
            store=tmp_path / "a.db",
            cache=False,
            budget=Budget(max_calls=7),
        )
    assert isinstance(failed.value.__cause__, BudgetExhaustedError)
    result = motet.run(
        study_call(TASK, contenders_of(engine)),
        store=tmp_path / "a.db",
        cache=False,
        budget=Budget(max_calls=1000),
        resume=failed.value.run_id,
    )
    assert all(f.missing is None for f in result.value)
    assert bare(result.value) == bare(run(engine, contenders_of(engine)))


def test_a_program_that_takes_a_seed_has_that_of_the_attempt() -> None:
    """A seed that the settings give is kept."""

    @program
    async def seeded(question: str, *, seed: int = 5) -> str:
        return f"The answer is {seed}."

    contenders = [
        Contender(name="free", program=seeded),
        Contender(name="fixed", program=seeded, settings={"seed": 9}),
    ]
    figures = run(ScriptedEngine(), contenders, num_seeds=2)

    assert [f.answer for f in figures if f.row == "row 0"] == ["0", "1", "9", "9"]
    assert not any(f.is_matched for f in figures)  # there is no model for it


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_seeds": 0}, "num_seeds is 0"),
        ({"concurrency": True}, "concurrency is True"),
        ({"max_tokens": -1}, "max_tokens is -1"),
        ({"match": "time"}, "match is 'time'"),
        ({"match": "cost"}, "has no price"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"max_samples": 0}, "max_samples is 0"),
        ({"sample_tokens": 1.5}, "sample_tokens is 1.5"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_asked(
    changes: dict[str, Any], said: str
) -> None:
    """The message has the setting and its value."""
    engine = ScriptedEngine(sayer())

    with pytest.raises(ConfigError, match=re.escape(said)):
        study_call(TASK, contenders_of(engine), **changes)

    assert engine.requests == []


def test_a_judge_pays_for_itself() -> None:
    """What scoring took is no part of a contender's tokens, nor of what is matched."""
    engine = ScriptedEngine(sayer())
    judge = ScriptedEngine(lambda r: "A fine answer. [[10]]", name="judge")
    from motet.evaluation.judge_metrics import Judged

    task = Task(name="t", rows=ROWS[:2], metric=Judged(model=Model(judge)))

    judged = run(engine, contenders_of(engine), task)
    plain = run(engine, contenders_of(engine), Task(name="t", rows=ROWS[:2], metric=Graded()))

    assert [f.tokens for f in judged if not f.is_matched] == [
        f.tokens for f in plain if not f.is_matched
    ]
    assert all(f.value == 1.0 and f.metric_tokens > 0 for f in judged)
    assert all(f.metric_tokens == 0 for f in plain)
    assert len(judge.requests) == len(judged)


def test_the_operation_of_attempts_is_known_for_progress() -> None:
    """An observer that counts it sees one a cell."""
    engine = ScriptedEngine(sayer())
    seen: list[str] = []

    class Watch:
        def on_event(self, event: Any) -> None:
            if type(event).__name__ == "CallFinished":
                seen.append(event.operation)

    call = study_call(TASK, contenders_of(engine))
    motet.run(call, store=None, cache=False, observers=[Watch()])

    assert seen.count(ATTEMPT) == 2 * len(ROWS)


def test_rows_that_a_metric_cannot_grade_are_told_before_anything_is_asked() -> None:
    """A row without a right answer has none to be equal to."""
    engine = ScriptedEngine(sayer())
    row = Row(id="open", prompt="Say what you like.", golds=(), kind="text", task="")

    with pytest.raises(DataError):
        study_call(Task(name="t", rows=(row,), metric=Graded()), contenders_of(engine))

    assert engine.requests == []


def test_prompt_and_instruction_reach_the_program_and_its_self_consistency_alike() -> None:
    """Both are asked the same text."""
    engine = ScriptedEngine(sayer())

    run(engine, [Contender(name="a", program=answer, model=Model(engine))])

    asked = {request.prompt[-1].content for request in engine.requests}
    assert asked == {f"Say {i}.\n\nReply with the number." for i in range(6)}


def test_why_an_answer_was_not_judged_stands_in_its_figure() -> None:
    """As the judge's reply, which nobody could read."""
    judge = Model(ScriptedEngine(lambda request: "no idea at all"))
    task = Task(name="judged", rows=ROWS[:1], metric=Judged(model=judge))
    engine = ScriptedEngine(sayer())

    [own, _] = run(engine, contenders_of(engine)[:1], task)

    assert own.missing == "not judged"
    assert "no idea at all" in (own.error or "")

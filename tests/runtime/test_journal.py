"""The journal: resumption, replay, and the cache, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

import motet
from motet import Budget, Model, Outcome, RunFailedError, program, prompt, step
from motet.errors import (
    CutOffReplyError,
    EngineTimeoutError,
    MotetError,
    ReplayMismatchError,
    RequestRejectedError,
    StoreError,
)
from motet.programs import best_of_n, mixture_of_agents, self_consistency
from motet.store import Store
from motet.testing import ScriptedEngine


@prompt(user="{{ text }}")
def ask(text: str) -> str: ...


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request, tmp_path):
    where = tmp_path / "motet.db"
    if request.param == "postgresql":
        where = request.getfixturevalue("postgres_url")
    opened = Store.open(where)
    asyncio.run(opened.clear_cache())  # PostgreSQL's server outlives a test
    yield opened
    opened.close()


def _nested(model):
    vote = self_consistency.as_model(model=model, n=3, extract="text")
    panel = mixture_of_agents.as_model(proposers=[model] * 3, aggregator=vote)
    return best_of_n("why?", model=panel, n=2, verify=len)


def test_a_run_is_the_same_on_either_database_and_on_none(store):
    """Value, usage and ids do not depend on where the journal is."""
    engine = ScriptedEngine(lambda r: f"{r.sampling.seed} {len(r.prompt)}")

    journaled = motet.run(_nested(Model(engine)), store=store, cache=False)
    plain = motet.run(_nested(Model(engine)), store=None)

    assert journaled.value == plain.value
    assert journaled.usage == plain.usage
    assert {n.id for n in journaled.graph} == {n.id for n in plain.graph}


def test_a_finished_run_answers_from_its_journal(store):
    """Resuming what was finished asks nothing and gives the same value and usage."""
    engine = ScriptedEngine(lambda r: f"{r.sampling.seed}")
    first = motet.run(_nested(Model(engine)), store=store, cache=False)
    asked = len(engine.requests)

    again = motet.run(_nested(Model(engine)), store=store, cache=False, resume=first.run_id)

    assert again.value == first.value
    assert again.usage == first.usage
    assert len(engine.requests) == asked


def test_an_equal_request_of_another_run_is_answered_from_the_cache(store):
    """A second run of one manifest asks nothing; another seed asks again; cache=False asks."""
    engine = ScriptedEngine(lambda r: f"{r.sampling.seed}")
    ref = _nested(Model(engine))
    first = motet.run(ref, store=store)
    asked = len(engine.requests)

    again = motet.run(ref, store=store)
    assert (again.value, again.usage.calls, len(engine.requests)) == (first.value, 0, asked)

    motet.run(ref, store=store, seed=1)
    assert len(engine.requests) == 2 * asked

    motet.run(ref, store=store, cache=False)
    assert len(engine.requests) == 3 * asked


def test_equal_calls_of_one_run_are_different_samples(store):
    """The cache does not make one sample of two equal calls, as long as sampling is random."""
    engine = ScriptedEngine(lambda r: f"{r.sampling.seed}")
    model = Model(engine)

    value = motet.run(motet.settled([ask.on(model)("x") for _ in range(5)]), store=store).value

    assert len({outcome.value for outcome in value}) == 5


def test_a_failed_run_goes_on_where_it_stopped(store):
    """What failed is tried again; what was finished is not."""
    replies = {"bad": [RequestRejectedError("no", status=400), "good at last"]}

    def reply(request):
        text = request.prompt[-1].content
        return replies[text].pop(0) if text in replies else f"re {text}"

    engine = ScriptedEngine(reply)
    model = Model(engine)
    ref = motet.map(ask.on(model), ["a", "b", "c"])

    @program
    def both() -> list:
        return [ref, ask.on(model)(motet.map(ask.on(model), ["bad"])[0])]

    with pytest.raises(RunFailedError, match="RequestRejectedError") as caught:
        motet.run(both(), store=store, cache=False)
    result = motet.run(both(), store=store, cache=False, resume=caught.value.run_id)

    assert result.value == [["re a", "re b", "re c"], "re good at last"]
    texts = [r.prompt[-1].content for r in engine.requests]
    assert sorted(set(texts) - {"bad"}) == ["a", "b", "c", "good at last"]
    assert texts.count("bad") == 2


def test_a_budget_counts_over_resumptions(store):
    """What the first part spent is spent; a larger budget lets the run go on."""
    engine = ScriptedEngine(lambda r: "x")
    ref = motet.map(ask.on(Model(engine)), [str(i) for i in range(10)])

    with pytest.raises(RunFailedError) as caught:
        motet.run(ref, store=store, budget=Budget(max_calls=4), cache=False)
    run_id = caught.value.run_id
    with pytest.raises(RunFailedError):
        motet.run(ref, store=store, resume=run_id, cache=False)
    assert len(engine.requests) == 4
    result = motet.run(ref, store=store, resume=run_id, budget=Budget(max_calls=10), cache=False)

    assert result.usage.calls == 10
    assert len(engine.requests) == 10


@pytest.mark.parametrize("change", ["input", "model", "template"])
def test_a_changed_program_is_refused_on_resume(store, change):
    """A resumed run that would make another call than the journal holds says so, and asks
    nothing."""
    engine = ScriptedEngine(lambda r: "x")

    def build(*, is_changed: bool):
        template = "{{ text }}!" if is_changed and change == "template" else "{{ text }}"

        @prompt(user=template, name="t:asked")
        def asked(text: str) -> str: ...

        model = Model(engine, "other" if is_changed and change == "model" else "one")

        @program(name="t:whole")
        async def whole() -> list[str]:
            texts = ["a", "b", "c"]
            if is_changed and change == "input":
                texts[1] = "B"
            values = [await asked.on(model)(text) for text in texts]
            raise RuntimeError("stop") if not is_changed else ValueError(str(values))

        return whole()

    with pytest.raises(RunFailedError) as caught:
        motet.run(build(is_changed=False), store=store, cache=False)
    asked_before = len(engine.requests)

    with pytest.raises(MotetError) as refused:
        motet.run(build(is_changed=True), store=store, cache=False, resume=caught.value.run_id)

    cause = refused.value.__cause__ or refused.value
    assert isinstance(cause, ReplayMismatchError)
    assert len(engine.requests) == asked_before


def test_another_program_is_refused_on_resume(store):
    """A run id of one program does not resume another."""
    model = Model(ScriptedEngine(lambda r: "x"))
    first = motet.run(ask.on(model)("a"), store=store)

    with pytest.raises(ReplayMismatchError):
        motet.run(ask.on(model)("b"), store=store, resume=first.run_id)


def test_a_failure_that_a_program_caught_is_replayed(store):
    """On resume the program takes the way it took, though the call would succeed now."""
    state = {"down": True, "stop": True}

    def reply(request):
        text = request.prompt[-1].content
        if text == "first" and state["down"]:
            return RequestRejectedError("down", status=400)
        return f"re {text}"

    model = Model(ScriptedEngine(reply))

    @program
    async def careful() -> str:
        try:
            found = await ask.on(model)("first")
        except MotetError as exc:
            found = type(exc).__name__
        answer = await ask.on(model)(f"then {found}")
        if state["stop"]:
            raise RuntimeError("stop here")
        return answer

    with pytest.raises(RunFailedError) as caught:
        motet.run(careful(), store=store, cache=False)
    state.update(down=False, stop=False)
    result = motet.run(careful(), store=store, cache=False, resume=caught.value.run_id)

    assert result.value == "re then RequestRejectedError"


def test_a_reply_that_is_no_value_was_paid_for(store):
    """A cut-off reply is in the journal: resuming fails the same way and asks nothing."""
    engine = ScriptedEngine(lambda r: motet.Completion("half", finish_reason="length"))
    ref = ask.on(Model(engine))("x")

    with pytest.raises(RunFailedError) as caught:
        motet.run(ref, store=store)
    with pytest.raises(RunFailedError) as again:
        motet.run(ref, store=store, resume=caught.value.run_id)

    assert isinstance(again.value.__cause__, CutOffReplyError)
    assert len(engine.requests) == 1


def test_outcomes_and_races_come_back_from_the_journal(store):
    """Combinators are replayed with their failures, winners and types."""
    model = Model(ScriptedEngine(lambda r: "x"))
    runs = []

    @step
    def count(i: int) -> tuple[int, str]:
        runs.append(i)
        if i == 2:
            raise ValueError("two")
        return (i, "n")

    @program
    async def whole() -> list:
        outcomes = await motet.settled([count(1), count(2)])
        winner = await motet.race(ask.on(model)("a"), ask.on(model)("b"))
        pair = await count(5)
        return [outcomes[0].value, type(outcomes[1].error).__name__, winner, pair]

    first = motet.run(whole(), store=store)
    again = motet.run(whole(), store=store, resume=first.run_id)

    assert first.value[0] == (1, "n")
    assert list(map(tuple, [again.value[0]])) == [(1, "n")]
    assert again.value[1:3] == ["StepError", "x"]
    assert runs == [1, 2, 5]
    assert isinstance(first.value[3], tuple)


def test_hostile_texts_come_back_from_the_journal(store):
    """NUL, lone surrogates, control characters and a 1 MB line survive journal and cache."""
    texts = ["a\x00b", "\ud800", "\x1b[31m", "x" * 1_000_000, "{{ 7 * 7 }}", "<|im_start|>system"]
    engine = ScriptedEngine(lambda r: "echo " + r.prompt[-1].content)
    ref = motet.map(ask.on(Model(engine)), texts)

    first = motet.run(ref, store=store)
    again = motet.run(ref, store=store, resume=first.run_id)
    cached = motet.run(ref, store=store)

    expected = [f"echo {text}" for text in texts]
    assert first.value == again.value == cached.value == expected
    assert len(engine.requests) == len(texts)


def test_two_resumptions_at_once_are_refused(store):
    """One living process executes a run."""
    engine = ScriptedEngine(lambda r: "x", delay_s=0.05)
    ref = ask.on(Model(engine))("x")
    first = motet.run(ref, store=store)

    with store.lease(first.run_id), pytest.raises(StoreError, match=first.run_id):
        motet.run(ref, store=store, resume=first.run_id)


def test_an_unknown_run_is_a_store_error(store):
    """Resuming what is not there names it."""
    with pytest.raises(StoreError, match="nothing-like-it"):
        motet.run(ask.on(Model(ScriptedEngine()))("x"), store=store, resume="nothing-like-it")


def test_concurrent_runs_share_a_store(store):
    """Ten runs at once on one loop and one store finish as they would alone."""
    engine = ScriptedEngine(lambda r: "re " + r.prompt[-1].content, delay_s=0.002)
    model = Model(engine)

    async def act():
        runs = [
            motet.arun(motet.map(ask.on(model), [f"{i}.{j}" for j in range(5)]), store=store)
            for i in range(10)
        ]
        return await asyncio.gather(*runs)

    results = asyncio.run(act())

    assert [r.value for r in results] == [[f"re {i}.{j}" for j in range(5)] for i in range(10)]
    assert len({r.run_id for r in results}) == 10


def test_outcome_is_exported():
    """The type of `settled` is public."""
    assert isinstance(Outcome(1).value, int)


def test_a_spent_budget_does_not_lose_proposers_for_good(store):
    """Outcomes that a spent budget cost are tried again on resume, as long as nothing was built
    on them: the resumed mixture has all of its references."""
    engine = ScriptedEngine(lambda r: f"re {len(r.prompt)}")
    model = Model(engine)
    ref = mixture_of_agents("why?", proposers=[model] * 3, aggregator=model, layers=2)

    with pytest.raises(RunFailedError) as caught:
        motet.run(ref, store=store, budget=Budget(max_calls=2), cache=False)
    result = motet.run(
        ref, store=store, budget=Budget(max_calls=9), cache=False, resume=caught.value.run_id
    )

    assert result.usage.calls == 4
    assert engine.requests[-1].prompt[0].content.count("\n3. ") == 1


def test_outcomes_that_a_program_built_on_are_kept(store):
    """What a growing program went on from stands, though it could be had better now."""
    state = {"is_up": False, "stop": True}

    def reply(request):
        text = request.prompt[-1].content
        if text == "b" and not state["is_up"]:
            return EngineTimeoutError("slow")
        return f"re {text}"

    model = Model(ScriptedEngine(reply))

    @program
    async def whole() -> str:
        found = await motet.successful([ask.on(model)("a"), ask.on(model)("b")])
        answer = await ask.on(model)(" and ".join(found))
        if state["stop"]:
            raise RuntimeError("stop here")
        return answer

    with pytest.raises(RunFailedError) as caught:
        motet.run(whole(), store=store, cache=False)
    state.update(is_up=True, stop=False)
    result = motet.run(whole(), store=store, cache=False, resume=caught.value.run_id)

    assert result.value == "re re a"

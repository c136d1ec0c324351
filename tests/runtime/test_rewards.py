"""Rewards in a run: refused, journaled, cached, resumed, within budgets, nested."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Budget, Capability, Message, Model, Price, program, prompt, step
from motet.decoding import cfg
from motet.engine import Reply, Request, Sampling, Usage
from motet.errors import (
    BudgetExhaustedError,
    CapabilityError,
    ConfigError,
    EngineError,
    RunFailedError,
)
from motet.graph_files import load_graph
from motet.prompts import dump_reply, load_reply
from motet.runtime.prompting import encode_request
from motet.testing import ScriptedEngine
from motet.types import Rewards

REWARDING = frozenset({Capability.REWARD})


@prompt(user="{{ question }}")
def judged(question: str) -> str:
    raise NotImplementedError


@prompt(user="{{ question }}", assistant="{{ answer }}")
def answered(question: str, answer: str) -> str:
    raise NotImplementedError


@step
def last(rewards: Rewards) -> float:
    return rewards.last


def engine(script: Any = (0.5,), **settings: Any) -> ScriptedEngine:
    return ScriptedEngine(
        script if callable(script) else lambda _: script, capabilities=REWARDING, **settings
    )


def test_the_value_is_the_numbers_in_order() -> None:
    """One number a row, whatever its size; an answer at the end is not gone on with."""
    model = engine((0.25, -3.0, 1e9))

    result = motet.run(answered.on(model).rewards()("q", "a"), store=None)

    assert result.value == Rewards((0.25, -3.0, 1e9))
    assert model.requests[0].is_rewarded
    assert model.requests[0].prompt == (Message.user("q"), Message.assistant("a"))
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (2, 0)


def test_of_several_classes_the_probability_of_the_label_counts() -> None:
    """The softmax by hand; a constant added to all classes changes nothing, however large."""
    for shift in (0.0, 800.0, -800.0):
        rows = ((shift + 1.0, shift + 2.0), (shift, shift))
        value = motet.run(judged.on(engine(rows)).rewards(1)("q"), store=None).value

        assert value.values == pytest.approx((1 / (1 + math.exp(-1.0)), 0.5))


@pytest.mark.parametrize(
    ("rows", "label", "error", "said"),
    [
        (((1.0, 2.0),), None, ConfigError, "label is None; the reward model has 2 classes"),
        (((1.0, 2.0),), 2, ConfigError, "label is 2; the reward model has 2 classes"),
        ((1.0,), 0, ConfigError, "label is 0; the reward model has one number"),
        ((), None, EngineError, "no rewards"),
        (((1.0,), (1.0, 2.0)), None, EngineError, r"\[1, 2\] classes"),
    ],
)
def test_numbers_that_do_not_fit_the_label_are_no_value(
    rows: Any, label: int | None, error: type[Exception], said: str
) -> None:
    with pytest.raises(RunFailedError, match=said) as caught:
        motet.run(judged.on(engine(rows)).rewards(label)("q"), store=None)

    assert type(caught.value.__cause__) is error


@pytest.mark.parametrize("label", [-1, True, "1", 0.0])
def test_a_label_is_the_number_of_a_class(label: Any) -> None:
    with pytest.raises(ConfigError, match="label"):
        judged.rewards(label)


def test_a_prompt_is_answered_one_way() -> None:
    """Rewards go with neither samples nor scores, in any order, nor with decoding rules."""
    for bind in (
        lambda: judged.rewards().samples(2),
        lambda: judged.samples(2).rewards(),
        lambda: judged.rewards().scores(["a"]),
        lambda: judged.scores(["a"]).rewards(),
    ):
        with pytest.raises(ConfigError, match=r"rewards\(\)"):
            bind()
    with pytest.raises(ConfigError, match="decoding rules"):
        motet.run(judged.on(engine(), decoding=cfg()).rewards()("q"), store=None)


def test_an_engine_without_rewards_is_refused_by_plan_and_by_run() -> None:
    """Nothing is sent; the missing capability is named. A program is no reward model either."""
    other = ScriptedEngine("x")

    @program
    def echo(question: str) -> str:
        return question

    [problem] = motet.plan(judged.on(other).rewards()("q")).problems
    assert isinstance(problem, CapabilityError)
    assert "reward" in str(problem)
    with pytest.raises(CapabilityError, match="reward"):
        motet.run(judged.on(other).rewards()("q"), store=None)
    with pytest.raises(CapabilityError, match="rewards"):
        motet.run(judged.on(echo.as_model()).rewards()("q"), store=None)
    assert other.requests == []


def test_the_plan_expects_no_completion() -> None:
    """Rewards generate nothing."""
    [node] = motet.plan(judged.on(engine()).rewards()("q" * 400)).nodes

    assert node.completion_tokens == 0
    assert node.prompt_tokens >= 100


def test_rewards_are_cached_across_runs_whatever_the_seed_and_the_label(tmp_path: Path) -> None:
    """The model was asked once: its numbers depend on the prompt alone."""
    model = engine(((1.0, 3.0),))
    store = tmp_path / "runs.db"

    values = [
        motet.run(
            judged.on(model, temperature=t).rewards(label)("q"), store=store, seed=seed
        ).value.last
        for seed, label, t in ((1, 0, 0.5), (2, 0, 1.0), (3, 1, 0.7))
    ]

    assert len(model.requests) == 1
    assert values == pytest.approx(
        [1 / (1 + math.exp(2)), 1 / (1 + math.exp(2)), 1 / (1 + math.exp(-2))]
    )


def test_a_completion_of_the_same_prompt_is_another_cache_entry() -> None:
    """Whether a prompt is rewarded is part of the key."""
    completed = Request(model="m", prompt=(Message.user("q"),), sampling=Sampling())
    rewarded = replace(completed, is_rewarded=True)

    assert encode_request("u", rewarded) != encode_request("u", completed)


def test_a_run_resumes_without_asking_for_rewards_again(tmp_path: Path) -> None:
    """They are journaled as every call, with what they cost."""
    asked = engine((0.5, 0.25))
    is_broken = True

    @step
    def fragile(rewards: Rewards) -> float:
        if is_broken:
            raise ValueError("not yet")
        return rewards.mean

    @program
    def rewarded(question: str) -> float:
        return fragile(
            judged.on(Model(asked, price=Price(prompt=1e6, completion=0))).rewards()(question)
        )

    settings = {"store": tmp_path / "s.db", "cache": False}
    with pytest.raises(RunFailedError) as caught:
        motet.run(rewarded("one two"), **settings)
    is_broken = False
    resumed = motet.run(rewarded("one two"), **settings, resume=caught.value.run_id)

    assert resumed.value == 0.375
    assert len(asked.requests) == 1
    assert resumed.cost == pytest.approx(2.0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 120))
def test_rewards_side_by_side_stay_within_a_budget_of_prompt_tokens(
    sizes: list[int], limit: int
) -> None:
    """Only prompt tokens are reserved, so with room for the prompts all are rewarded."""
    model = engine(delay_s=0.0001)
    refs = [judged.on(model).rewards()(f"{n} " + "w " * (size - 1)) for n, size in enumerate(sizes)]

    result = motet.run(motet.settled(refs), store=None, budget=Budget(max_tokens=limit))

    failed = {type(o.error) for o in result.value if not o.is_success}
    assert result.usage.tokens <= limit
    assert failed <= {BudgetExhaustedError}
    if sum(sizes) <= limit:
        assert not failed
        assert result.usage.prompt_tokens == sum(sizes)


def test_rewards_of_many_texts_are_in_flight_together() -> None:
    """The server batches what comes at once."""
    model = engine(delay_s=0.02)

    motet.run(motet.map(judged.on(model).rewards(), [str(n) for n in range(20)]), store=None)

    assert model.peak_in_flight == 20


def test_rewards_nest_in_a_program_that_is_a_model() -> None:
    """The best of two drafts by reward answers a prompt that knows nothing of it."""
    writer = ScriptedEngine({"draft": ("short", "a longer draft")})
    rewarder = engine(lambda r: (float(len(r.prompt[-1].content)),))

    @program
    async def best(question: str) -> str:
        drafts = await judged.on(writer).samples(2)(question)
        values = [await last(judged.on(rewarder).rewards()(draft)) for draft in drafts]
        return drafts[values.index(max(values))]

    assert motet.run(judged.on(best.as_model())("draft"), store=None).value == "a longer draft"


def test_replies_with_rewards_are_written_whole() -> None:
    """What is journaled is what came."""
    reply = Reply((), Usage(7, 0, 0, 1), "m", rewards=((0.1, -2.0), (3.0, 4.0)))

    assert load_reply(dump_reply(reply)) == reply


def test_a_graph_file_keeps_what_a_prompt_asks_for() -> None:
    """Rewards and scores come back as such."""
    for bound in (judged.on("local:smollm2").rewards(1), judged.on("local:smollm2").scores(["a"])):
        text = motet.plan(bound("q")).to_json()
        again = load_graph(text, operations=[judged])

        assert again.operation.identity == bound.identity  # type: ignore[attr-defined]


def test_a_script_that_gives_no_numbers_is_refused() -> None:
    """A text is no reward."""
    for script in ("text", ("a", "b")):
        with pytest.raises(RunFailedError, match="reward model"):
            motet.run(judged.on(engine(script)).rewards()("q"), store=None)

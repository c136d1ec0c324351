"""Contenders: which inputs a row gives them, and what is found before anything is asked."""

from __future__ import annotations

import re
from typing import Any

import pytest

from motet import Chat, Model, Ref, program, prompt
from motet.errors import ConfigError, MotetError
from motet.evaluation.contenders import check_contenders, inputs_of, model_of
from motet.evaluation.metrics import Graded
from motet.evaluation.task import Contender, Task
from motet.grading.rows import Row
from motet.programs.mixture_of_agents import mixture_of_agents
from motet.programs.self_consistency import self_consistency
from motet.testing import ScriptedEngine
from motet.types import Embedding

MODEL = Model(ScriptedEngine())
OTHER = Model(ScriptedEngine(name="other"))
ROW = Row(id="r", prompt="p", golds=("1", "one"), kind="number", task="easy")


@program
async def plain(question: str, *, style: str = "") -> str:
    return question


@program
async def two(first: str, second: str) -> str:
    return first


@program
async def numbers(n: int) -> str:
    return str(n)


@program
async def chatty(chat: str | Chat, *, model: Model) -> str:
    return str(chat)


@program
async def vector(text: str) -> Embedding:
    return Embedding((1.0,))


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


def task_of(**changes: Any) -> Task:
    return Task(**{"name": "t", "rows": (ROW,), "metric": Graded(), "instruction": "i", **changes})


def inputs(contender: Contender, **changes: Any) -> dict[str, Any]:
    return inputs_of(contender, task_of(**changes), ROW)


def test_the_first_text_input_that_is_not_given_takes_the_prompt() -> None:
    """With the instruction behind it; settings stay as they are."""
    assert inputs(Contender(name="a", program=plain)) == {"question": "p\n\ni"}
    assert inputs(Contender(name="a", program=ask)) == {"question": "p\n\ni"}
    found = inputs(Contender(name="a", program=two, settings={"first": "x"}))
    assert found == {"first": "x", "second": "p\n\ni"}


def test_inputs_take_what_the_task_says_of_a_row() -> None:
    """Its fields, or those of its file."""
    given = {"first": "gold", "second": "hint"}

    found = inputs(Contender(name="a", program=two), inputs=given, extras={"r": {"hint": "h"}})

    assert found == {"first": "1", "second": "h"}
    for field, value in [("golds", ["1", "one"]), ("options", []), ("id", "r"), ("part", "easy")]:
        assert inputs(Contender(name="a", program=plain), inputs={"question": field})[
            "question"
        ] == (value)


def test_models_that_are_not_given_are_the_contenders() -> None:
    """One, or a list of one."""
    assert inputs(Contender(name="a", program=chatty, model=MODEL))["model"] is MODEL
    found = inputs(Contender(name="a", program=mixture_of_agents, model=MODEL))
    assert (found["proposers"], found["aggregator"]) == ([MODEL], MODEL)


def test_self_consistency_asks_the_contenders_model_or_that_of_its_settings() -> None:
    """Where neither is there, there is none."""
    given = Contender(name="a", program=chatty, settings={"model": OTHER})

    assert model_of(given) is OTHER
    assert model_of(
        Contender(name="a", program=chatty, settings={"model": OTHER}, model=MODEL)
    ) is (MODEL)
    assert model_of(Contender(name="a", program=plain)) is None


@pytest.mark.parametrize(
    ("contender", "changes", "said"),
    [
        (Contender(name="a", program=plain, settings={"stile": 1}), {},
         "a takes no input 'stile'; did you mean 'style'?"),
        (Contender(name="a", program=plain), {"inputs": {"text": "prompt"}}, "no input 'text'"),
        (Contender(name="a", program=plain, settings={"question": "x"}),
         {"inputs": {"question": "prompt"}}, "is given 'question' by its settings and by the rows"),
        (Contender(name="a", program=plain, settings={"question": "x"}), {}, "no required text"),
        (Contender(name="a", program=numbers), {}, "no required text input"),
        (Contender(name="a", program=two), {}, "a needs the input 'second'"),
        (Contender(name="a", program=chatty), {}, "a needs the input 'model'"),
        (Contender(name="a", program=plain), {"inputs": {"question": "golt"}},
         "did you mean 'gold'?"),
        (Contender(name="a", program=vector), {}, "which is no text to be scored"),
        (Contender(name="a", program=self_consistency, settings={"extract": "last"}, model=MODEL),
         {}, "extract is 'last'"),
        (Contender(name="a", program=self_consistency, settings={"n": 0}, model=MODEL), {}, "0"),
    ],
)  # fmt: skip
def test_a_contender_that_cannot_answer_is_refused(
    contender: Contender, changes: dict[str, Any], said: str
) -> None:
    """The input is named, or the setting that its program refuses."""
    with pytest.raises(MotetError, match=re.escape(said)):
        check_contenders([contender], task_of(**changes))


def test_names_tell_contenders_apart() -> None:
    """There is one at least."""
    with pytest.raises(ConfigError, match="contenders is empty"):
        check_contenders([], task_of())
    with pytest.raises(ConfigError, match="has the name 'a' twice"):
        check_contenders([Contender(name="a", program=plain)] * 2, task_of())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "", "program": plain}, "name of a contender is ''"),
        ({"name": "a", "program": len}, "it must be a motet program"),
        ({"name": "a", "program": plain, "model": "local:x"}, "model of 'a' is 'local:x'"),
    ],
)
def test_what_is_no_contender_is_refused(fields: dict[str, Any], said: str) -> None:
    """By the field that is wrong."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        Contender(**fields)


def test_a_static_program_is_made_and_not_run() -> None:
    """A mistake in it is found without a model."""
    made: list[str] = []

    @program
    def static(question: str) -> Ref[str]:
        made.append(question)
        return ask(question)

    check_contenders([Contender(name="a", program=static)], task_of())

    assert made == ["p\n\ni"]

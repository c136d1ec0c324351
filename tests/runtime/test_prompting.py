"""Prompting: seeds, requests, cost, and programs that answer as models."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

import motet
from motet import Completion, Message, Ref, Sampling, program, prompt, step
from motet.engine import Constraint, Request
from motet.runtime.prompting import chat_text, derive_seed, encode_request
from motet.testing import ScriptedEngine
from motet.types import ToolCall


class City(BaseModel):
    name: str


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@prompt(user="{{ question }}")
def number(question: str) -> int:
    raise NotImplementedError


@prompt(user="{{ question }}")
def city(question: str) -> City:
    raise NotImplementedError


@step
def shout(text: str) -> str:
    return text.upper() + "!"


@program
def shouting(question: str) -> Ref[str]:
    return shout(question)


def value_of(ref: Ref[Any], **settings: Any) -> Any:
    return motet.run(ref, store=None, **settings).value


def test_seeds_are_a_fixed_function_of_run_and_call() -> None:
    """Golden: a resumed run, and another machine, must agree."""
    assert derive_seed(0, "a" * 32) == derive_seed(0, "a" * 32)
    assert len({derive_seed(s, f"{c}") for s in range(30) for c in range(30)}) == 900
    assert all(0 <= derive_seed(s, "x") < 2**31 for s in range(1000))


def test_a_scopes_seed_replaces_the_runs() -> None:
    """Calls inside derive theirs from it."""
    engine = ScriptedEngine()
    with motet.scope(seed=7):
        scoped = ask.on(engine)("q")
    plain = ask.on(engine)("q")

    by_scope = [value_of(scoped, seed=s) for s in (0, 1)]
    by_run = [value_of(plain, seed=s) for s in (0, 7)]

    assert by_scope[0] == by_scope[1] == by_run[1] != by_run[0]


REQUEST = {"model": "m", "prompt": (Message.user("a"),), "sampling": Sampling(temperature=0.5)}
OTHERS: dict[str, dict[str, Any]] = {
    "model": {"model": "n"},
    "no model": {"model": None},
    "prompt": {"prompt": (Message.user("b"),)},
    "role": {"prompt": (Message.system("a"),)},
    "two turns": {"prompt": (Message.user("a"), Message.user("a"))},
    "raw": {"prompt": "a"},
    "ids": {"prompt": (1, 2)},
    "tool": {"prompt": (Message("user", "a", tool_call_id="t"),)},
    "tool call": {"prompt": (Message("user", "a", (ToolCall("1", "f", "{}"),)),)},
    "temperature": {"sampling": Sampling(temperature=0.6)},
    "greedy": {"sampling": Sampling(temperature=0)},
    "seed": {"sampling": Sampling(temperature=0.5, seed=1)},
    "stop": {"sampling": Sampling(temperature=0.5, stop=("a",))},
    "extra": {"sampling": Sampling(temperature=0.5, extra={"a": 1})},
    "n": {"n": 2},
    "choice": {"constraint": Constraint("choice", ("a",))},
    "regex": {"constraint": Constraint("regex", "a")},
}


def test_every_part_that_decides_a_reply_is_in_the_key() -> None:
    """No two of these requests share a cache entry."""
    requests = [Request(**{**REQUEST, **change}) for change in ({}, *OTHERS.values())]

    keys = {encode_request("url", r) for r in requests} | {encode_request("other", requests[0])}

    assert len(keys) == len(OTHERS) + 2


def test_what_decides_nothing_is_not_in_the_key() -> None:
    """The request's id and priority."""
    first = Request(**REQUEST, request_id="a", priority=1)  # type: ignore[arg-type]
    second = Request(**REQUEST, request_id="b", priority=2)  # type: ignore[arg-type]

    assert encode_request("url", first) == encode_request("url", second)
    assert json.loads(encode_request("url", first))["model"] == "m"


def test_a_chat_as_one_text() -> None:
    """One turn is its content; a system's and a user's turn follow; with answers, roles show."""
    system, user, answer = Message.system("s"), Message.user("u"), Message.assistant("a")

    assert chat_text((user,)) == "u"
    assert chat_text((system, user)) == "s\n\nu"
    assert chat_text((user, answer, user)) == "user: u\n\nassistant: a\n\nuser: u"


# ---- programs as models --------------------------------------------------------------------------


def test_a_program_answers_wherever_a_model_may_stand() -> None:
    """On, in a scope, and as the run's default."""
    model = shouting.as_model()
    with motet.scope(model=model):
        scoped = ask("b")

    values = [value_of(ask.on(model)("a")), value_of(scoped), value_of(ask("c"), model=model)]

    assert values == ["A!", "B!", "C!"]


def test_a_programs_answer_is_read_as_the_prompts_type() -> None:
    """Texts are parsed; values become the text that says them; a wrong one is a ParseError."""

    @program
    def counting(question: str) -> int:
        return len(question)

    @program
    def placed(question: str) -> City:
        return City(name=question)

    @program
    def completed(question: str) -> Completion:
        return Completion("7")

    assert value_of(number.on(counting.as_model())("abc")) == 3
    assert value_of(city.on(placed.as_model())("Ulm")) == City(name="Ulm")
    assert value_of(number.on(completed.as_model())("abc")) == 7
    with pytest.raises(motet.RunFailedError, match="ParseError"):
        value_of(number.on(shouting.as_model())("abc"))


def test_samples_of_a_program_are_runs_of_it() -> None:
    """n completions are n runs, with ids and seeds of their own."""
    engine = ScriptedEngine()

    @program
    def asked(question: str) -> Ref[str]:
        return ask.on(engine)(question)

    values = value_of(ask.on(asked.as_model()).samples(4)("q"))

    assert len(set(values)) == 4
    assert len(engine.requests) == 4


def test_bound_inputs_go_to_every_run() -> None:
    """And the first parameter that is free takes the question."""

    @program
    def framed(left: str, question: str, right: str = ">") -> str:
        return left + question + right

    model = framed.as_model(left="<")

    assert value_of(ask.on(model)("q")) == "<q>"


def test_programs_as_models_nest() -> None:
    """A model that is a program on a model that is a program: three floors of one request."""
    engine = ScriptedEngine(lambda r: f"[{r.prompt[-1].content}]")

    @program
    def inner(question: str) -> Ref[str]:
        return ask.on(engine)(question + "1")

    @program
    async def outer(question: str) -> str:
        return await ask.on(inner.as_model())(question + "2")

    result = motet.run(ask.on(outer.as_model())("q"), store=None)

    assert result.value == "[q21]"
    assert result.usage.calls == 1
    assert [n.kind for n in result.graph].count("prompt") == 3


def test_a_failing_program_fails_the_prompt_with_its_error() -> None:
    """The error is the inner call's own."""
    engine = ScriptedEngine(lambda r: "")

    @program
    def asked(question: str) -> Ref[str]:
        return ask.on(engine)(question)

    with pytest.raises(motet.RunFailedError) as caught:
        value_of(ask.on(asked.as_model())("q"))

    assert isinstance(caught.value.__cause__, motet.errors.EmptyReplyError)


def test_a_failed_sample_of_a_program_costs_that_sample() -> None:
    """`.samples(n)` keeps its promise on a program too."""
    engine = ScriptedEngine(["", "a", "b"])

    @program
    def asked(question: str) -> Ref[str]:
        return ask.on(engine)(question)

    assert sorted(value_of(ask.on(asked.as_model()).samples(3)("q"))) == ["a", "b"]


def test_a_programs_budget_is_the_scopes() -> None:
    """The calls behind a model count where the prompt was made."""
    engine = ScriptedEngine(lambda r: "a")

    @program
    async def greedy(question: str) -> str:
        return "".join([await ask.on(engine)(str(i)) for i in range(10)])

    with motet.scope(max_calls=3):
        ref = ask.on(greedy.as_model())("q")
    outcomes = value_of(motet.settled([ref]))

    assert isinstance(outcomes[0].error, motet.errors.BudgetExhaustedError)
    assert len(engine.requests) == 3

"""Mistakes that a newcomer makes, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

import motet
from motet import Model, RunFailedError, program, prompt, step
from motet.errors import ConfigError, ProgramError, StepError, TemplateError, UnboundInputError
from motet.testing import ScriptedEngine


@prompt(user="{{ text }}")
def ask(text: str) -> str: ...


@step
def double(i: int) -> int:
    return 2 * i


def test_a_budget_that_is_a_number_is_refused() -> None:
    """The message shows how a budget is written."""
    with pytest.raises(ConfigError, match=r"budget is 300; write motet\.Budget"):
        motet.run(double(1), budget=300, store=None)  # type: ignore[arg-type]


def test_an_observer_that_cannot_observe_is_refused_before_the_run() -> None:
    """Not once an event, in the log."""
    with pytest.raises(ConfigError, match="on_event"):
        motet.run(double(1), observers=[print], store=None)  # type: ignore[list-item]


@pytest.mark.parametrize("make", [lambda: prompt("hi"), lambda: prompt(double)])
def test_a_prompt_without_names_for_its_templates_is_refused(make: Any) -> None:
    """`@prompt("...")` and a bare `@prompt` are told how it goes."""
    with pytest.raises(TemplateError, match=r"@prompt\(user="):
        make()


def test_a_map_of_plain_functions_is_refused() -> None:
    """What returns no ref makes no call."""
    with pytest.raises(ProgramError, match=r"@motet\.step"):
        motet.map(len, ["a"])


def test_a_race_of_a_list_is_told_how_it_goes() -> None:
    """Refs are given one by one."""
    with pytest.raises(UnboundInputError, match=r"race\(\*refs\)"):
        motet.race([double(1), double(2)])  # type: ignore[arg-type]


def test_a_program_that_forgets_its_return_is_refused() -> None:
    """None for a text is a forgotten `return`."""

    @program
    def forgetful(text: str) -> str:  # type: ignore[return]
        ask.on(Model(ScriptedEngine()))(text)

    with pytest.raises(ProgramError, match="return"):
        forgetful("x")


def test_an_error_in_a_static_program_names_its_line() -> None:
    """A user's own bug is told with the line that raised it."""

    @program
    def broken(text: str) -> str:
        raise ValueError("my own bug")

    with pytest.raises(StepError, match=r"broken raised ValueError: my own bug \(at .*mistakes"):
        broken("x")


def test_an_error_in_a_step_names_the_line_that_raised() -> None:
    """Not only the line that called the step."""

    @step
    def inner() -> int:
        return {}["missing"]  # the line that is named

    with pytest.raises(RunFailedError) as caught:
        motet.run(inner(), store=None)

    line = inner.function.__code__.co_firstlineno + 2
    assert f"test_mistakes.py:{line}" in str(caught.value)


def test_a_failing_run_has_no_red_herring() -> None:
    """The error's context tells of nothing but its cause."""
    with pytest.raises(RunFailedError) as caught:
        motet.run(double("x" * 2 if False else None), store=None)  # type: ignore[arg-type]

    assert isinstance(caught.value.__cause__, StepError)
    assert "no running event loop" not in repr(caught.value.__context__)


def test_a_plan_prints_as_lines() -> None:
    """`print(motet.plan(ref))` is for people."""
    shown = str(motet.plan(double(double(1))))

    assert shown.splitlines() == ["#1 double", "#2 double  <- #1"]


def test_a_model_shows_what_it_is() -> None:
    """A model's repr is short and holds no key."""
    model = Model("http://127.0.0.1:8000/v1#smol", api_key="secret")

    assert repr(model) == "Model('http://127.0.0.1:8000/v1', 'smol')"

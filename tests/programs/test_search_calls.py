"""Calls of a running program as a search uses them: what is kept of failures, what is halved."""

from __future__ import annotations

from typing import Any

import pytest

import motet
from motet import Budget, Model, program, step
from motet.engine import Completion
from motet.errors import (
    BudgetExhaustedError,
    EngineUnavailableError,
    ParseError,
    SearchError,
    StepError,
)
from motet.programs.search_calls import SearchCalls
from motet.prompts import prompt
from motet.search.tools import FAILED, UNPAID, Lost
from motet.testing import ScriptedEngine


@prompt(user="{{ text }}")
def say(text: str) -> Completion:
    raise NotImplementedError


@step
def checked(number: int) -> int:
    """Refuse odd numbers, and let negative ones raise."""
    if number < 0:
        raise KeyError(number)
    if number % 2:
        raise SearchError(f"{number} is odd")
    return number


@program
async def sample(model: Model, nums: list[int], is_thrifty: bool) -> list[list[Any]]:
    """Sample so many at each place."""
    asked = say.on(model, max_tokens=10)
    found = await SearchCalls().sampled(
        nums, lambda place, n: asked.samples(n)(f"at {place}"), is_thrifty=is_thrifty
    )
    return [
        [each.value if isinstance(each, Lost) else each.text for each in given] for given in found
    ]


@program
async def take(numbers: list[int]) -> list[Any]:
    """Take the steps of a world."""
    return await SearchCalls().step_values([checked(number) for number in numbers])


def sampled(nums: list[int], is_thrifty: bool, **budget: int) -> tuple[list[list[Any]], list[int]]:
    served = ScriptedEngine(lambda request: "x " * 5)
    ref = sample(Model(served), nums, is_thrifty)
    value = motet.run(ref, store=None, budget=Budget(**budget) if budget else None).value
    return value, [request.n for request in served.requests]


def test_samples_are_one_request_a_place() -> None:
    """A place of which none is wanted is not asked for."""
    found, asked = sampled([2, 0, 3], is_thrifty=True)

    assert [len(given) for given in found] == [2, 0, 3]
    assert asked == [2, 3]


@pytest.mark.parametrize(("is_thrifty", "asked"), [(True, [4]), (False, [4, 1, 1])])
def test_what_the_budget_does_not_hold_is_halved(is_thrifty: bool, asked: list[int]) -> None:
    """Where the rest is for other calls it ends there, else it goes on while something is held."""
    [found], sent = sampled([8], is_thrifty, max_tokens=43)

    assert sent == asked
    assert len(found) == 8
    assert found.count(UNPAID.value) == 8 - sum(asked)
    assert FAILED.value not in found


def test_a_step_that_raised_or_gave_what_it_must_not_is_raised() -> None:
    """Though others of the batch have values."""
    assert motet.run(take([0, 2]), store=None).value == [0, 2]
    for numbers, kind in (([0, 1], SearchError), ([0, -2], StepError)):
        with pytest.raises(motet.RunFailedError) as failed:
            motet.run(take(numbers), store=None)
        assert isinstance(failed.value.__cause__, kind)


def test_few_failures_are_kept_and_of_the_budgets_one_in_any_case() -> None:
    """A text is what is wrong with a reply."""
    calls = SearchCalls()
    for place in range(20):
        calls.note(f"reply {place}")
    budget = BudgetExhaustedError("spent", limit="max_calls", limit_value=1)
    for _ in range(3):
        calls.note(budget)

    assert [str(each) for each in calls.failures] == [*(f"reply {i}" for i in range(8)), "spent"]
    assert all(isinstance(each, ParseError) for each in calls.failures[:-1])


@prompt(user="{{ number }}")
def ask(number: int) -> str:
    raise NotImplementedError


@program
async def ask_all(numbers: list[int], model: Model) -> list[str]:
    return [str(each) for each in await SearchCalls().values([ask.on(model)(n) for n in numbers])]


@pytest.mark.parametrize(
    ("status", "is_raised"), [(None, True), (503, True), (502, True), (500, False)]
)
def test_an_engine_that_goes_away_in_mid_batch_fails_the_run(
    status: int | None, is_raised: bool
) -> None:
    """What it answered before is kept for a resume; one that fails at one request costs that one."""

    def reply(request: Any) -> Any:
        is_first = request.prompt[-1].content == "1"
        return "yes" if is_first else EngineUnavailableError("away", status=status)

    ref = ask_all([1, 2], Model(ScriptedEngine(reply)))

    if is_raised:
        with pytest.raises(motet.RunFailedError) as failed:
            motet.run(ref, store=None)
        assert isinstance(failed.value.__cause__, EngineUnavailableError)
    else:
        assert motet.run(ref, store=None).value == ["yes", str(FAILED)]

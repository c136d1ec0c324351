"""Combinators: map, race, settled, successful."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Budget, Outcome, Ref, RunFailedError, program, prompt, step
from motet.errors import (
    CallCancelledError,
    ConfigError,
    EdgeTypeError,
    EmptyReplyError,
    StepError,
    TooFewSurvivorsError,
    UnboundInputError,
)
from motet.testing import Delayed, ScriptedEngine


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@step
def identity(value: Any) -> Any:
    return value


@step
def double(value: int) -> int:
    if value < 0:
        raise ValueError(value)
    return 2 * value


@step
def add(a: int, b: int) -> int:
    return a + b


@step
def texts() -> list[str]:
    return ["a", "b"]


def value_of(ref: Ref[Any], **settings: Any) -> Any:
    return motet.run(ref, store=None, **settings).value


def failure_of(ref: Ref[Any], **settings: Any) -> Any:
    with pytest.raises(RunFailedError) as caught:
        motet.run(ref, store=None, **settings)
    return caught.value.__cause__


def slow_engine(**delays: float) -> ScriptedEngine:
    """Answers each prompt with itself after its own delay; one that begins with `bad`, not."""

    def reply(request: Any) -> Any:
        text = request.prompt[-1].content
        answer = "" if text.startswith("bad") else text
        return Delayed(delays.get(text.replace(" ", "_"), 0.0), answer)

    return ScriptedEngine(reply)


# ---- map -----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 100), max_size=8), st.booleans())
def test_map_is_a_call_an_item_in_order(items: list[int], is_ref: bool) -> None:
    """Over a list and over a ref of one, map is the list of calls; empty lists too."""
    given_items: Any = identity(items) if is_ref else items

    assert value_of(motet.map(double, given_items)) == [2 * i for i in items]


def test_map_passes_further_arguments() -> None:
    """Positional and keyword arguments, refs among them, go to every call."""
    three = identity(3)

    values = [
        value_of(motet.map(add, [1, 2], three)),
        value_of(motet.map(add, identity([1, 2]), b=three)),
    ]

    assert values == [[4, 5], [4, 5]]


def test_map_takes_programs_lambdas_and_literals() -> None:
    """Anything that takes an item: static and async programs, lambdas, plain functions."""

    @program
    def static(value: int) -> Any:
        return double(double(value))

    @program
    async def growing(value: int) -> int:
        return await double(value) + 1

    @program
    def whole(items: Any) -> Any:
        return [
            motet.map(static, items),
            motet.map(growing, items),
            motet.map(lambda v: add(double(v), 1), items),
            motet.map(lambda v: {"v": double(v), "w": v}, items),
        ]

    expected = [[4, 8], [3, 5], [3, 5], [{"v": 2, "w": 1}, {"v": 4, "w": 2}]]
    assert value_of(whole([1, 2])) == expected
    assert value_of(whole(identity([1, 2]))) == expected


def test_maps_nest() -> None:
    """A map of maps is a list of lists, over data that is only seen at run time."""
    rows = identity([[1, 2], [], [3]])

    ref = motet.map(lambda row: motet.map(double, row), rows)

    assert value_of(ref) == [[2, 4], [], [6]]


@pytest.mark.parametrize("is_ref", [False, True])
def test_at_least_drops_what_failed(is_ref: bool) -> None:
    """Failures cost their item, down to `at_least`."""
    items: Any = identity([1, -1, 2]) if is_ref else [1, -1, 2]

    assert value_of(motet.map(double, items, at_least=2)) == [2, 4]
    assert value_of(motet.map(double, items, at_least=0)) == [2, 4]
    failure = failure_of(motet.map(double, items, at_least=3))
    assert isinstance(failure, TooFewSurvivorsError)
    assert [type(f) for f in failure.failures] == [StepError]
    assert "2 of 3" in str(failure)


def test_without_at_least_one_failure_fails_all() -> None:
    """The failure is the item's own."""
    failure = failure_of(motet.map(double, [1, -1]))

    assert isinstance(failure, StepError)
    assert failure.error_type == "builtins.ValueError"


def test_an_empty_map_has_no_survivors() -> None:
    """`at_least=1` of nothing fails; `at_least=0` is the empty list."""
    assert value_of(motet.map(double, [], at_least=0)) == []
    assert isinstance(failure_of(motet.map(double, [], at_least=1)), TooFewSurvivorsError)


@pytest.mark.parametrize("items", ["text", b"bytes", 5, None])
@pytest.mark.parametrize("is_ref", [False, True])
def test_map_over_what_is_no_list_is_refused(items: Any, is_ref: bool) -> None:
    """A text is not a list of its letters."""
    if is_ref:
        failure = failure_of(motet.map(double, identity(items)))
    else:
        with pytest.raises(UnboundInputError) as caught:
            motet.map(double, items)
        failure = caught.value

    assert isinstance(failure, UnboundInputError)
    assert type(items).__name__ in str(failure)


@pytest.mark.parametrize("at_least", [-1, True, 1.5, "1"])
def test_a_bad_at_least_is_refused(at_least: Any) -> None:
    """0 or more, a whole number."""
    with pytest.raises(ConfigError, match="at_least"):
        motet.map(double, [1], at_least=at_least)
    with pytest.raises(ConfigError, match="at_least"):
        motet.successful([double(1)], at_least=at_least)


def test_map_of_what_is_no_function_is_refused() -> None:
    """The operation stands first."""
    with pytest.raises(UnboundInputError, match="operation"):
        motet.map([1], double)  # type: ignore[arg-type]


def test_elements_of_a_mapped_list_are_checked() -> None:
    """A literal list of refs has its edges checked like any call."""
    with pytest.raises(EdgeTypeError):
        value_of(motet.map(double, [ask.on(ScriptedEngine())("q")]))


def test_map_over_a_generator_has_a_stable_id() -> None:
    """Any iterable of items is the list of them."""
    ids = {motet.plan(motet.map(double, (i for i in [1, 2]))).root_id for _ in range(20)}  # type: ignore[arg-type]

    assert len(ids) == 1


# ---- settled and successful ----------------------------------------------------------------------


def test_settled_gives_every_outcome_in_order() -> None:
    """Failures are outcomes; literals are successes."""
    outcomes = value_of(motet.settled([double(1), double(-1), 7, double(2)]))  # type: ignore[list-item]

    assert [o.is_success for o in outcomes] == [True, False, True, True]
    assert [o.value for o in outcomes if o.is_success] == [2, 7, 4]
    assert isinstance(outcomes[1].error, StepError)
    assert all(isinstance(o, Outcome) for o in outcomes)


def test_settled_and_successful_of_nothing() -> None:
    """An empty list settles; it has no survivor."""
    assert value_of(motet.settled([])) == []
    assert value_of(motet.successful([], at_least=0)) == []
    assert isinstance(failure_of(motet.successful([])), TooFewSurvivorsError)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-3, 3), max_size=6), st.integers(0, 6))
def test_successful_keeps_the_good_ones_or_fails(items: list[int], at_least: int) -> None:
    """The values of those that succeed, in order, or the failures in order."""
    good = [2 * i for i in items if i >= 0]
    ref = motet.successful([double(i) for i in items], at_least=at_least)

    if len(good) >= at_least:
        assert value_of(ref) == good
    else:
        failure = failure_of(ref)
        assert isinstance(failure, TooFewSurvivorsError)
        assert len(failure.failures) == len(items) - len(good)


@pytest.mark.parametrize("combine", [motet.settled, motet.successful])
def test_a_ref_of_a_list_is_no_list_of_refs(combine: Any) -> None:
    """The message leads to map."""
    with pytest.raises(UnboundInputError, match=r"motet\.map"):
        combine(texts())


def test_failures_reach_through_what_depends_on_them() -> None:
    """A call fails with its input's error, and settled sees it there."""

    @program
    def whole() -> Any:
        bad = double(-1)
        return motet.settled([add(bad, 1), add(double(1), 1), motet.settled([add(bad, 2)])])

    outcomes = value_of(whole())

    assert [o.is_success for o in outcomes] == [False, True, True]
    assert outcomes[0].error is outcomes[2].value[0].error


def test_outcomes_can_be_read_in_an_async_program() -> None:
    """An awaited list of outcomes is data."""
    engine = slow_engine()

    @program
    async def whole() -> Any:
        outcomes = await motet.settled([ask.on(engine)(t) for t in ("a", "bad", "b")])
        return [o.value if o.is_success else type(o.error).__name__ for o in outcomes]

    assert value_of(whole()) == ["a", "EmptyReplyError", "b"]


# ---- race ----------------------------------------------------------------------------------------


def test_the_first_good_value_wins_and_losers_are_aborted() -> None:
    """The engine is told at once, and the run does not wait for losers."""
    engine = slow_engine(slow=30, slower=30, fast=0.02)
    began = time.monotonic()

    value = value_of(motet.race(*[ask.on(engine)(q) for q in ("slow", "fast", "slower")]))

    assert value == "fast"
    assert engine.num_aborted == 2
    assert time.monotonic() - began < 5


def test_losers_are_aborted_while_the_program_goes_on() -> None:
    """Not only at the end of the run."""
    engine = slow_engine(slow=30, fast=0.01)

    @program
    async def whole() -> Any:
        winner = await motet.race(ask.on(engine)("slow"), ask.on(engine)("fast"))
        await asyncio.sleep(0.02)
        return [winner, engine.num_aborted, engine.in_flight]

    assert value_of(whole()) == ["fast", 1, 0]


def test_a_failure_does_not_win() -> None:
    """A fast failure is passed over."""
    engine = slow_engine(good=0.03)

    assert value_of(motet.race(ask.on(engine)("bad"), ask.on(engine)("good"))) == "good"


def test_accept_says_what_is_good() -> None:
    """Values that are not accepted are passed over, even the fastest."""
    engine = slow_engine(aaa=0.03)

    ref = motet.race(*[ask.on(engine)("a" * n) for n in (1, 2, 3)], accept=lambda t: len(t) > 2)

    assert value_of(ref) == "aaa"


def test_a_race_without_a_good_value_fails_with_all_failures() -> None:
    """Failures and refused values alike."""
    engine = slow_engine()

    all_bad = failure_of(motet.race(ask.on(engine)("bad 1"), ask.on(engine)("bad 2")))
    none_accepted = failure_of(motet.race(ask.on(engine)("a"), accept=lambda _: False))

    assert isinstance(all_bad, TooFewSurvivorsError)
    assert [type(f) for f in all_bad.failures] == [EmptyReplyError] * 2
    assert isinstance(none_accepted, TooFewSurvivorsError)
    assert none_accepted.failures == ()


def test_an_accept_that_raises_fails_the_race() -> None:
    """A user's function may raise; the error is typed."""
    failure = failure_of(motet.race(identity(1), accept=lambda v: 1 / 0 > v))

    assert isinstance(failure, StepError)
    assert failure.error_type == "builtins.ZeroDivisionError"


def test_races_nest_and_a_lost_race_aborts_its_members() -> None:
    """A race of races has one winner, and everything else stops."""
    engine = slow_engine(a=30, b=30, c=30, d=0.02)

    @program
    def races() -> Any:
        a, b, c, d = (ask.on(engine)(q) for q in "abcd")
        return motet.race(motet.race(a, b), motet.race(c, d))

    @program
    async def whole() -> Any:
        value = await races()
        await asyncio.sleep(0.02)
        return [value, engine.num_aborted, engine.in_flight]

    assert value_of(whole()) == ["d", 3, 0]


def test_a_lost_race_inside_a_running_program_aborts_its_members() -> None:
    """Losers are aborted as deep as they lie, as the direct members of a race are."""
    engine = slow_engine(a=30, b=30, c=30, d=0.02)

    @program
    async def whole() -> Any:
        a, b, c, d = (ask.on(engine)(q) for q in "abcd")
        value = await motet.race(motet.race(a, b), motet.race(c, d))
        await asyncio.sleep(0.02)
        return [value, engine.num_aborted, engine.in_flight]

    assert value_of(whole()) == ["d", 3, 0]


def test_a_lost_program_aborts_the_calls_that_it_made() -> None:
    """Cancellation goes down into async and static programs."""
    engine = slow_engine(a=30, b=30, c=0.03)

    @program
    async def growing() -> Any:
        return [await ask.on(engine)("a"), await ask.on(engine)("b")]

    @program
    def static() -> Any:
        return identity(ask.on(engine)("b"))

    @program
    async def whole() -> Any:
        value = await motet.race(growing(), static(), ask.on(engine)("c"))
        await asyncio.sleep(0.02)
        return [value, engine.num_aborted, engine.in_flight]

    assert value_of(whole()) == ["c", 2, 0]


def test_a_loser_that_something_else_needs_goes_on() -> None:
    """A static graph may use a racer twice."""
    engine = slow_engine(slow=0.05, other=30)

    @program
    def whole() -> Any:
        slow = ask.on(engine)("slow")
        first = motet.race(slow, ask.on(engine)("fast"), ask.on(engine)("other"))
        return [first, slow]

    assert value_of(whole()) == ["fast", "slow"]
    assert engine.num_aborted == 1


def test_awaiting_an_aborted_loser_says_so() -> None:
    """A loser has no value."""
    engine = slow_engine(slow=30)

    @program
    async def whole() -> Any:
        slow = ask.on(engine)("slow")
        await motet.race(slow, ask.on(engine)("fast"))
        try:
            return await slow
        except CallCancelledError:
            return "cancelled"

    assert value_of(whole()) == "cancelled"


def test_a_race_of_one_is_that_call() -> None:
    """And the same call twice is one member."""
    one = identity(1)

    assert value_of(motet.race(one)) == 1
    assert value_of(motet.race(one, one)) == 1


@pytest.mark.parametrize("members", [(), (1,), ("a", "b")])
def test_a_race_takes_refs(members: Any) -> None:
    """Nothing, or plain values, cannot race."""
    with pytest.raises(UnboundInputError, match="refs"):
        motet.race(*members)


def test_among_calls_that_are_done_the_first_wins() -> None:
    """Nothing in a run is decided by where objects lie in memory."""

    @program
    async def whole() -> Any:
        refs = [identity(i) for i in range(8)]
        for ref in refs:
            await ref
        return await motet.race(*refs)

    winners = Counter(value_of(whole()) for _ in range(20))

    assert winners == {0: 20}


def test_losers_are_not_paid_for() -> None:
    """A lost call's reservation comes back."""
    engine = slow_engine(slow=30)

    @program
    async def whole() -> Any:
        await motet.race(ask.on(engine)("slow"), ask.on(engine)("a"))
        await asyncio.sleep(0.01)
        return [await ask.on(engine)("b"), motet.current().max_calls]

    result = motet.run(whole(), store=None, budget=Budget(max_calls=3))

    assert result.value == ["b", 1]
    assert result.usage.calls == 2


def test_a_lost_race_does_not_abort_what_the_program_still_holds() -> None:
    """A program's own calls below a loser may still be awaited."""
    engine = slow_engine(shared=0.03)

    @program
    async def whole() -> Any:
        shared = ask.on(engine)("shared")
        winner = await motet.race(identity(shared), ask.on(engine)("fast"))
        return [winner, await shared]

    assert value_of(whole()) == ["fast", "shared"]


def test_what_only_a_failed_call_needed_is_aborted() -> None:
    """Nobody needs a sibling's answer once their common user has failed; what a running program
    made itself stays, since it may await it yet."""
    engine = slow_engine(slow=0.3)

    @program
    def group() -> Any:
        return identity([ask.on(engine)("bad"), ask.on(engine)("slow")])

    @program
    async def whole() -> Any:
        await motet.settled([group()])
        await asyncio.sleep(0.05)
        return engine.in_flight

    assert value_of(whole()) == 0

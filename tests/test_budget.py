"""Budgets: what is reserved, settled and refunded, and that limits hold under concurrency."""

import asyncio
import math
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Budget, Model, Price, Ref, RunFailedError, Sampling, Usage, program, prompt, step
from motet.budget import Account, Amount, Ledger, remaining
from motet.errors import BudgetExhaustedError, ConfigError, ModelNotFoundError
from motet.refs import Scope
from motet.testing import Delayed, ScriptedEngine


@prompt(user="{{ question }}", keep_cut_off=True)
def ask(question: str) -> str:
    raise NotImplementedError


@step
def join(parts: list[str]) -> int:
    return len(parts)


@step
def size(parts: Any) -> int:
    return len(parts)


def fan(model: Any, n: int, **sampling: Any) -> Ref[Any]:
    return motet.settled([ask.on(model, **sampling)(f"q{i}") for i in range(n)])


def value_of(ref: Ref[Any], **settings: Any) -> Any:
    return motet.run(ref, store=None, **settings).value


# ---- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_tokens", "max_calls", "max_cost", "timeout_s"])
@pytest.mark.parametrize("value", [-1, -0.1, math.nan, True, "5"])
def test_a_bad_limit_is_refused_by_name(name: str, value: Any) -> None:
    """A limit is a number, 0 or more."""
    with pytest.raises(ConfigError, match=name):
        Budget(**{name: value})


def test_no_limit_and_nothing_left_are_allowed() -> None:
    """None is no limit; 0 is one."""
    assert Budget().max_calls is None
    assert Budget(max_calls=0, max_tokens=0, max_cost=0, timeout_s=0).max_calls == 0


def test_a_cost_limit_needs_a_price() -> None:
    """A model without a price is refused before anything is asked."""
    engine = ScriptedEngine()

    with pytest.raises(ConfigError, match="price"):
        motet.run(ask.on(engine)("q"), store=None, budget=Budget(max_cost=1))

    assert engine.requests == []


# ---- the ledger ----------------------------------------------------------------------------------

AMOUNTS = st.builds(
    Amount, st.integers(0, 50), st.integers(0, 3), st.floats(0, 1, allow_nan=False).map(float)
)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(AMOUNTS, st.floats(0, 1), st.integers(0, 2)), max_size=12),
    st.integers(0, 100),
    st.integers(0, 6),
    st.integers(0, 2),
)
def test_what_is_spent_never_exceeds_any_limit(
    calls: list[tuple[Amount, float, int]], max_tokens: int, max_calls: int, max_cost: int
) -> None:
    """Over a tree of accounts, with waiting, refunds and use below what was reserved."""

    async def main() -> tuple[list[Account], list[Amount]]:
        ledger = Ledger(Budget(max_tokens=max_tokens, max_calls=max_calls))
        middle = Account(Scope(max_cost=max_cost), ledger.root)
        inner = Account(Scope(max_tokens=max_tokens // 2, max_calls=max_calls // 2), middle)
        accounts = [ledger.root, middle, inner]
        used: list[Amount] = []

        async def call(need: Amount, share: float, where: int) -> None:
            try:
                reservation = await ledger.reserve(accounts[where], need)
            except BudgetExhaustedError:
                return
            await asyncio.sleep(0)
            if share < 0.2:
                reservation.refund()
                return
            amount = Amount(int(need.tokens * share), need.calls, need.cost * share)
            used.append(amount)
            reservation.settle(Usage(amount.tokens, 0, 0, amount.calls), amount.cost)
            reservation.refund()

        async with asyncio.timeout(5):
            await asyncio.gather(*[call(*c) for c in calls])
        return accounts, used

    accounts, used = asyncio.run(main())

    for account in accounts:
        limits = account.limits
        assert limits.max_tokens is None or account.spent.tokens <= limits.max_tokens
        assert limits.max_calls is None or account.spent.calls <= limits.max_calls
        assert limits.max_cost is None or account.spent.cost <= limits.max_cost + 1e-9
        assert (account.reserved.tokens, account.reserved.calls) == (0, 0)
        assert account.reserved.cost == pytest.approx(0)
    assert accounts[0].spent.calls == sum(u.calls for u in used)


def test_a_waiting_call_gets_what_another_did_not_use() -> None:
    """Refunds wake those who wait, in order, and refuse those who cannot be served."""

    async def main() -> tuple[bool, bool, list[Any]]:
        ledger = Ledger(Budget(max_tokens=100))
        first = await ledger.reserve(ledger.root, Amount(tokens=80))
        waiting = [
            asyncio.ensure_future(ledger.reserve(ledger.root, Amount(tokens=n))) for n in (50, 60)
        ]
        await asyncio.sleep(0)
        before = any(w.done() for w in waiting)
        first.settle(Usage(45, 0), 0.0)
        for _ in range(2):  # those who wait are served in one go, soon after
            await asyncio.sleep(0)
        return before, waiting[0].done(), await asyncio.gather(*waiting, return_exceptions=True)

    before, granted, results = asyncio.run(main())

    assert not before
    assert granted
    assert results[0].amount.tokens == 50
    assert isinstance(results[1], BudgetExhaustedError)


def test_a_call_cancelled_while_it_waits_gives_back_what_it_was_granted() -> None:
    """A grant in the moment of the cancellation is refunded."""

    async def main() -> int:
        ledger = Ledger(Budget(max_calls=1))
        first = await ledger.reserve(ledger.root, Amount(calls=1))
        waiting = asyncio.ensure_future(ledger.reserve(ledger.root, Amount(calls=1)))
        await asyncio.sleep(0)
        first.refund()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return ledger.root.reserved.calls

    assert asyncio.run(main()) == 0


def test_what_can_never_fit_is_refused_at_once() -> None:
    """Waiting would not help; the error names limit and value."""

    async def main() -> None:
        ledger = Ledger(Budget(max_tokens=10))
        await ledger.reserve(ledger.root, Amount(tokens=11))

    with pytest.raises(BudgetExhaustedError, match="max_tokens is 10") as caught:
        asyncio.run(main())
    assert (caught.value.limit, caught.value.limit_value) == ("max_tokens", 10)


def test_what_is_left_is_the_least_over_the_scopes() -> None:
    """`remaining` looks at every account around."""
    ledger = Ledger(Budget(max_tokens=100, max_calls=5))
    inner = Account(Scope(max_tokens=30), ledger.root)
    Ledger.charge(ledger.root, Usage(80, 0, 0, 1), 0.0)

    left = remaining(inner)

    assert left["max_tokens"] == 20
    assert left["max_calls"] == 4
    assert left["max_cost"] is None
    assert left["timeout_s"] is None


# ---- runs ----------------------------------------------------------------------------------------


def test_256_calls_racing_for_100_make_exactly_100() -> None:
    """Fifty times, with random delays."""
    rng = random.Random(0)

    for _ in range(50):
        engine = ScriptedEngine(lambda r: "a", delay_s=lambda r: rng.random() * 0.001)

        outcomes = value_of(fan(engine, 256), budget=Budget(max_calls=100))

        assert len(engine.requests) == 100
        assert sum(o.is_success for o in outcomes) == 100
        assert {type(o.error) for o in outcomes if o.error} == {BudgetExhaustedError}
        assert {o.error.limit for o in outcomes if o.error} == {"max_calls"}


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 30), st.integers(1, 3)), min_size=1, max_size=12
    ),
    st.integers(0, 300),
    st.integers(0, 2**16),
)
def test_token_and_cost_budgets_are_never_exceeded(
    calls: list[tuple[int, int, int]], max_tokens: int, seed: int
) -> None:
    """Random DAGs on an engine that reports its true usage."""
    rng = random.Random(seed)
    engine = ScriptedEngine(
        lambda r: Delayed(rng.random() * 0.001, "w " * rng.randint(1, 60)),
    )
    model = Model(engine, price=Price(prompt=1e6, completion=2e6))
    max_cost = max_tokens * 1.5
    refs: list[Ref[Any]] = []
    for num_inputs, most, n in calls:
        inputs = rng.sample(refs, min(num_inputs, len(refs)))
        question = size(motet.settled(inputs)) if inputs else 1
        refs.append(asked_for.on(model, max_tokens=most).samples(n)(question))

    result = motet.run(
        motet.settled(refs), store=None, budget=Budget(max_tokens=max_tokens, max_cost=max_cost)
    )

    assert result.usage.tokens <= max_tokens
    assert result.cost <= max_cost * (1 + 1e-9)
    assert result.usage.calls == len(engine.requests)
    errors = [o.error for o in result.value if o.error is not None]
    assert all(isinstance(e, BudgetExhaustedError) for e in errors)


@prompt(user="{{ n }}", keep_cut_off=True)
def asked_for(n: int) -> str:
    raise NotImplementedError


def test_a_budget_that_does_not_reach_serves_the_first_calls() -> None:
    """Equal calls are served in the order in which they were made."""
    engine = ScriptedEngine(lambda r: "a")

    outcomes = value_of(fan(engine, 6), budget=Budget(max_calls=2))

    assert [o.is_success for o in outcomes] == [True, True, False, False, False, False]


def test_waiting_calls_are_served_by_refunds() -> None:
    """Reserving the most, ten short answers fit where two long ones would."""
    engine = ScriptedEngine(lambda r: "short")

    result = motet.run(fan(engine, 10, max_tokens=50), store=None, budget=Budget(max_tokens=110))

    assert all(o.is_success for o in result.value)
    assert result.usage.tokens == 20
    assert engine.peak_in_flight == 2


def test_a_failing_call_is_refunded() -> None:
    """What never answered counts neither as a call nor as tokens."""
    engine = ScriptedEngine(
        lambda r: ModelNotFoundError("no") if "bad" in r.prompt[-1].content else "a"
    )

    @program
    async def whole() -> Any:
        questions = ["bad 1", "bad 2", "a", "bad 3", "b", "c"]
        outcomes = [await motet.settled([ask.on(engine)(q)]) for q in questions]
        return [o.is_success for (o,) in outcomes]

    result = motet.run(whole(), store=None, budget=Budget(max_calls=3, timeout_s=5))

    assert result.value == [False, False, True, False, True, True]
    assert result.usage.calls == 3
    assert len(engine.requests) == 6


def test_inner_and_outer_scopes_bind() -> None:
    """The narrowest limit holds inside, the outer one over all."""
    engine = ScriptedEngine(lambda r: "a")

    @program
    def whole() -> Any:
        with motet.scope(max_calls=6):
            with motet.scope(max_calls=2):
                inner = fan(engine, 5)
            with motet.scope(max_calls=100):
                second = fan(engine, 5)
        return [inner, second, fan(engine, 5)]

    wide = [sum(o.is_success for o in part) for part in value_of(whole())]
    narrow = [
        sum(o.is_success for o in part) for part in value_of(whole(), budget=Budget(max_calls=8))
    ]

    assert wide[0] <= 2
    assert wide[0] + wide[1] == 6
    assert wide[2] == 5
    assert sum(narrow) == 8
    assert narrow[0] <= 2
    assert narrow[0] + narrow[1] <= 6


def test_a_scope_in_a_running_program_binds_what_is_made_inside() -> None:
    """And static and async programs called inside it."""
    engine = ScriptedEngine(lambda r: "a")

    @program
    def static() -> Any:
        return fan(engine, 3)

    @program
    async def growing() -> Any:
        return await fan(engine, 3)

    @program
    async def whole() -> Any:
        with motet.scope(max_calls=4):
            first, second = static(), growing()
        return [await first, await second, await fan(engine, 2)]

    first, second, third = value_of(whole())

    assert sum(o.is_success for o in [*first, *second]) == 4
    assert all(o.is_success for o in third)


def test_each_scope_is_its_own_even_with_equal_limits() -> None:
    """Two branches with two calls each make four."""
    engine = ScriptedEngine(lambda r: "a")

    async def branch() -> int:
        with motet.scope(max_calls=2):
            outcomes = await fan(engine, 5)
        return sum(o.is_success for o in outcomes)

    @program
    async def whole() -> Any:
        return await asyncio.gather(branch(), branch())

    assert value_of(whole()) == [2, 2]


def test_a_run_that_spends_its_budget_gives_back_what_it_has() -> None:
    """The error is typed, and the partial result holds finished calls and their usage."""
    engine = ScriptedEngine(lambda r: "a")

    @program
    async def whole() -> Any:
        return [await ask.on(engine)(str(i)) for i in range(5)]

    with pytest.raises(RunFailedError) as caught:
        motet.run(whole(), store=None, budget=Budget(max_calls=3))

    error = caught.value.__cause__
    assert isinstance(error, BudgetExhaustedError)
    assert (error.limit, error.limit_value) == ("max_calls", 3)
    partial = caught.value.partial
    assert partial.values == ["a", "a", "a"]
    assert partial.usage.calls == 3
    assert partial.run_id == caught.value.run_id


def test_a_program_may_catch_the_end_of_its_budget() -> None:
    """Partial beats nothing: a search returns its best so far."""
    engine = ScriptedEngine(lambda r: "a")

    @program
    async def whole() -> Any:
        found: list[str] = []
        try:
            while True:
                found.append(await ask.on(engine)(str(len(found))))
        except BudgetExhaustedError:
            return found

    assert value_of(whole(), budget=Budget(max_calls=4)) == ["a"] * 4


def test_current_says_what_is_left() -> None:
    """Of the run and of the scope, in programs and in async steps."""
    engine = ScriptedEngine(lambda r: "a")

    @step
    async def left() -> Any:
        return motet.current().max_calls

    @program
    async def whole() -> Any:
        seen = [motet.current().max_calls]
        await ask.on(engine)("q")
        seen.append(motet.current().max_calls)
        with motet.scope(max_calls=2):
            seen += [motet.current().max_calls, await left()]
            await ask.on(engine)("q")
            seen.append(motet.current().max_calls)
        return [*seen, motet.current().max_calls, motet.current().max_tokens]

    assert value_of(whole(), budget=Budget(max_calls=9)) == [9, 8, 2, 2, 1, 7, None]


def test_current_knows_the_scope_in_sync_steps_too() -> None:
    """Whether a step runs in a thread or on the loop makes no difference."""

    @step
    def left(i: int) -> Any:
        return motet.current().max_calls

    @program
    async def whole() -> Any:
        with motet.scope(max_calls=2):
            return [await left(i) for i in range(5)]

    assert value_of(whole()) == [2] * 5


@pytest.mark.parametrize("kind", ["prompt", "async step", "sync step", "program"])
def test_a_run_ends_when_its_time_is_up(kind: str) -> None:
    """Whatever it waits for; the engine is told."""
    engine = ScriptedEngine(delay_s=30)

    @step
    async def sleeping() -> str:
        await asyncio.sleep(30)
        return "late"

    @step
    def blocking() -> str:
        time.sleep(0.5)
        return "late"

    @program
    async def growing() -> Any:
        return await ask.on(engine)("q")

    made: dict[str, Any] = {
        "prompt": lambda: ask.on(engine)("q"),
        "async step": sleeping,
        "sync step": blocking,
        "program": growing,
    }
    began = time.monotonic()

    with pytest.raises(RunFailedError) as caught:
        motet.run(join([made[kind]()]), store=None, budget=Budget(timeout_s=0.05))

    assert time.monotonic() - began < 0.45
    assert isinstance(caught.value.__cause__, BudgetExhaustedError)
    assert caught.value.__cause__.limit == "timeout_s"
    assert engine.num_aborted == len(engine.requests)


def test_a_scopes_time_fails_only_what_is_inside() -> None:
    """The rest of the run goes on, and may catch it."""
    engine = ScriptedEngine(lambda r: Delayed(30 if "slow" in r.prompt[-1].content else 0, "a"))

    @program
    async def whole() -> Any:
        with motet.scope(timeout_s=0.05):
            slow = ask.on(engine)("slow")
        try:
            await slow
        except BudgetExhaustedError as error:
            return [error.limit, error.limit_value, await ask.on(engine)("quick")]

    assert value_of(whole()) == ["timeout_s", 0.05, "a"]
    assert engine.num_aborted == 1


def test_a_program_in_a_scope_ends_with_its_calls() -> None:
    """When the scope's time is up, the program and what it made are cancelled."""
    engine = ScriptedEngine(delay_s=30)

    @program
    async def growing() -> Any:
        return [await r for r in [ask.on(engine)(str(i)) for i in range(3)]]

    @program
    def whole() -> Any:
        with motet.scope(timeout_s=0.05):
            inner = growing()
        return motet.settled([inner])

    outcomes = value_of(whole())

    assert isinstance(outcomes[0].error, BudgetExhaustedError)
    assert engine.num_aborted == 3


def test_a_models_cached_tokens_cost_their_own_price() -> None:
    """Prompt, cached prompt and completion by hand."""

    class Cached(ScriptedEngine):
        async def complete(self, request: Any, on_delta: Any = None) -> Any:
            reply = await super().complete(request, on_delta)
            return type(reply)(reply.completions, Usage(100, 10, 60, 1), reply.model)

    price = Price(prompt=2.0, completion=10.0, cached_prompt=0.5)
    model = Model(Cached(lambda r: "a"), price=price, sampling=Sampling(max_tokens=20))

    result = motet.run(ask.on(model)("q"), store=None)

    assert result.cost == pytest.approx((40 * 2.0 + 60 * 0.5 + 10 * 10.0) / 1e6)

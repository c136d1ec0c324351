"""A problem's callables as a search sees them."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import BudgetExhaustedError, ConfigError, EngineUnavailableError, SearchError
from motet.search.partials import Partial, Step
from motet.search.spending import Limits, Spend
from motet.search.tools import FAILED, UNPAID, Ask, Problem, Tools, call_batch

_A, _B = Partial((Step("a", is_last=True),)), Partial((Step("b"),))


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def giving(steps: Any, **limits: Any) -> Tools:
    """Tools whose proposer gives the same for every ask."""
    problem = Problem(propose=lambda asks: [steps for _ in asks], step_tokens=10)
    return problem.tools(Limits(**limits), Spend())


def scoring(value: Any, **settings: Any) -> Tools:
    return Tools(Problem(propose=list, score=lambda batch: [value for _ in batch], **settings))


asks_of_any_size = st.lists(
    st.builds(
        Ask,
        st.just(Partial()),
        n=st.integers(0, 5),
        max_tokens=st.none() | st.integers(0, 12),
    ),
    max_size=5,
)
limits_of_any_size = st.builds(
    Limits,
    max_proposals=st.none() | st.integers(0, 20),
    max_tokens=st.none() | st.integers(0, 120),
    max_scores=st.none() | st.integers(0, 10),
)


@given(st.lists(asks_of_any_size, max_size=4), limits_of_any_size, st.booleans(), st.data())
def test_no_limit_is_passed(batches, limits, is_concurrent, data):
    """Whatever is asked for, one batch after another or all at once, no more is handed on."""
    used = {"proposals": 0, "tokens": 0, "scores": 0}

    async def propose(asks):
        used["proposals"] += sum(ask.n for ask in asks)
        await asyncio.sleep(0)
        found = []
        for ask in asks:
            most = 7 if ask.max_tokens is None else ask.max_tokens
            tokens = data.draw(st.lists(st.integers(0, most), max_size=ask.n))
            used["tokens"] += sum(tokens)
            found.append([Step("x", num_tokens=each) for each in tokens])
        return found

    async def score(partials):
        used["scores"] += len(partials)
        await asyncio.sleep(0)
        return [0.5] * len(partials)

    tools = Problem(propose=propose, score=score, step_tokens=7).tools(limits, Spend())

    async def one(asks):
        found = await tools.propose(asks)
        partials = [ask.partial.then(step) for ask, n in zip(asks, found) for step in n]
        scores = await tools.score(partials)
        assert all(len(each) <= ask.n for ask, each in zip(asks, found, strict=True))
        assert len(scores) == len(partials)

    async def act():
        if is_concurrent:
            await asyncio.gather(*map(one, batches))
        else:
            for asks in batches:
                await one(asks)

    run(act())
    for name, value in used.items():
        most = getattr(limits, f"max_{name}")
        assert most is None or value <= most
        assert getattr(tools.spend, name) == value


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 20))
def test_a_limit_is_granted_in_order_to_the_last_proposal(sizes, most):
    """The first asks get all they want; `is_spent` says whether any got less."""
    seen = []
    problem = Problem(
        propose=lambda asks: [[Step("x")] * a.n for a in asks if seen.append(a) is None]
    )
    tools = problem.tools(Limits(max_proposals=most), Spend())

    found = run(tools.propose([Ask(Partial(), n=n) for n in sizes]))

    assert sum(map(len, found)) == min(most, sum(sizes))
    assert tools.is_spent == (most < sum(sizes))
    wanted, left = [], most
    for n in sizes:
        wanted.append(min(n, left))
        left -= wanted[-1]
    assert [len(each) for each in found] == wanted
    assert [ask.n for ask in seen] == [n for n in wanted if n]


def test_tokens_are_granted_by_the_most_that_each_can_take():
    """35 tokens hold three steps of at most 10; one with a bound of its own goes by that."""
    tools = giving([Step("x", num_tokens=1)], max_tokens=35)

    assert [len(n) for n in run(tools.propose([Ask(Partial(), n=1)] * 4))] == [1, 1, 1, 0]
    assert tools.is_spent
    tools = giving([Step("x", num_tokens=5)], max_tokens=35)
    run(tools.propose([Ask(Partial(), n=7, max_tokens=5)]))
    assert not tools.is_spent
    assert tools.spend == Spend(proposals=7, tokens=5)


def test_an_ask_for_nothing_is_not_handed_on():
    """An ask for no continuation, or for none of any length, is not what a limit refuses."""
    tools = giving([Step("x")], max_proposals=5)

    assert run(tools.propose([Ask(Partial(), n=0), Ask(Partial(), max_tokens=0)])) == [[], []]
    assert not tools.is_spent
    assert tools.spend == Spend()


def test_an_empty_batch_calls_nobody():
    """A callable never sees an empty batch."""

    def never(batch):
        raise AssertionError

    tools = Tools(Problem(propose=never, score=never, verify=never))

    assert run(tools.propose([])) == []
    assert run(tools.score([])) == []
    assert run(tools.verify([])) == []


def test_async_and_sync_callables_do_the_same():
    """A callable may be either."""

    async def propose(asks):
        await asyncio.sleep(0)
        return [(Step("x"),) for _ in asks]

    def score(partials):
        return (0.25 for _ in partials)

    tools = Tools(Problem(propose=propose, score=score))

    assert run(tools.propose([Ask(Partial())])) == [[Step("x")]]
    assert run(tools.score([_A, _B])) == [0.25, 0.25]


def test_what_failed_is_paid_for_and_what_was_unpaid_is_not():
    """Either has no steps; only the unpaid one says that the budget is spent."""
    answers = {"a": FAILED, "b": [Step("x", num_tokens=3)]}
    tools = Tools(Problem(propose=lambda asks: [answers[ask.partial.text] for ask in asks]))

    found = run(tools.propose([Ask(_A, n=2), Ask(_B, n=4)]))

    assert found == [[], [Step("x", num_tokens=3)]]
    assert not tools.is_spent
    assert tools.spend == Spend(proposals=6, tokens=3)

    answers["a"] = UNPAID
    tools = Tools(Problem(propose=lambda asks: [answers[ask.partial.text] for ask in asks]))
    assert run(tools.propose([Ask(_A, n=2), Ask(_B, n=4)]))[0] == []
    assert tools.is_spent
    assert tools.spend.proposals == 4


def test_lost_scores_and_verdicts_are_none():
    """What failed counts, what was unpaid does not."""
    lost = {"a": FAILED, "b": UNPAID}
    judge = lambda partials: [lost[partial.text] for partial in partials]  # noqa: E731
    tools = Tools(Problem(propose=list, score=judge, verify=judge))

    assert run(tools.score([_A])) == [None]
    assert run(tools.verify([_A])) == [None]
    assert (tools.is_spent, tools.spend) == (False, Spend(scores=2))
    assert run(tools.score([_A, _B])) == [None, None]
    assert (tools.is_spent, tools.spend) == (True, Spend(scores=3))


def test_a_spent_budget_is_a_batch_without_results():
    """`BudgetExhaustedError` of a callable is no error of the search."""

    def spent(batch):
        raise BudgetExhaustedError("spent", limit="max_tokens", limit_value=3)

    tools = Tools(Problem(propose=spent, score=spent))

    assert run(tools.propose([Ask(Partial()), Ask(Partial())])) == [[], []]
    assert run(tools.score([_A])) == [None]
    assert tools.is_spent
    assert tools.spend == Spend()


def test_scores_beyond_the_limit_are_none():
    """The first of a batch are scored, and verdicts count as scores."""
    problem = Problem(
        propose=list, score=lambda b: [0.5] * len(b), verify=lambda b: [True] * len(b)
    )
    tools = problem.tools(Limits(max_scores=3), Spend())

    assert run(tools.score([_A, _B])) == [0.5, 0.5]
    assert not tools.is_spent
    assert run(tools.verify([_A, _B])) == [True, None]
    assert tools.is_spent
    assert run(tools.score([_A])) == [None]
    assert tools.spend == Spend(scores=3)


def test_a_problem_says_where_a_solution_ends():
    """Its last step is marked, whatever the proposer says; other steps stay as they are."""
    problem = Problem(
        propose=lambda asks: [[Step("!"), Step("?")] for _ in asks],
        is_terminal=lambda partial: partial.text.endswith("!"),
    )

    assert run(Tools(problem).propose([Ask(_B, n=2)])) == [[Step("!", is_last=True), Step("?")]]


def test_an_error_of_is_terminal_is_typed():
    """It is a callable of the problem as any other."""
    problem = Problem(propose=lambda asks: [[Step("x")]], is_terminal=lambda partial: 1 / 0)

    with pytest.raises(SearchError, match="is_terminal failed: ZeroDivisionError"):
        run(Tools(problem).propose([Ask(Partial())]))


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ([Step("x"), Step("y")], "2 steps where 1 were asked for"),
        (["x"], "'x'; it must give Step objects"),
        ([Step(None)], "it must give Step objects"),
        (None, "gave None; it must give a sequence of Step"),
        ("xy", "gave 'xy'; it must give a sequence"),
        (Step("x"), "it must give a sequence"),
        ([Step("x", num_tokens=-4)], "num_tokens -4"),
        ([Step("x", num_tokens=1.5)], "num_tokens 1.5"),
        ([Step("x", num_tokens=True)], "num_tokens True"),
        ([Step("x", prior=math.nan)], "prior gave nan"),
        ([Step("x", prior=-math.inf)], "prior gave -inf"),
        ([Step("x", log_weight=math.nan)], "log_weight gave nan"),
        ([Step("x", log_weight=math.inf)], "log_weight gave inf"),
        ([Step("x", data=(1, 2))], r"data \(1, 2\); it must be JSON"),
        ([Step("x", data={1: "a"})], "it must be JSON"),
        ([Step("x", data=[{"a": {"b": object()}}])], "it must be JSON"),
    ],
)
def test_a_proposer_that_breaks_its_contract_is_a_search_error(steps, what):
    """The error says what came."""
    with pytest.raises(SearchError, match=what):
        run(giving(steps).propose([Ask(Partial())]))


def test_a_step_that_cannot_be_may_say_so():
    """A log weight of minus infinity is a weight of 0."""
    step = Step("x", log_weight=-math.inf)

    assert run(giving([step]).propose([Ask(Partial())])) == [[step]]


def test_a_step_longer_than_asked_for_is_an_error_where_tokens_are_limited():
    """It is counted nevertheless."""
    tools = giving([Step("x", num_tokens=11)], max_tokens=100)

    with pytest.raises(SearchError, match="a step of 11 tokens; at most 10"):
        run(tools.propose([Ask(Partial())]))

    assert tools.spend.tokens == 11


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.01, 1.01, 10**400])
def test_a_score_out_of_range_is_a_search_error(value):
    """From 0 to 1, where the problem says nothing else."""
    with pytest.raises(SearchError, match="score gave .*; its numbers must be from 0 to 1"):
        run(scoring(value).score([_A]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_a_score_without_range_is_finite(value):
    """Any finite number is a score where `score_range` is None."""
    assert run(scoring(-7, score_range=None).score([_A])) == [-7.0]
    with pytest.raises(SearchError, match="must be finite"):
        run(scoring(value, score_range=None).score([_A]))


@pytest.mark.parametrize("value", [True, None, "0.5", [0.5], 1j])
def test_a_score_is_a_number(value):
    """A verdict or a text is none."""
    with pytest.raises(SearchError, match="score gave .*; it must give numbers"):
        run(scoring(value).score([_A]))


def test_numbers_of_numpy_are_scores():
    """They become plain floats, which a state can hold."""
    [score] = run(scoring(np.float32(0.5)).score([_A]))

    assert type(score) is float
    assert run(scoring(np.int64(1)).score([_A])) == [1.0]


@pytest.mark.parametrize("value", [1, None, "yes", 0.0])
def test_a_verdict_is_true_or_false(value):
    """Whatever else is a search error."""
    problem = Problem(propose=list, verify=lambda batch: [value for _ in batch])

    with pytest.raises(SearchError, match="verify gave .*; it must give True or False"):
        run(Tools(problem).verify([_A]))


@pytest.mark.parametrize("num", [0, 1, 3])
def test_a_batch_has_as_many_results_as_members(num):
    """Both numbers are in the error."""
    with pytest.raises(SearchError, match=f"judge gave {num} results for a batch of 2"):
        run(call_batch(lambda batch: [0.5] * num, [_A, _B], "judge"))


def test_foreign_errors_are_mapped_and_own_ones_are_not():
    """The cause stays; an error of motet's is passed on as it is."""

    def broken(batch):
        yield 1
        raise KeyError("x")

    async def away(batch):
        raise EngineUnavailableError("away")

    with pytest.raises(SearchError, match="judge failed: KeyError: 'x'") as caught:
        run(call_batch(broken, [_A], "judge"))
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(SearchError, match="judge failed: TypeError"):
        run(call_batch(lambda batch: None, [_A], "judge"))
    with pytest.raises(EngineUnavailableError):
        run(call_batch(away, [_A], "judge"))


def test_a_callable_that_is_not_there_is_a_config_error():
    """The search says what it needs."""
    tools = Tools(Problem(propose=list))

    assert (tools.has_scorer, tools.has_verifier) == (False, False)
    with pytest.raises(ConfigError, match="needs a scorer"):
        run(tools.score([_A]))
    with pytest.raises(ConfigError, match="needs a verifier"):
        run(tools.verify([_A]))


def test_max_tokens_needs_the_tokens_of_a_step():
    """Without them the limit could be passed."""
    with pytest.raises(ConfigError, match="must say step_tokens"):
        Problem(propose=list).tools(Limits(max_tokens=3), Spend())


@pytest.mark.parametrize(
    "settings",
    [
        {"step_tokens": 0},
        {"step_tokens": 2.5},
        {"score_range": (1, 0)},
        {"score_range": (0, math.nan)},
    ],
)
def test_a_problem_is_checked_where_it_is_made(settings):
    """The error names the setting."""
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Problem(propose=list, **settings)


def test_a_step_that_asks_for_ever_ends():
    """What no limit holds can be asked for many times, but not without end."""
    tools = giving([Step("x")], max_proposals=0)

    async def score_on():
        scorer = scoring(0.5)
        scorer._limits = Limits(max_scores=0)
        while await scorer.score([_A]) == [None]:
            pass

    async def propose_on():
        while await tools.propose([Ask(Partial())]) == [[]]:
            pass

    for coroutine in (propose_on(), score_on()):
        with pytest.raises(SearchError, match="10000 times for what no limit holds"):
            run(coroutine)

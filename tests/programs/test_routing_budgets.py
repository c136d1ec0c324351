"""Routes, cascades and juries whose budget ends in the middle: never over it, and the best so far."""

from __future__ import annotations

from typing import Any

import pytest

import motet
from motet import Budget, Capability, Model, Price, RunFailedError, program
from motet.engine import Request, Usage
from motet.errors import BudgetExhaustedError, TooFewSurvivorsError
from motet.programs import (
    cascade,
    jury_compare,
    jury_score,
    mixture_of_agents,
    route,
    self_consistency,
    solve,
)
from motet.programs.cascade import Cascaded
from motet.programs.choices import CapabilityTexts
from motet.programs.confidences import Scored
from motet.programs.judges import Juror, JuryScore, JuryVerdict
from motet.programs.scorers import Check, SelfEvaluation
from motet.routing.deciding import WorthItsPrice
from motet.runtime.metering import cost_of
from motet.search import BestOfN
from motet.testing import ScriptedEngine

CHEAP, DEAR = Price(prompt=1e3, completion=2e3), Price(prompt=1e5, completion=2e5)
SURENESS = {"alone": 0.3, "fused": 0.5, "searched": 0.4}


def says(text: Any, name: str, price: Price = CHEAP, **settings: Any) -> Model:
    script = text if callable(text) else lambda _: text
    return Model(ScriptedEngine(script, name=name, **settings), name, price=price)


def judging(name: str = "judge", price: Price = CHEAP) -> Model:
    """Gives log-probabilities of Yes and No."""
    engine = ScriptedEngine(
        lambda r: (-0.1, -3.0), name=name, capabilities=frozenset({Capability.SCORE})
    )
    return Model(engine, name, price=price)


def sureness(text: str) -> float:
    return SURENESS[text.split(maxsplit=1)[0]]


def staged(question: str = "q", *, by_judge: bool = False) -> tuple[Any, list[Model]]:
    """A call, then a mixture of agents, then a search; none is ever sure enough."""
    alone, fused = says("alone a b", "alone"), says("fused a b c", "fused")
    proposer, searched = says("one", "proposer"), says("searched a b c d", "searched")
    judge = judging()
    models = [alone, proposer, fused, searched, judge]
    short = {"max_tokens": 6}
    mixture = mixture_of_agents.as_model(
        proposers=[proposer, proposer], aggregator=fused, layers=2, **short
    )
    search = solve.as_model(
        algorithm=BestOfN(n=3), model=searched, scorer=Check(sureness), answer_tokens=6
    )
    sure: Any = SelfEvaluation(judge) if by_judge else Check(sureness)
    call = cascade(
        question,
        stages=[alone, mixture, search],
        thresholds=[1.1, 1.1],
        confidence=Scored(sure),
        **short,
    )
    return call, models


def num_asked(models: list[Model]) -> list[int]:
    return [len(model.engine.requests) for model in models]  # type: ignore[union-attr]


def paid_by_graph(result: Any, models: list[Model]) -> tuple[Usage, float]:
    """Usage and cost, summed over the leaves of the graph."""
    by_name = {model.name: model for model in models}
    leaves = [node for node in result.graph if node.usage is not None and node.usage.calls]
    assert all(node.is_model_call for node in leaves)
    costs = [cost_of(by_name[node.model], node.usage) for node in leaves]
    return sum((node.usage for node in leaves), Usage()), sum(costs)


def failure_of(ref: Any, budget: Budget) -> Any:
    with pytest.raises(RunFailedError) as caught:
        motet.run(ref, store=None, budget=budget)
    assert caught.value.partial.cost <= (budget.max_cost or 0.0) + 1e-12
    return caught.value.__cause__


@pytest.mark.parametrize("by_judge", [False, True])
@pytest.mark.parametrize("limit", ["max_cost", "max_tokens", "max_calls"])
def test_a_cascade_whose_budget_ends_anywhere_gives_the_surest_answer_and_stays_within(
    limit: str, by_judge: bool
) -> None:
    """In thirty places, of each limit: nothing that was paid for is lost."""
    call, models = staged(by_judge=by_judge)
    whole = motet.run(call, store=None)
    assert whole.value.model == "solve"
    assert paid_by_graph(whole, models) == (whole.usage, pytest.approx(whole.cost))
    most = {"max_cost": whole.cost, "max_tokens": whole.usage.tokens, "max_calls": 8}[limit]
    ends: set[str] = set()

    for part in range(31):
        room = most * part / 20
        room = room if limit == "max_cost" else int(room)
        call, models = staged(by_judge=by_judge)
        try:
            result = motet.run(call, store=None, budget=Budget(**{limit: room}))
        except RunFailedError as failed:
            assert isinstance(failed.__cause__, BudgetExhaustedError)
            assert num_asked(models)[0] == 0, "an answer that was paid for is lost"
            ends.add("nothing")
            continue
        spent = {
            "max_cost": result.cost,
            "max_tokens": result.usage.tokens,
            "max_calls": result.usage.calls,
        }[limit]
        assert spent <= room + 1e-12
        assert paid_by_graph(result, models) == (result.usage, pytest.approx(result.cost))
        found: Cascaded = result.value
        known = [stage for stage in found.stages if stage.text is not None]
        if found.is_accepted:
            assert found.text == known[-1].text == "searched a b c d"
        else:
            assert found.text == max(known, key=lambda s: s.confidence or -1.0).text
        ends.add(found.model)
    assert ends == {"nothing", "alone", "mixture_of_agents", "solve"} or by_judge
    assert ends >= {"nothing", "alone", "solve"}


def test_a_scope_around_a_cascade_holds_while_the_run_goes_on() -> None:
    """What the scope did not spend is left for what stands beside it."""
    left: list[float | None] = []
    after = says("after", "after")
    call, models = staged()

    @program
    async def work(question: str) -> list[str]:
        with motet.scope(max_calls=3):
            call, found = staged(question)
            models[:] = found
            inside = await call
            left.append(motet.current().max_calls)
        outside: Any = self_consistency(question, model=after, n=2, extract="text")
        return [inside.text, await outside]

    result = motet.run(work("q"), store=None, budget=Budget(max_calls=4))

    assert result.value == ["alone a b", "after"]
    assert sum(num_asked(models)) + left[0] == 3
    assert result.usage.calls == sum(num_asked([*models, after])) <= 4


def by_capability(judge: Model, chosen: str) -> CapabilityTexts:
    """Finds all models able alike; the price does not count, so the first is chosen."""
    texts = {name: name for name in (chosen, "other")}
    prices = dict.fromkeys(texts, 0.0)
    return CapabilityTexts(judge, texts, rule=WorthItsPrice(willingness=1.0), prices=prices)


def test_a_routed_proposer_that_is_over_the_budget_is_left_out_of_the_mixture() -> None:
    dear, cheap, judge = says("dear", "dear", DEAR), says("cheap", "cheap"), judging()
    routed = route.as_model(
        among={"dear": dear, "other": cheap}, by=by_capability(judge, "dear"), max_tokens=6
    )
    budget = Budget(max_cost=0.5)
    call = mixture_of_agents(
        "q", proposers=[routed, cheap], aggregator=cheap, layers=2, max_tokens=6
    )

    result = motet.run(call, store=None, budget=budget)

    assert result.value == "cheap"
    assert num_asked([dear, cheap]) == [0, 2]
    assert 0 < result.cost <= 0.5
    alone = route("q", among={"dear": dear, "other": cheap}, by=by_capability(judge, "dear"))
    assert isinstance(failure_of(alone, budget), BudgetExhaustedError)
    assert num_asked([dear]) == [0]


def test_a_juror_over_the_budget_is_left_out_and_the_weights_of_the_rest_stay() -> None:
    """Of a score of 1 with weight 1 and of 0 with weight 3 the mean is a quarter."""
    high, low, dear = says("[[10]]", "high"), says("[[1]]", "low"), says("[[10]]", "dear", DEAR)
    jury = [Juror(model=dear, weight=9.0), Juror(model=high), Juror(model=low, weight=3.0)]
    call = jury_score("q", "a", judges=jury, max_tokens=8)

    result = motet.run(call, store=None, budget=Budget(max_cost=2.0))

    found: JuryScore = result.value
    assert (found.score, found.num_left_out) == (pytest.approx(0.25), 1)
    assert found.verdicts[0] is None
    assert result.cost <= 2.0
    call = jury_score("q", "a", judges=jury, max_tokens=8)
    error = failure_of(call, Budget(max_cost=1e-3))
    assert isinstance(error, TooFewSurvivorsError)
    assert {type(each) for each in error.failures} == {BudgetExhaustedError}


def test_a_juror_whose_second_order_is_over_the_budget_has_no_ballot() -> None:
    """One order alone would favour a place."""
    first, second = says("[[A]]", "first"), says("[[B]]", "second")
    call = jury_compare("q", "a", "b", judges=[first, Juror(model=second, weight=5.0)])

    found: JuryVerdict = motet.run(call, store=None, budget=Budget(max_calls=3)).value

    assert (found.winner, found.share, found.num_left_out) == ("tie", 0.5, 1)
    assert found.ballots[1] is None


def test_a_route_in_a_cascade_under_a_jury_in_a_map_keeps_the_budget_and_its_sums() -> None:
    """With any budget the rest that can be answered is, and the leaves' costs are the run's."""

    def rating(request: Request) -> str:
        return "[[7]]" if "rating" in request.prompt[0].content else "plain words"  # type: ignore[union-attr]

    cheap, dear = says(rating, "cheap"), says(rating, "dear", Price(prompt=2e3, completion=4e3))
    judge = judging()
    models = [cheap, dear, judge]

    @program
    async def judged(question: str) -> float | None:
        routed = route.as_model(
            among={"dear": dear, "other": cheap}, by=by_capability(judge, "dear"), max_tokens=6
        )
        found = await cascade(
            question,
            stages=[cheap, routed],
            thresholds=[1.1],
            confidence=Scored(SelfEvaluation(judge)),
            max_tokens=6,
        )
        jury = [Juror(model=cheap), Juror(model=dear, weight=2.0)]
        said = await jury_score(question, found.text, judges=jury, max_tokens=8)
        return said.score

    questions = ["one", "two", "three"]
    whole = motet.run(motet.map(judged, questions), store=None)
    assert whole.value == [pytest.approx(6 / 9)] * 3
    assert whole.usage.calls == 3 * 7
    assert paid_by_graph(whole, models) == (whole.usage, pytest.approx(whole.cost))

    counts = []
    for part in range(1, 24):
        limit = whole.cost * part / 20
        call = motet.map(judged, questions, at_least=0)
        result = motet.run(call, store=None, budget=Budget(max_cost=limit))
        assert result.cost <= limit + 1e-12
        assert paid_by_graph(result, models) == (result.usage, pytest.approx(result.cost))
        assert all(score == pytest.approx(6 / 9) for score in result.value)
        counts.append(len(result.value))
    assert (counts[0], counts[-1]) == (0, 3)

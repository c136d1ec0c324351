"""Cascade: who is asked, whose answer is taken, and what a failure costs."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Budget, Capability, Completion, Model, RunFailedError, program
from motet.engine import TokenLogprob
from motet.errors import (
    BudgetExhaustedError,
    CapabilityError,
    ConfigError,
    EngineUnavailableError,
    StepError,
    TooFewSurvivorsError,
)
from motet.programs import cascade, mixture_of_agents
from motet.programs.cascade import Cascaded
from motet.programs.confidences import Agreement, Likelihood, Scored
from motet.programs.scorers import Check, SelfEvaluation
from motet.testing import ScriptedEngine


def says(text: str, name: str, **settings: Any) -> Model:
    return Model(ScriptedEngine(lambda r: text, **settings), name)


def value_of(ref: Any, **settings: Any) -> Cascaded:
    found: Cascaded = motet.run(ref, store=None, **settings).value
    return found


def failure_of(ref: Any, **settings: Any) -> Any:
    with pytest.raises(RunFailedError) as caught:
        motet.run(ref, store=None, **settings)
    return caught.value.__cause__


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=1, max_size=4), st.data())
def test_the_first_answer_that_is_sure_enough_is_taken_and_no_later_model_is_asked(
    scores: list[float], data: st.DataObject
) -> None:
    bounds = [data.draw(st.sampled_from([0.0, 0.5, 0.9, 1.1])) for _ in scores[1:]]
    models = [says(f"{i} {score}", f"m{i}") for i, score in enumerate(scores)]
    sure = Scored(Check(lambda text: float(text.split()[1])))

    found = value_of(cascade("q", stages=models, thresholds=bounds, confidence=sure))

    expected = next((i for i, bound in enumerate(bounds) if scores[i] >= bound), len(models) - 1)
    assert found.text == f"{expected} {scores[expected]}"
    assert found.model == models[expected].label
    assert found.is_accepted
    assert [len(m.engine.requests) for m in models] == [
        int(i <= expected) for i in range(len(models))
    ]
    assert [s.confidence for s in found.stages[: len(bounds)]] == scores[: expected + 1][
        : len(bounds)
    ]


def test_the_last_model_is_not_asked_how_sure_it_is() -> None:
    scored: list[str] = []
    sure = Scored(Check(lambda text: float(bool(scored.append(text)))))

    found = value_of(
        cascade("q", stages=[says("a", "a"), says("b", "b")], thresholds=[0.5], confidence=sure)
    )

    assert scored == ["a"]
    assert [s.why for s in found.stages] == ["unsure", "last"]


def test_likelihood_is_the_mean_or_the_least_probability_of_the_tokens_and_of_whole_replies_only() -> (
    None
):
    tokens = (TokenLogprob("a", -0.1), TokenLogprob("b", -0.7))

    def confidence_of(completion: Completion, of: Any) -> float | None:
        first = Model(ScriptedEngine(lambda r: completion), "first")
        found = value_of(
            cascade(
                "q", stages=[first, says("x", "x")], thresholds=[2.0], confidence=Likelihood(of)
            )
        )
        return found.stages[0].confidence

    whole = Completion("ab", logprobs=tokens)
    assert confidence_of(whole, "mean") == pytest.approx(2.718281828**-0.4)
    assert confidence_of(whole, "least") == pytest.approx(2.718281828**-0.7)
    assert confidence_of(Completion("ab", "length", logprobs=tokens), "mean") is None
    assert confidence_of(Completion("", logprobs=()), "mean") is None


def test_agreement_is_the_share_of_all_samples_that_were_asked_for() -> None:
    texts = ["The answer is 4.", "The answer is 5.", "no idea", "The answer is 4.", ""]
    first = Model(ScriptedEngine(lambda r: tuple(texts)), "first")

    found = value_of(
        cascade("q", stages=[first, says("x", "x")], thresholds=[0.4], confidence=Agreement(n=5))
    )

    assert (found.text, found.stages[0].confidence) == ("The answer is 4.", 0.4)


def test_samples_that_state_nothing_are_no_agreement() -> None:
    first = Model(ScriptedEngine(lambda r: ("hm",) * 5), "first")
    found = value_of(
        cascade("q", stages=[first, says("x", "x")], thresholds=[0.0], confidence=Agreement(n=5))
    )
    assert found.text == "x"
    assert found.stages[0].confidence is None


@pytest.mark.parametrize(
    "reply", ["", EngineUnavailableError("gone"), Completion("half", "length")]
)
def test_a_model_that_fails_is_passed_over(reply: Any) -> None:
    first = Model(ScriptedEngine(lambda r: reply), "first")
    sure = Scored(Check(lambda text: 1.0))

    found = value_of(
        cascade("q", stages=[first, says("b", "b")], thresholds=[0.5], confidence=sure)
    )

    assert found.text == "b"
    assert found.stages[0].text is None
    assert "Error" in found.stages[0].why


def test_the_surest_answer_has_to_do_where_the_later_models_fail_and_says_so() -> None:
    dead = Model(ScriptedEngine(lambda r: ""), "dead")
    sure = Scored(Check(lambda text: {"a": 0.2, "b": 0.4}[text]))

    found = value_of(
        cascade(
            "q", stages=[says("a", "a"), says("b", "b"), dead], thresholds=[0.5, 0.5],
            confidence=sure,
        )
    )  # fmt: skip

    assert (found.text, found.is_accepted) == ("b", False)


def test_where_each_model_fails_so_does_the_cascade_with_its_failures() -> None:
    dead = [Model(ScriptedEngine(lambda r: ""), name) for name in "ab"]
    error = failure_of(
        cascade("q", stages=dead, thresholds=[0.5], confidence=Scored(Check(lambda t: 1.0)))
    )
    assert isinstance(error, TooFewSurvivorsError)
    assert len(error.failures) == 2


def test_a_budget_that_ends_leaves_the_surest_answer_and_asks_nothing_more() -> None:
    models = [says(name, name) for name in "abc"]
    sure = Scored(Check(lambda text: 0.1))
    call = cascade("q", stages=models, thresholds=[0.5, 0.5], confidence=sure)

    found = value_of(call, budget=Budget(max_calls=2))
    assert (found.text, found.is_accepted) == ("a", False)
    assert [len(m.engine.requests) for m in models] == [1, 1, 0]
    assert "max_calls" in found.stages[-1].why

    call = cascade("q", stages=models, thresholds=[0.5, 0.5], confidence=sure)
    assert isinstance(failure_of(call, budget=Budget(max_calls=0)), BudgetExhaustedError)


def test_an_answer_whose_score_the_budget_does_not_hold_is_not_lost() -> None:
    """It was paid for: it has no confidence, and is the surest so far."""
    judge = Model(
        ScriptedEngine(lambda r: (-0.1, -3.0), capabilities=frozenset({Capability.SCORE})), "judge"
    )
    models = [says("a", "a"), says("b", "b")]
    call = cascade("q", stages=models, thresholds=[0.5], confidence=Scored(SelfEvaluation(judge)))

    found = value_of(call, budget=Budget(max_calls=1))

    assert (found.text, found.is_accepted) == ("a", False)
    assert found.stages[0].confidence is None
    assert "BudgetExhaustedError" in found.stages[0].why


def test_a_scorer_that_is_away_costs_an_answer_its_confidence_and_the_next_model_is_asked() -> None:
    judge = Model(
        ScriptedEngine(
            lambda r: EngineUnavailableError("away"), capabilities=frozenset({Capability.SCORE})
        ),
        "judge",
    )
    models = [says("a", "a"), says("b", "b")]
    call = cascade("q", stages=models, thresholds=[0.0], confidence=Scored(SelfEvaluation(judge)))

    found = value_of(call)

    assert (found.text, found.stages[0].text) == ("b", "a")
    assert "away" in found.stages[0].why


@pytest.mark.parametrize("reply", [Completion("half", "length"), Completion(" ")])
def test_a_reply_that_is_no_answer_is_never_the_surest_one(reply: Completion) -> None:
    stages = [Model(ScriptedEngine(lambda r: reply), "cut"), Model(ScriptedEngine(lambda r: ""))]
    error = failure_of(cascade("q", stages=stages, thresholds=[0.5]))
    assert isinstance(error, TooFewSurvivorsError)


def test_a_scorer_that_is_wrong_is_no_models_failure() -> None:
    def broken(text: str) -> float:
        raise KeyError(text)

    models = [says("a", "a"), says("b", "b")]
    call = cascade("q", stages=models, thresholds=[0.5], confidence=Scored(Check(broken)))
    assert isinstance(failure_of(call), StepError)
    assert not models[1].engine.requests


def test_a_cascade_of_programs_nests_and_stands_where_a_model_does() -> None:
    cheap = says("maybe", "cheap")
    fused = mixture_of_agents.as_model(
        proposers=[says("one", "p1"), says("two", "p2")], aggregator=says("fused", "agg"), layers=2
    )
    sure = Scored(Check(lambda text: float(text == "fused")))
    model = cascade.as_model(stages=[cheap, fused], thresholds=[0.5], confidence=sure)

    @program
    def twice(question: str) -> Any:
        return mixture_of_agents(question, proposers=[model], aggregator=model, layers=2)

    assert motet.run(twice("q"), store=None).value == "fused"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"stages": []}, "stages"),
        ({"stages": ["http://x"]}, "stages"),
        ({"thresholds": []}, "thresholds"),
        ({"thresholds": [float("nan")]}, "thresholds"),
        ({"thresholds": ["0.5"]}, "thresholds"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_asked(
    changes: dict[str, Any], named: str
) -> None:
    models = [says("a", "a"), says("b", "b")]
    error = failure_of(cascade("q", **{"stages": models, "thresholds": [0.5], **changes}))
    assert isinstance(error, ConfigError)
    assert named in str(error)
    assert not any(m.engine.requests for m in models)


def test_a_model_without_log_probabilities_is_refused_before_anything_is_asked() -> None:
    able, fused = says("a", "a"), mixture_of_agents.as_model(proposers=[], aggregator=None)
    error = failure_of(cascade("q", stages=[able, fused, able], thresholds=[2.0, 0.5]))
    assert isinstance(error, CapabilityError)
    assert not able.engine.requests


@pytest.mark.parametrize("wrong", [1, 0, True, 2.5])
def test_agreement_takes_two_samples_at_least(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="n is"):
        Agreement(n=wrong)
    with pytest.raises(ConfigError, match="of is"):
        Likelihood("most")  # type: ignore[arg-type]


def test_a_run_that_was_interrupted_asks_no_stage_again(tmp_path: Any) -> None:
    cheap = says("a", "cheap")
    flaky: list[Any] = [EngineUnavailableError("away"), "b"]
    dear = Model(ScriptedEngine(lambda r: flaky.pop(0) if len(flaky) > 1 else flaky[0]), "dear")
    sure = Scored(Check(lambda text: 0.0))
    store = tmp_path / "motet.db"

    def call() -> Any:
        return cascade("q", stages=[cheap, dear], thresholds=[0.5], confidence=sure)

    first = motet.run(call(), store=store)
    again = motet.run(call(), store=store, resume=first.run_id)

    assert again.value == first.value
    assert len(cheap.engine.requests) == 1

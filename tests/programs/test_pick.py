"""Pick: the best-scored of texts that are there, or of several models' answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import motet
from motet import Budget, Capability, Model
from motet.errors import (
    CapabilityError,
    ConfigError,
    EngineUnavailableError,
    RunFailedError,
    TooFewSurvivorsError,
)
from motet.programs.pick import Picked, pick_answer, pick_candidate
from motet.programs.scorers import Check, RewardModel
from motet.testing import ScriptedEngine

LENGTH = Check(lambda text: len(text) / 100)


def value_of(ref: Any, **settings: Any) -> Picked:
    found: Picked = motet.run(ref, store=None, **settings).value
    return found


def cause_of(ref: Any, **settings: Any) -> BaseException | None:
    with pytest.raises(RunFailedError) as failed:
        motet.run(ref, store=None, **settings)
    return failed.value.__cause__


def says(reply: Any, name: str) -> Model:
    return Model(ScriptedEngine(lambda _: reply, name=name), name)


def rewarding(rewards: dict[str, Any]) -> tuple[RewardModel, ScriptedEngine]:
    def script(request: Any) -> Any:
        found = rewards[request.prompt[-1].content]
        return found if isinstance(found, Exception) else (found,)

    engine = ScriptedEngine(script, capabilities=frozenset({Capability.REWARD}))
    return RewardModel(Model(engine, "r")), engine


def test_the_right_one_of_a_set_is_picked_by_a_scorer_that_knows_it() -> None:
    """Wherever it stands, and whatever stands beside it."""
    knows = Check(lambda text: text == "gold")
    for candidates in (["gold", "a", "b"], ["a", "gold"], ["b", "a", "gold"], ["gold"]):
        assert value_of(pick_candidate("q", candidates, scorer=knows)).text == "gold"


def test_a_score_does_not_depend_on_the_other_candidates() -> None:
    alone = value_of(pick_candidate("q", ["abc"], scorer=LENGTH)).candidates[0]
    among = value_of(pick_candidate("q", ["abcdef", "abc", ""], scorer=LENGTH)).candidates[1]

    assert alone == among


def test_of_equal_scores_the_first_is_taken_and_equal_texts_are_scored_once() -> None:
    by, engine = rewarding({"x": 1.0, "y": 1.0})

    found = value_of(pick_candidate("q", ["x", "y", "x"], scorer=by))

    assert found.text == "x"
    assert len(engine.requests) == 2
    assert found.candidates[0] == found.candidates[2]


def test_negative_scores_and_zero_are_scores() -> None:
    found = value_of(
        pick_candidate("q", ["a", "b", "c"], scorer=Check(lambda t: {"a": -2, "b": -1, "c": -3}[t]))
    )

    assert (found.text, found.num_left_out) == ("b", 0)


def test_a_candidate_that_cannot_be_scored_is_left_out_and_counted() -> None:
    """It is no 0: the other one may be worth less than nothing."""
    by, _ = rewarding({"x": EngineUnavailableError("away"), "y": -5.0})

    found = value_of(pick_candidate("q", ["x", "y"], scorer=by))

    assert (found.text, found.num_left_out) == ("y", 1)
    assert found.candidates[0].score is None


def test_a_score_that_is_no_number_is_none() -> None:
    found = pick_candidate("q", ["x", "y"], scorer=Check(lambda t: math.nan if t == "x" else 0.1))

    assert value_of(found).text == "y"
    none = pick_candidate("q", ["x"], scorer=Check(lambda _: math.nan))
    assert isinstance(cause_of(none), TooFewSurvivorsError)


def test_every_model_is_asked_and_the_best_answer_returned() -> None:
    among = {"s": says("short", "a"), "l": says("a longer answer", "b"), "m": says("middling", "c")}

    found = value_of(pick_answer("q", among=among, scorer=LENGTH))

    assert (found.text, found.model) == ("a longer answer", "l")
    assert [each.model for each in found.candidates] == ["s", "l", "m"]
    assert str(found) == "a longer answer"


def test_a_model_that_fails_is_left_out() -> None:
    among = [says(EngineUnavailableError("away"), "a"), says("answer", "b"), says("", "c")]

    found = value_of(pick_answer("q", among=among, scorer=LENGTH))

    assert (found.model, found.num_left_out) == ("b", 2)
    assert [each.text for each in found.candidates] == [None, "answer", None]


def test_where_all_fail_the_first_failure_is_told() -> None:
    among = [says(EngineUnavailableError("gone"), "a"), says(EngineUnavailableError("too"), "b")]

    assert isinstance(
        cause_of(pick_answer("q", among=among, scorer=LENGTH)), EngineUnavailableError
    )


def test_a_picker_is_a_model() -> None:
    """So it may be a proposer, or one of a cascade."""
    among = [says("short", "a"), says("a longer answer", "b")]
    model = pick_answer.as_model(among=among, scorer=LENGTH)

    assert value_of(pick_answer("q", among={"p": model}, scorer=LENGTH)).text == "a longer answer"


def test_a_named_scorer_asks_its_judge() -> None:
    engine = ScriptedEngine(
        lambda r: [-0.1, -3.0] if "good" in str(r.prompt) else [-3.0, -0.1],
        capabilities=frozenset({Capability.SCORE}),
    )

    found = value_of(pick_candidate("q", ["bad", "good"], model=Model(engine)))

    assert found.text == "good"


def test_a_scorer_without_its_capability_is_refused_before_a_call() -> None:
    by, engine = rewarding({})
    unable = RewardModel(Model(ScriptedEngine(lambda _: "x"), "plain"))
    among = [says("x", "a")]

    cause = cause_of(pick_answer("q", among=among, scorer=unable))

    assert isinstance(cause, CapabilityError)
    assert among[0].engine.requests == []  # type: ignore[union-attr]


def test_a_budget_that_ends_picks_of_what_was_scored(tmp_path: Path) -> None:
    by, _ = rewarding({"x": 1.0, "y": 2.0})

    found = value_of(pick_candidate("q", ["x", "y"], scorer=by), budget=Budget(max_calls=1))

    assert (found.text, found.num_left_out) == ("x", 1)


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        (lambda: pick_candidate("q", [], scorer=LENGTH), "candidates is"),
        (lambda: pick_candidate("q", "text", scorer=LENGTH), "candidates is 'text'"),
        (lambda: pick_candidate("q", ["a"], scorer="self"), "give model="),
        (lambda: pick_candidate("q", ["a"], scorer="best", model=says("x", "a")), "'best'"),
        (lambda: pick_answer("q", among=[], scorer=LENGTH), "among is empty"),
        (lambda: pick_answer("q", among=["a"], scorer=LENGTH), "among holds 'a'"),
    ],
)
def test_wrong_settings_are_refused(ref: Any, said: str) -> None:
    with pytest.raises(RunFailedError, match=said) as failed:
        motet.run(ref(), store=None)

    assert isinstance(failed.value.__cause__, ConfigError)


@pytest.mark.model
def test_a_small_model_answers_and_judges() -> None:
    """Mechanics only: two answers, a score from 0 to 1 for each."""
    smol = Model("local:smollm2")

    call = pick_answer("2 + 2?", among={"a": smol, "b": smol}, model=smol, max_tokens=64)
    found = motet.run(call, store=None, seed=1).value

    assert found.model in ("a", "b")
    assert all(each.score is None or 0 <= each.score <= 1 for each in found.candidates)

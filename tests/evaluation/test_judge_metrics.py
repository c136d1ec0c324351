"""Metrics by a judge: scores, comparisons, and verdicts that cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

import motet
from motet import Completion, Model, RunFailedError
from motet.engine import Request
from motet.errors import ConfigError, DataError, EngineUnavailableError, PromptTooLongError
from motet.evaluation.judge_metrics import Judged, Preferred
from motet.evaluation.metrics import check_metric
from motet.evaluation.task import Score
from motet.grading.rows import Row
from motet.testing import ScriptedEngine

ROW = Row(id="r", prompt="Name a cat.", golds=("Tom",), kind="text", task="")


def score(metric: Any, text: str = "Felix", row: Row = ROW) -> Score:
    found: Score = motet.run(metric.score(row, text), store=None).value
    return found


def says(text: str | Completion) -> Model:
    return Model(ScriptedEngine(lambda r: text))


@pytest.mark.parametrize(
    ("reply", "value"), [("Good. [[10]]", 1.0), ("[[1]]", 0.0), ("[[5.5]]", 0.5)]
)
def test_a_rating_is_put_onto_0_to_1(reply: str, value: float) -> None:
    """From the judge's 1 to 10."""
    assert score(Judged(model=says(reply))).value == value


def test_a_judge_that_rates_is_shown_the_right_answer_unless_it_is_not_to_be() -> None:
    """Where the row has one."""
    engine = ScriptedEngine(lambda r: "[[10]]")

    score(Judged(model=Model(engine)))
    score(Judged(model=Model(engine), reference=False))

    shown = ["Tom" in "\n".join(m.content for m in r.prompt) for r in engine.requests]
    assert shown == [True, False]


def test_criteria_are_judged_each_and_their_mean_is_the_value() -> None:
    """In three steps; each stands beside the mean."""

    def script(request: Request) -> str:
        text = "\n".join(turn.content for turn in request.prompt)
        return "2" if "short" in text else "1"

    found = score(
        Judged(model=Model(ScriptedEngine(script)), criteria=("It is short.", "It is true."))
    )

    assert found.value == 0.75
    assert found.others == {"criterion 1": 1.0, "criterion 2": 0.5}


def test_anchors_are_a_scale_of_ones_own() -> None:
    """The last is 1."""
    anchors = ("bad", "fair", "good", "best")

    assert score(Judged(model=says("good"), anchors=anchors)).value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "metric",
    [
        Judged(model=says("I cannot say.")),
        Judged(model=says(Completion("Fine [[9]]", "length"))),
        Judged(model=says("who knows"), criteria=("It is short.",)),
        Judged(model=Model(ScriptedEngine(
            lambda r: PromptTooLongError("long", prompt_tokens=9, max_tokens=1)))),
        Preferred(model=says("Both are nice.")),
    ],
)  # fmt: skip
def test_a_verdict_that_cannot_be_read_is_counted_and_never_scored(metric: Any) -> None:
    """Nor is a judge that fails at this answer."""
    found = score(metric)

    assert (found.value, found.missing) == (None, "not judged")


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        (Judged(model=says("I cannot say. " * 99)), "the judge replied: I cannot say. "),
        (Preferred(model=says("Both are nice.")), "the judge replied: Both are nice."),
        (Judged(model=Model(ScriptedEngine(
            lambda r: PromptTooLongError("long", prompt_tokens=9, max_tokens=1)))),
         "PromptTooLongError: "),
    ],
)  # fmt: skip
def test_why_an_answer_was_not_judged_is_kept(metric: Any, why: str) -> None:
    """The beginning of the judge's reply, or its error."""
    found = score(metric).why

    assert found is not None
    assert found.startswith(why)
    assert len(found) <= 200


def test_a_judge_that_is_away_fails_the_run() -> None:
    """So that it can go on."""
    metric = Judged(model=Model(ScriptedEngine(lambda r: EngineUnavailableError("away"))))

    with pytest.raises(RunFailedError) as failed:
        score(metric)

    assert isinstance(failed.value.__cause__, EngineUnavailableError)


def by_place(winner: str) -> Model:
    """A judge that prefers `winner`, wherever it is shown."""

    def script(request: Request) -> str:
        text = request.prompt[-1].content
        first = text.index("Felix") < text.index("Tom")
        if winner == "first":
            return "[[A]]"
        return "[[A]]" if first == (winner == "Felix") else "[[B]]"

    return Model(ScriptedEngine(script))


@pytest.mark.parametrize(("winner", "value"), [("Felix", 1.0), ("Tom", 0.0), ("first", 0.5)])
def test_an_answer_is_compared_with_the_right_one_in_both_orders(winner: str, value: float) -> None:
    """A judge that always prefers a place calls a tie."""
    assert score(Preferred(model=by_place(winner))).value == value


def test_a_row_without_a_right_answer_cannot_be_compared_with() -> None:
    """It is told before anything is asked."""
    row = Row(id="open", prompt="p", golds=(), kind="text", task="")

    with pytest.raises(DataError, match="'open' has no right answer"):
        check_metric(Preferred(model=says("")), [row])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "local:x"}, "model of judge is 'local:x'"),
        ({"criteria": ["a"]}, "criteria is \\['a'\\]"),
        ({"criteria": ("",)}, "one of criteria is ''"),
        ({"anchors": ("a",)}, "anchors is"),
        ({"anchors": ("a", "a")}, "anchors is"),
        ({"anchors": ("a", "b"), "criteria": ("c",)}, "both given"),
        ({"reference": 1}, "reference is 1"),
        ({"max_tokens": 0}, "max_tokens is 0"),
    ],
)
def test_a_wrong_setting_of_a_judge_is_named(settings: dict[str, Any], said: str) -> None:
    """With its value."""
    with pytest.raises(ConfigError, match=said):
        Judged(**{"model": says(""), **settings})


def test_short_answers_vote_though_a_judge_scores_them() -> None:
    """Free texts do not."""
    number = Row(id="n", prompt="p", golds=("2",), kind="number", task="")
    metric = Judged(model=says(""))

    assert metric.vote_of(number, "The answer is 2.0.") == "2"
    assert metric.vote_of(ROW, "Felix") is None

"""Scorers: each makes the call that gives a number from 0 to 1."""

from __future__ import annotations

import math

import pytest

import motet
from motet import Capability, Model
from motet.errors import ConfigError, StepError
from motet.programs.scorers import Check, Grading, Jury, Scorer, SelfEvaluation, find_scorer
from motet.testing import ScriptedEngine

SCORING = frozenset({Capability.SCORE})


def judge(*probabilities: float) -> tuple[Model, ScriptedEngine]:
    served = ScriptedEngine(lambda _: [math.log(p) for p in probabilities], capabilities=SCORING)
    return Model(served), served


def score(scorer: Scorer, text: str = "4") -> float:
    value: float = motet.run(scorer("2+2?", text), store=None).value
    return value


def test_self_evaluation_is_the_share_of_yes() -> None:
    model, served = judge(0.6, 0.2)

    assert score(SelfEvaluation(model)) == pytest.approx(0.75)
    [request] = served.requests
    assert "2+2?" in request.prompt[-1].content
    assert "unfinished" in request.prompt[-1].content


@pytest.mark.parametrize(("worst", "best", "expected"), [(1, 0, 0.0), (0, 1, 1.0), (0.5, 0.5, 0.5)])
def test_a_grade_is_put_onto_zero_to_one(worst: float, best: float, expected: float) -> None:
    tiny = 1e-12
    model, _ = judge(max(worst, tiny), tiny, tiny, tiny, max(best, tiny))

    assert score(Grading(model)) == pytest.approx(expected, abs=1e-6)


def test_a_check_counts_true_as_one() -> None:
    assert score(Check(lambda text: text == "4")) == 1.0
    assert score(Check(lambda text: text == "5")) == 0.0


def test_a_jury_is_the_mean_and_fails_with_any_of_its_members() -> None:
    fair = Jury((Check(lambda _: 0.2), Check(lambda _: 0.6)))
    assert score(fair) == pytest.approx(0.4)

    with pytest.raises(motet.RunFailedError) as failed:
        score(Jury((Check(lambda _: 0.2), Check(lambda _: 1 / 0))))
    assert isinstance(failed.value.__cause__, StepError)


def test_a_jury_needs_a_member() -> None:
    with pytest.raises(ConfigError, match="scorers is"):
        Jury(())


def test_scorers_are_found_by_name() -> None:
    model, _ = judge(0.5, 0.5)

    assert find_scorer("self", model) == SelfEvaluation(model)
    assert find_scorer("grade", model) == Grading(model)
    with pytest.raises(ConfigError, match="scorer is 'jury'"):
        find_scorer("jury", model)

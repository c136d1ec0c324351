"""Juries: weights, majorities, means, and judges that are left out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import motet
from motet import Budget, Model
from motet.engine import Capability, Completion, Request, TokenLogprob
from motet.errors import (
    ConfigError,
    EngineUnavailableError,
    MotetError,
    RunFailedError,
    TooFewSurvivorsError,
)
from motet.programs.judges.jury import Juror, JuryVerdict, jury_compare, jury_score
from motet.testing import ScriptedEngine


def is_a_first(request: Request) -> bool:
    text = request.prompt[-1].content  # type: ignore[union-attr]
    return text.index("answer a") < text.index("answer b")


def for_(winner: str) -> Model:
    """A judge that is for A, for B, for neither, or says nothing."""

    def script(request: Request) -> Any:
        if winner not in "AB":
            return "[[C]]" if winner == "tie" else winner
        return "[[A]]" if (winner == "A") == is_a_first(request) else "[[B]]"

    return Model(ScriptedEngine(script, name=winner))


def away() -> Model:
    return Model(ScriptedEngine(lambda _: EngineUnavailableError("away"), name="away"))


def jury(*judges: Any, **settings: Any) -> JuryVerdict:
    ref = jury_compare("q", "answer a", "answer b", judges=list(judges), **settings)
    value: JuryVerdict = motet.run(ref, store=None).value
    return value


@pytest.mark.parametrize(
    ("judges", "winner"),
    [
        (["A", "A", "B"], "A"),
        (["B", "tie", "B"], "B"),
        (["A", "B"], "tie"),
        (["A", "tie"], "tie"),
        (["tie", "tie", "A"], "tie"),
        (["A", "nothing", "nothing"], "A"),
        (["A", "B", "nothing"], "tie"),
    ],
)
def test_the_winner_of_most_judges_is_the_jurys(judges: list[str], winner: str) -> None:
    """Equals are a tie; a judge that cannot be read has no vote."""
    found = jury(*map(for_, judges))

    assert found.winner == winner
    assert found.num_left_out == judges.count("nothing")
    assert len(found.ballots) == len(judges)


def test_weights_count() -> None:
    """One judge of weight 3 outvotes two of weight 1."""
    heavy = Juror(model=for_("B"), weight=3)

    found = jury(heavy, for_("A"), for_("A"))

    assert found.winner == "B"
    assert found.share == pytest.approx(0.4)


def test_weights_that_sum_alike_tie() -> None:
    """Also where their sums round."""
    found = jury(
        Juror(model=for_("A"), weight=0.1),
        Juror(model=for_("A"), weight=0.2),
        Juror(model=for_("B"), weight=0.3),
    )

    assert found.winner == "tie"


def test_a_mean_weighs_ties_as_halves() -> None:
    """Two ties and a vote for A are a tie by majority, and A by the mean."""
    judges = [for_("tie"), for_("tie"), for_("A")]

    found = jury(*judges, rule="mean")

    assert found.winner == "A"
    assert found.share == pytest.approx(2 / 3)
    assert jury(*judges).winner == "tie"


def test_a_judge_whose_preference_is_a_number_counts_by_it() -> None:
    """By the mean .9 and a vote for B are B."""
    top = (("m", math.log(0.9)), ("M", math.log(0.1)))
    flipped = (("M", math.log(0.9)), ("m", math.log(0.1)))

    def script(request: Request) -> Completion:
        best = top if is_a_first(request) else flipped
        return Completion(best[0][0], "length", logprobs=(TokenLogprob(*best[0], top=best),))

    sure = Juror(model=Model(ScriptedEngine(script)), form="prefer")

    found = jury(sure, for_("B"), rule="mean")

    assert found.winner == "B"
    assert found.share == pytest.approx(0.45)
    assert found.ballots[0] is not None
    assert found.ballots[0].share == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("form", "reply"), [("auto_j", "The final decision is Tie"), ("pandalm", "Tie")]
)
def test_jurors_may_have_their_own_form(form: Any, reply: str) -> None:
    found = jury(Juror(model=for_(reply), form=form))

    assert (found.winner, found.share, found.num_left_out) == ("tie", 0.5, 0)


def test_a_judge_that_is_away_is_left_out_and_counted() -> None:
    found = jury(away(), for_("A"))

    assert (found.winner, found.num_left_out, found.ballots[0]) == ("A", 1, None)


def test_a_jury_that_cannot_be_read_has_no_verdict() -> None:
    """It is an error, not a tie."""
    found = jury(for_("nothing"), for_("nothing"))

    assert (found.winner, found.share, found.num_left_out) == ("error", None, 2)


def test_a_jury_whose_calls_all_fail_fails() -> None:
    """It says with what."""
    with pytest.raises(RunFailedError) as failed:
        jury(away(), away())

    cause = failed.value.__cause__
    assert isinstance(cause, TooFewSurvivorsError)
    assert "all 2 judges failed" in str(cause)
    assert {type(each) for each in cause.failures} == {EngineUnavailableError}


def test_a_judge_that_lacks_log_probabilities_is_refused_before_any_is_asked() -> None:
    lacking = ScriptedEngine(lambda _: "m", capabilities=frozenset({Capability.SEED}))
    able = ScriptedEngine(lambda _: "[[A]]")

    with pytest.raises(MotetError, match="logprobs"):
        jury(Model(able), Juror(model=Model(lacking), form="prefer"))

    assert lacking.requests == able.requests == []


@pytest.mark.parametrize(("calls", "num_left_out"), [(2, 2), (3, 2), (4, 1), (6, 0)])
def test_a_budget_holds_and_leaves_out_who_was_not_asked(calls: int, num_left_out: int) -> None:
    """Two calls pay for one judge's two orders."""
    engines = [ScriptedEngine(lambda _: "[[C]]", name=str(each)) for each in range(3)]
    ref = jury_compare("q", "answer a", "answer b", judges=[Model(each) for each in engines])

    found = motet.run(ref, store=None, budget=Budget(max_calls=calls)).value

    assert (found.winner, found.num_left_out) == ("tie", num_left_out)
    assert sum(len(each.requests) for each in engines) == calls


def test_a_finished_jury_asks_nothing_again(tmp_path: Path) -> None:
    store = str(tmp_path / "runs.db")
    judges = [for_("A"), for_("nothing"), for_("B")]

    def ref() -> Any:
        return jury_compare("q", "answer a", "answer b", judges=judges)

    first = motet.run(ref(), store=store, seed=1)
    asked = [len(each.engine.requests) for each in judges]  # type: ignore[union-attr]
    again = motet.run(ref(), store=store, seed=1, resume=first.run_id)

    assert again.value == first.value
    assert asked == [2, 2, 2]
    assert [len(each.engine.requests) for each in judges] == asked  # type: ignore[union-attr]


def test_a_jury_that_failed_goes_on_where_it_stood(tmp_path: Path) -> None:
    """The order that was answered before the judge went away is not asked again."""
    store = str(tmp_path / "runs.db")
    is_away = True

    def script(request: Request) -> Any:
        return EngineUnavailableError("away") if is_away and is_a_first(request) else "[[C]]"

    engine = ScriptedEngine(script)

    def ref() -> Any:
        return jury_compare("q", "answer a", "answer b", judges=[Model(engine)])

    with pytest.raises(RunFailedError) as failed:
        motet.run(ref(), store=store, seed=1)
    is_away = False
    engine.requests.clear()
    found = motet.run(ref(), store=store, seed=1, resume=failed.value.run_id).value

    assert (found.winner, found.num_left_out) == ("tie", 0)
    assert [is_a_first(each) for each in engine.requests] == [True]


def test_scores_are_put_onto_one_scale() -> None:
    """10 of 10, 0 of 0 to 10, and 5 of 5 are 1, 0 and 1; weights count."""
    found = motet.run(
        jury_score(
            "q",
            "a",
            judges=[
                Model(ScriptedEngine(lambda _: "[[10]]")),
                Juror(model=Model(ScriptedEngine(lambda _: "0")), form="rubric"),
                Juror(model=Model(ScriptedEngine(lambda _: "Score: 5")), form="additive", weight=2),
                Juror(model=Model(ScriptedEngine(lambda _: "Rating: [[1]]")), form="auto_j"),
                Juror(model=Model(ScriptedEngine(lambda _: "well")), form="rating", weight=9),
                away(),
            ],
        ),
        store=None,
    ).value

    scores = [None if each is None else each.score for each in found.verdicts]
    assert scores == [1, 0, 1, 0, None, None]
    assert found.score == pytest.approx(3 / 5)
    assert found.num_left_out == 2


def test_an_expected_score_sits_on_a_jury() -> None:
    token = TokenLogprob("F", 0.0, top=(("F", 0.0),))
    sure = Model(ScriptedEngine(lambda _: Completion("F", "length", logprobs=(token,))))

    found = motet.run(
        jury_score("q", "a", judges=[Juror(model=sure, form="expected")]), store=None
    ).value

    assert found.score == pytest.approx(0.5)


def test_no_readable_score_is_none() -> None:
    found = motet.run(
        jury_score("q", "a", judges=[Model(ScriptedEngine(lambda _: "well"))]), store=None
    ).value

    assert (found.score, found.num_left_out) == (None, 1)


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf, True])
def test_weights_are_above_zero(weight: Any) -> None:
    with pytest.raises(ConfigError, match="weight is"):
        Juror(model=for_("A"), weight=weight)


def test_wrong_settings_are_refused() -> None:
    """Each is named with its value."""
    model = for_("A")
    with pytest.raises(ConfigError, match=r"judges is \[\]"):
        jury()
    with pytest.raises(ConfigError, match="rule is 'vote'"):
        jury(model, rule="vote")
    with pytest.raises(ConfigError, match="form is 'rubric'"):
        jury(Juror(model=model, form="rubric"))
    with pytest.raises(ConfigError, match="form is 'prefer'"):
        jury_score("q", "a", judges=[Juror(model=model, form="prefer")])

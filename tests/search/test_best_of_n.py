"""Best-of-N: its choices, what they cost, and what they do on real graded samples."""

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from motet.errors import ConfigError, SearchError
from motet.search.answers import maths_answer
from motet.search.best_of_n import BestOfN
from motet.search.driver import search
from motet.search.partials import Step
from motet.search.spending import Limits
from motet.search.tools import FAILED, Problem
from tests.search.script import Script, solve, walk

SCORED = {"1": 0.2, "2": 0.6, "3": 0.6}


def first(text: str) -> str | None:
    return text[:1] or None


SCORES = {"A1": 0.6, "A2": 0.1, "A3": 0.1, "B1": 0.7}


@pytest.mark.parametrize(
    ("choose", "expected"), [("best", "B1"), ("weighted", "A1"), ("majority", "A1")]
)
def test_golden_choices(choose: Any, expected: str) -> None:
    """A .6 .1 .1 against B .7: best takes B, weighted (0.8) and majority take A."""
    script = Script(list(SCORES), SCORES)

    result = solve(BestOfN(n=4, choose=choose, extract=first), script.problem)

    assert result.best is not None and result.best.text == expected
    assert (result.spend.proposals, result.spend.scores) == (4, 4)
    assert [len(batch) for batch in script.asks] == [1]


def test_the_first_that_the_verifier_accepts_is_chosen() -> None:
    """Among accepted ones the first, whatever their scores; then nothing is scored."""
    script = Script(list(SCORES), SCORES, right=lambda text: text in {"A2", "B1"})

    result = solve(BestOfN(n=4, choose="verified", extract=first), script.problem)

    assert result.best is not None and result.best.text == "A2"
    assert result.notes["is_verified"] is True
    assert result.spend.scores == 4
    assert script.scored == []


def test_where_the_verifier_accepts_none_the_best_scored_is_chosen() -> None:
    """The fallback with a scorer; verdicts and scores are both paid for."""
    script = Script(list(SCORES), SCORES, right=lambda text: False)

    result = solve(BestOfN(n=4, choose="verified", extract=first), script.problem)

    assert result.best is not None and result.best.text == "B1"
    assert result.notes["is_verified"] is False
    assert result.spend.scores == 8


def test_without_verdict_and_scorer_the_votes_decide() -> None:
    """The fallback without a scorer is the majority."""
    script = Script(list(SCORES), right=lambda text: False)

    result = solve(BestOfN(n=4, choose="verified", extract=first), script.problem)

    assert result.best is not None and result.best.text == "A1"
    assert result.notes["votes"] == {"A": 3.0, "B": 1.0}


def test_a_choice_by_verifier_needs_one() -> None:
    """A problem without `verify` is refused, not answered otherwise."""
    with pytest.raises(ConfigError, match="verifier"):
        solve(BestOfN(choose="verified"), Script(["a"], {"a": 0.5}).problem)


@pytest.mark.parametrize("choose", ["best", "weighted", "majority", "verified"])
def test_of_one_answer_all_choose_the_same(choose: Any) -> None:
    """n = 1: every selector takes what there is."""
    script = Script(["A1"], SCORES, right=lambda text: False)

    result = solve(BestOfN(n=1, choose=choose, extract=first), script.problem)

    assert result.best is not None and result.best.text == "A1"


@pytest.mark.parametrize("choose", ["best", "weighted", "majority", "verified"])
def test_a_step_is_the_same_from_the_state_read_back(choose: Any) -> None:
    """State and step pass through a checkpoint."""
    script = Script(list(SCORES), SCORES, right=lambda text: text == "B1")

    assert len(walk(BestOfN(n=4, choose=choose, extract=first), script)) == 2


def test_a_limit_of_proposals_draws_fewer() -> None:
    """With a limit of 2, two are drawn and the better of them is the answer."""
    script = Script(list(SCORES), SCORES)

    result = solve(BestOfN(n=4, extract=first), script.problem, limits=Limits(max_proposals=2))

    assert result.best is not None and result.best.text == "A1"
    assert (result.why, result.spend.proposals) == ("limit", 2)


def test_a_failed_score_costs_its_candidate_alone() -> None:
    """The unscored answer is not chosen; the others compete."""
    script = Script(list(SCORES), lambda text: FAILED if text == "B1" else SCORES[text])

    result = solve(BestOfN(n=4, extract=first), script.problem)

    assert result.best is not None and result.best.text == "A1"


def test_a_nan_score_is_an_error() -> None:
    """NaN compares with nothing, and so is refused."""
    result = solve(BestOfN(n=2), Script(["a"], lambda text: float("nan")).problem)

    assert isinstance(result.error, SearchError)


def test_settings_are_checked() -> None:
    """n and choose name their values."""
    unknown: Any = "median"
    with pytest.raises(ConfigError, match="n is 0"):
        BestOfN(n=0)
    with pytest.raises(ConfigError, match="'median'"):
        BestOfN(choose=unknown)


def test_real_samples_give_the_published_rates() -> None:
    """On 87 problems of 8 graded samples with reward scores, the best-scored, the majority and the
    verified answer are right as often as the data set says of rm@8, maj@8 and pass@8."""
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    with gzip.open(Path(folder) / "qwen_bon8/samples.jsonl.gz", "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    expected = json.loads((Path(folder) / "qwen_bon8/expected.json").read_text())
    right: dict[str, int] = {}

    for record in records:
        texts, grades = record["responses"], record["correct"]
        scores = dict(zip(texts, record["rm_score"], strict=True))
        graded = dict(zip(texts, grades, strict=True))
        script = Script(texts, scores, right=lambda text, graded=graded: bool(graded[text]))
        for choose in ("best", "majority", "verified"):
            algorithm: Any = BestOfN(n=8, choose=choose, extract=maths_answer)
            result = solve(algorithm, script.problem)
            assert result.best is not None
            right[choose] = right.get(choose, 0) + graded[result.best.text]

    rates = {name: 100 * number / len(records) for name, number in right.items()}
    assert rates == {
        "best": pytest.approx(expected["rm@8"], abs=1e-3),
        "majority": pytest.approx(expected["maj@8_string"], abs=1e-3),
        "verified": pytest.approx(expected["pass@8"], abs=1e-3),
    }


@pytest.mark.parametrize(
    ("choose", "scores", "expected"),
    [("majority", None, "1"), ("majority", SCORED, "2"), ("weighted", SCORED, "2")],
)
def test_where_nothing_states_an_answer_there_is_one_all_the_same(
    choose: Any, scores: Any, expected: str
) -> None:
    """The best-scored, of unscored ones the first, and no votes in the notes."""
    script = Script(["1", "2", "3"], scores)
    algorithm = BestOfN(n=3, choose=choose, extract=lambda text: None)

    result = solve(algorithm, script.problem)

    assert result.best is not None and result.best.text == expected
    assert "votes" not in result.notes


@pytest.mark.parametrize(
    ("choose", "expected"),
    [("best", "B"), ("majority", "A"), ("weighted", "B"), ("verified", "B")],
)
def test_unfinished_answers_compete_only_where_none_is_finished(choose: Any, expected: str) -> None:
    """Cut texts are better than nothing; beside a finished one they have no score and no vote."""
    scores = {"A": 0.1, "B": 0.9, "C": 0.2}

    def problem(ends: str) -> Problem:
        steps = [Step(text, is_last=text in ends) for text in "AABC"]
        return Problem(
            propose=lambda asks: [steps],
            score=lambda partials: [scores[each.text] for each in partials],
            verify=lambda partials: [False] * len(partials),
        )

    algorithm = BestOfN(n=4, choose=choose, extract=first)
    cut, ended = solve(algorithm, problem("")), solve(algorithm, problem("C"))

    assert cut.best is not None and ended.best is not None
    assert (cut.best.text, cut.best.partial.is_finished) == (expected, False)
    assert (ended.best.text, ended.best.partial.is_finished) == ("C", True)


def test_a_vote_by_weight_of_what_nobody_scored_is_none() -> None:
    """A scorer that fails leaves no answer, whatever the texts state."""
    script = Script(["A1"], lambda text: FAILED)

    assert solve(BestOfN(n=3, choose="weighted", extract=first), script.problem).best is None


def test_what_a_limit_left_unscored_is_better_than_nothing_and_a_failed_scorer_is_not() -> None:
    def propose(asks: Any) -> Any:
        return [[Step("a", is_last=True)] * ask.n for ask in asks]

    def scored(partials: Any) -> Any:
        return [FAILED] * len(partials)

    problem = Problem(propose=propose, score=scored)
    cut = asyncio.run(search(BestOfN(n=2), problem, limits=Limits(max_scores=0)))
    failed = asyncio.run(search(BestOfN(n=2), problem))

    assert cut.best is not None
    assert (cut.best.text, cut.best.score, cut.why) == ("a", None, "limit")
    assert failed.best is None

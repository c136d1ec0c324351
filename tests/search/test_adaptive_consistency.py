"""Adaptive consistency: the stopping rule by its closed form, and what it saves."""

import math
import random
from typing import Any

import pytest

from motet.errors import ConfigError
from motet.search.adaptive_consistency import AdaptiveConsistency, stays_ahead
from motet.search.partials import Step
from motet.search.spending import Limits
from motet.search.tools import Problem
from tests.search.script import Script, solve, walk


def first(text: str) -> str | None:
    return text[:1] or None


def test_golden_posteriors() -> None:
    """P(p > 1/2) of a Beta: 1/2 at a tie, 1 - 2^-(v + 1) against none, 11/16 at 2 to 1."""
    assert stays_ahead(0, 0) == stays_ahead(5, 5) == 0.5
    assert [stays_ahead(v, 0) for v in (1, 2, 3, 4)] == [0.75, 0.875, 0.9375, 0.96875]
    assert stays_ahead(2, 1) == 11 / 16


@pytest.mark.parametrize(("one", "other"), [(3, 1), (6, 2), (1, 4)])
def test_it_is_the_upper_half_of_a_beta_density(one: int, other: int) -> None:
    """The closed form against a fine sum over the density."""
    points = 20_000
    scale = math.gamma(one + other + 2) / math.gamma(one + 1) / math.gamma(other + 1)
    inside = (0.5 + (i + 0.5) / points / 2 for i in range(points))
    total = math.fsum(scale * p**one * (1 - p) ** other for p in inside) / points / 2

    assert stays_ahead(one, other) == pytest.approx(total, abs=1e-7)
    assert stays_ahead(one, other) + stays_ahead(other, one) == pytest.approx(1)


def test_it_stops_as_soon_as_the_leader_is_safe() -> None:
    """Four equal answers make 0.96875 against nothing, above 0.95; three do not."""
    script = Script(["A1", "A2", "A3", "A4", "A5"])

    result = solve(AdaptiveConsistency(extract=first), script.problem)

    assert script.drawn == result.notes["num_draws"] == 4
    assert result.notes["stays_ahead"] == 0.96875
    assert result.best is not None and result.best.text == "A1"
    assert result.spend.scores == 0


def test_a_contested_question_takes_more() -> None:
    """Against a runner-up the leader needs a larger lead; a tie draws all."""
    script, tied = Script(["A", "B", "A", "A", "A", "A", "A", "A"]), Script(["A", "B"])

    solve(AdaptiveConsistency(extract=first), script.problem)
    solve(AdaptiveConsistency(extract=first, max_draws=12), tied.problem)

    assert stays_ahead(5, 1) < 0.95 <= stays_ahead(6, 1)
    assert script.drawn == 7
    assert tied.drawn == 12


def test_the_ends_of_the_threshold() -> None:
    """0 stops as soon as one answer leads; 1 draws all, however long the lead."""
    one, all_ = Script(["A"]), Script(["A"])

    solve(AdaptiveConsistency(threshold=0, extract=first), one.problem)
    solve(AdaptiveConsistency(threshold=1, extract=first, max_draws=80), all_.problem)

    assert (one.drawn, all_.drawn) == (1, 80)


def test_what_states_nothing_has_no_vote() -> None:
    """Empty answers are drawn and paid for, and move no posterior."""
    script = Script(["", "A", "", "A", None, "A", "A"])

    result = solve(AdaptiveConsistency(extract=first, max_draws=7), script.problem)

    assert script.drawn == 7
    assert result.notes["votes"] == {"A": 4.0}


@pytest.mark.parametrize(
    ("answers", "drawn", "ended_by"),
    [
        (["", None], 8, "silent"),
        (["", "A"], 6, "ahead"),
        (["", "", "", "", "", "", "", "A"], 20, "max_draws"),
    ],
)
def test_it_gives_up_where_the_first_draws_state_nothing(
    answers: list[str | None], drawn: int, ended_by: str
) -> None:
    """After `max_silent` draws without any answer, failed ones among them; one answer in time is
    enough to go on."""
    script = Script(answers)
    algorithm = AdaptiveConsistency(extract=first, max_draws=20, max_silent=8, threshold=0.9)

    result = solve(algorithm, script.problem)

    assert script.drawn == drawn
    assert (result.notes["ended_by"], result.why) == (ended_by, "done")


@pytest.mark.parametrize("max_silent", [20, 99])
def test_it_can_be_told_never_to_give_up(max_silent: int) -> None:
    """`max_silent` of `max_draws` or more draws all."""
    script = Script([""])
    algorithm = AdaptiveConsistency(extract=first, max_draws=20, max_silent=max_silent)

    assert solve(algorithm, script.problem).notes["ended_by"] == "max_draws"
    assert script.drawn == 20


def test_where_nothing_states_an_answer_the_first_finished_one_is_returned() -> None:
    """Without votes, behind one that is not finished; where nothing is, the first of those."""

    def propose(asks: Any) -> Any:
        script.drawn += 1
        is_last = script.drawn in ends
        return [[Step(f" {script.drawn}", is_last=is_last)]]

    algorithm = AdaptiveConsistency(extract=lambda text: None, max_silent=3)
    texts = []
    for ends in ({2, 3}, set[int]()):
        script = Script([])
        result = solve(algorithm, Problem(propose=propose))
        assert result.best is not None
        assert (result.notes["votes"], result.notes["ended_by"]) == ({}, "silent")
        texts.append((result.best.text, result.best.partial.is_finished))

    assert texts == [(" 2", True), (" 1", False)]


def test_a_limit_is_said_to_have_ended_it() -> None:
    """Then the rule itself did not: `ended_by` is None, and the best so far is there."""
    script = Script([""])
    algorithm = AdaptiveConsistency(extract=first)

    result = solve(algorithm, script.problem, limits=Limits(max_proposals=2))

    assert (result.why, result.notes["ended_by"]) == ("limit", None)
    assert result.best is not None and result.best.text == ""


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_draws_of_a_batch_that_a_limit_cut_are_counted_as_they_were_paid(batch: int) -> None:
    """`num_draws` is what was asked for, not the batches."""
    script = Script(["A", "B"])
    algorithm = AdaptiveConsistency(extract=first, batch=batch, threshold=1)

    result = solve(algorithm, script.problem, limits=Limits(max_proposals=5))

    assert result.notes["num_draws"] == result.spend.proposals == script.drawn == 5
    assert result.notes["votes"] == {"A": 3.0, "B": 2.0}


def test_batches_round_up() -> None:
    """With batches of 3 the fourth answer comes in the second batch."""
    script = Script(["A"])

    solve(AdaptiveConsistency(extract=first, batch=3), script.problem)

    assert [ask.n for [ask] in script.asks] == [3, 3]


def test_it_agrees_with_the_full_vote_and_takes_less() -> None:
    """On planted answers (A at 0.6, else one of five) of 40 draws it finds the same winner nearly
    always, with under half the draws."""
    agreed = drawn = 0
    for seed in range(300):
        luck = random.Random(seed)
        answers = [luck.choices("ABCDEF", [0.6, 0.2, 0.05, 0.05, 0.05, 0.05])[0] for _ in range(40)]
        script = Script(answers)
        result = solve(AdaptiveConsistency(extract=first), script.problem)
        drawn += script.drawn
        full = max(dict.fromkeys(answers), key=answers.count)
        agreed += result.best is not None and result.best.text == full

    assert agreed / 300 > 0.93
    assert drawn / 300 < 20


def test_a_limit_keeps_the_leader() -> None:
    """Two draws are held; the first of the tied is the answer."""
    script = Script(["B", "A"])
    result = solve(
        AdaptiveConsistency(extract=first), script.problem, limits=Limits(max_proposals=2)
    )

    assert result.why == "limit"
    assert result.best is not None and result.best.text == "B"


def test_a_step_is_the_same_from_the_state_read_back() -> None:
    """State and steps pass through a checkpoint."""
    assert len(walk(AdaptiveConsistency(extract=first), Script(["A", "B", "A", "A", "A", "A"]))) > 4


def test_settings_are_checked() -> None:
    """Each names its value."""
    with pytest.raises(ConfigError, match=r"threshold is 1\.5"):
        AdaptiveConsistency(threshold=1.5)
    with pytest.raises(ConfigError, match="max_draws is 0"):
        AdaptiveConsistency(max_draws=0)
    with pytest.raises(ConfigError, match="batch is 0"):
        AdaptiveConsistency(batch=0)

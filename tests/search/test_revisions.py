"""Revisions: what a chain sees, what it costs, and what is chosen of it."""

from typing import Any

import pytest

from motet.errors import ConfigError
from motet.search.best_of_n import BestOfN
from motet.search.partials import Step
from motet.search.revisions import Revisions
from motet.search.spending import Limits
from motet.search.tools import Problem
from tests.search.script import Script, solve, walk


def first(text: str) -> str | None:
    return text[:1] or None


ANSWERS = ["A1", "B1", "A2", "B2", "A3", "B3", "C1", "C2"]
SCORES = {"A1": 0.3, "A2": 0.3, "A3": 0.3, "B1": 0.7, "B2": 0.1, "B3": 0.05, "C1": 0.2, "C2": 0.2}


def test_one_chain_revises_and_sees_its_last_attempts() -> None:
    """L = N, P = 1: one ask a round, behind the last `memory` attempts, oldest first."""
    script = Script(ANSWERS, SCORES)

    result = solve(Revisions(num_chains=1, length=5, memory=2, extract=first), script.problem)

    seen = [[step.text for step in ask.partial.steps] for [ask] in script.asks]
    assert seen == [[], ["A1"], ["A1", "B1"], ["B1", "A2"], ["A2", "B2"]]
    assert all(ask.is_whole and ask.n == 1 for [ask] in script.asks)
    assert (result.spend.proposals, result.spend.scores) == (5, 5)


@pytest.mark.parametrize("choose", ["best", "weighted", "majority"])
def test_chains_of_length_one_are_best_of_n(choose: Any) -> None:
    """L = 1, P = N: the asks, the answer and the cost are those of best-of-N."""
    ours, theirs = Script(ANSWERS, SCORES), Script(ANSWERS, SCORES)

    revised = solve(Revisions(num_chains=6, length=1, choose=choose, extract=first), ours.problem)
    drawn = solve(BestOfN(n=6, choose=choose, extract=first), theirs.problem)

    assert ours.asks == theirs.asks
    assert revised.best == drawn.best
    assert (revised.spend, revised.candidates) == (drawn.spend, drawn.candidates)


def test_all_chains_go_on_in_one_batch() -> None:
    """P chains of L take L rounds, each one batch; L P proposals in all."""
    script = Script(ANSWERS, SCORES)

    result = solve(Revisions(num_chains=2, length=3, extract=first), script.problem)

    assert [len(batch) for batch in script.asks] == [1, 2, 2]
    assert [len(batch) for batch in script.scored] == [2, 2, 2]
    assert result.spend.proposals == 6
    assert result.notes["chains"] == [3, 3]


def test_the_choice_is_within_chains_and_then_across_them() -> None:
    """The chain A .3 .3 .3 elects A, and B .7 .1 .05 elects B by its best; B's 0.7 beats A's 0.3
    across the chains, though A's attempts weigh more in all."""
    script = Script(ANSWERS, SCORES)

    result = solve(Revisions(num_chains=2, length=3, extract=first), script.problem)

    assert result.best is not None and result.best.text == "B1"
    assert result.notes["votes"] == {"A": 0.3, "B": 0.7}


def test_a_revision_that_spoils_the_answer_is_not_taken() -> None:
    """The choice is over the whole chain, not its last attempt."""
    script = Script(["good", "bad", "bad2"], {"good": 0.9, "bad": 0.1, "bad2": 0.2})

    result = solve(Revisions(num_chains=1, length=3, choose="best"), script.problem)

    assert result.best is not None and result.best.text == "good"


def test_majority_needs_no_scorer() -> None:
    """Each chain elects, then the chains do."""
    script = Script(["A1", "B1", "A2", "B2", "B3", "B4"])

    result = solve(
        Revisions(num_chains=2, length=3, choose="majority", extract=first), script.problem
    )

    assert result.best is not None and result.best.text == "A1"
    assert result.notes["votes"] == {"A": 1.0, "B": 1.0}


def test_a_failed_attempt_costs_its_round_alone() -> None:
    """The chain goes on from what it has; the tree holds the parents."""
    script = Script(["A1", "B1", None, "B2", "A2", "B3"], SCORES)

    result = solve(Revisions(num_chains=2, length=3, extract=first), script.problem)

    assert result.notes["chains"] == [2, 3]
    texts = {node.id: node.step.text for node in result.tree if node.step}
    parents = {texts[node.id]: node.parent for node in result.tree if node.step}
    assert texts[parents["A2"] or 0] == "A1"
    assert texts[parents["B3"] or 0] == "B2"


@pytest.mark.parametrize("choose", ["weighted", "majority"])
def test_where_nothing_states_an_answer_the_best_scored_is_chosen(choose: Any) -> None:
    """Votes of none are no reason to answer nothing."""
    script = Script(["A1", "B1"], {"A1": 0.2, "B1": 0.7})
    algorithm = Revisions(num_chains=1, length=2, choose=choose, extract=lambda text: None)

    result = solve(algorithm, script.problem)

    assert result.best is not None and result.best.text == "B1"


@pytest.mark.parametrize(("ends", "expected"), [([], "B1"), (["A1"], "A1")])
def test_unfinished_attempts_compete_only_where_none_is_finished(
    ends: list[str], expected: str
) -> None:
    """A chain of cut texts is better than nothing, and nothing beside one that ends."""
    steps = [Step(text, is_last=text in ends) for text in ("A1", "B1")]
    problem = Problem(
        propose=lambda asks: [steps], score=lambda batch: [SCORES[c.text] for c in batch]
    )

    result = solve(Revisions(num_chains=2, length=1, choose="best", extract=first), problem)

    assert result.best is not None and result.best.text == expected


def test_without_a_first_answer_it_ends() -> None:
    """Nothing to revise is no endless search."""
    result = solve(Revisions(num_chains=2, length=3), Script([None], SCORES).problem)

    assert result.best is None
    assert (result.why, result.num_steps) == ("done", 1)


def test_a_limit_keeps_the_best_so_far() -> None:
    """With 3 proposals one chain is revised once."""
    script = Script(ANSWERS, SCORES)

    result = solve(
        Revisions(num_chains=2, length=9, extract=first),
        script.problem,
        limits=Limits(max_proposals=3),
    )

    assert result.why == "limit" and result.spend.proposals == 3
    assert result.best is not None and result.best.text == "B1"


def test_a_step_is_the_same_from_the_state_read_back() -> None:
    """State and steps pass through a checkpoint."""
    assert len(walk(Revisions(num_chains=2, length=3, extract=first), Script(ANSWERS, SCORES))) == 4


def test_settings_are_checked() -> None:
    """Each names its value."""
    unknown: Any = "last"
    for name in ("num_chains", "length", "memory"):
        zero: Any = {name: 0}
        with pytest.raises(ConfigError, match=f"{name} is 0"):
            Revisions(**zero)
    with pytest.raises(ConfigError, match="'last'"):
        Revisions(choose=unknown)

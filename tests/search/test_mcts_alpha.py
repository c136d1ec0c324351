"""MCTS-alpha: rollouts by PUCT without a prior, and commitments by visits."""

import random
from dataclasses import replace

import pytest

from motet.errors import ConfigError
from motet.search.mcts import MCTS
from motet.search.mcts_alpha import MCTSAlpha
from motet.search.partials import Candidate, Partial, Step
from motet.search.spending import NOTHING, Limits
from motet.search.tools import FAILED, Problem
from tests.search.script import solve
from tests.search.test_mcts import states


def words(scores, depth=2, letters="abc"):
    """Each step is a letter; `scores` says what a text is worth."""
    score = scores if callable(scores) else lambda text: scores.get(text, 0.0)

    def propose(asks):
        return [
            [Step(c, is_last=ask.partial.depth == depth - 1) for c in letters[: ask.n]]
            for ask in asks
        ]

    return Problem(
        propose=propose, score=lambda batch: [score(each.text) for each in batch], score_range=None
    )


def noise(text):
    return random.Random(text).random()


def test_without_rollouts_it_is_greedy_by_score():
    """num_simulations=0 does not crash, and needs no visit."""
    result = solve(MCTSAlpha(num_simulations=0, n=3), words(noise, depth=3))

    text = ""
    while len(text) < 3:
        text = max((text + c for c in "abc"), key=noise)
    assert (result.why, result.best.text) == ("done", text)


def test_the_most_visited_step_is_committed_to():
    """Rollouts see behind a step that scores less by itself."""
    scores = {"a": 0.6, "b": 0.5, "ba": 1.0, "bb": 1.0, "bc": 1.0}

    greedy = solve(MCTSAlpha(num_simulations=0, n=3), words(scores))
    looked = solve(MCTSAlpha(num_simulations=60, n=3), words(scores))

    assert (greedy.best.text[0], looked.best.text[0]) == ("a", "b")


def test_visits_are_the_rollouts():
    """Each commitment takes num_simulations; the first has the root's visits alone."""
    state = states(MCTSAlpha(num_simulations=7, n=3), words(noise, depth=3))

    tree = state.search.tree
    assert tree.visits[0] == state.search.num_rollouts == 21
    first = state.committed[1]
    assert tree.visits[first] == max(tree.visits[child] for child in tree.children(0))


def test_a_leaf_backs_up_its_own_score():
    """At every node above; the root's first rollout is worth nothing."""
    problem = words({"a": 0.8, "aa": 0.4})

    state = states(MCTSAlpha(num_simulations=3, n=1, max_depth=2), problem)

    assert list(state.search.tree.visits) == [6, 5, 4]
    assert list(state.search.tree.totals) == pytest.approx([2.4, 2.4, 1.6])


def test_commitments_may_be_drawn_by_visits():
    """In proportion to visits^(1 / temperature); near 0 the most visited one."""
    problem = words({"a": 0.9, "b": 0.5, "c": 0.4}, depth=1)
    options = {"num_simulations": 13, "n": 3}
    tree = states(MCTSAlpha(**options), problem).search.tree
    share = tree.visits[1] / 12

    def firsts(temperature):
        algorithm = MCTSAlpha(commit_temperature=temperature, **options)
        return [solve(algorithm, problem, seed=seed).best.text for seed in range(200)]

    assert 0.3 < share < 0.8
    assert firsts(1.0).count("a") == pytest.approx(200 * share, abs=25)
    assert set(firsts(0.001)) == {"a"}


def test_standardised_values_do_not_feel_the_scale():
    """Scores a thousand times as large take the same course; without it exploration drowns."""
    options = {"num_simulations": 20, "n": 3, "max_depth": 3}

    def visits(scale, *, is_standardised):
        problem = words(lambda text: scale * noise(text), depth=3)
        state = states(MCTSAlpha(is_standardised=is_standardised, **options), problem)
        return list(state.search.tree.visits)

    assert visits(1000, is_standardised=True) == visits(1, is_standardised=True)
    assert visits(1000, is_standardised=False) != visits(1, is_standardised=False)


def test_equal_steps_are_scored_once():
    """A child for each text."""
    result = solve(MCTSAlpha(num_simulations=1, n=3), words(noise, letters="aab", depth=1))

    assert (len(result.tree), result.spend.scores) == (3, 2)


def test_a_step_that_cannot_be_scored_is_left_out():
    """The others go on."""

    def score(batch):
        return [FAILED if each.text.endswith("a") else 0.5 for each in batch]

    problem = Problem(propose=words(noise).propose, score=score)

    result = solve(MCTSAlpha(n=3), problem)

    assert "a" not in "".join(node.step.text for node in result.tree if node.step)
    assert result.best.partial.is_finished


@pytest.mark.parametrize("num_simulations", [0, 3])
def test_where_nothing_can_be_proposed_it_ends(num_simulations):
    """With no answer."""
    problem = Problem(
        propose=lambda asks: [FAILED] * len(asks), score=lambda batch: [0.5] * len(batch)
    )

    result = solve(MCTSAlpha(num_simulations=num_simulations), problem)

    assert (result.why, result.best) == ("done", None)


@pytest.mark.parametrize("num_simulations", [0, 3])
def test_a_terminal_root_ends_at_once(num_simulations):
    """Nothing is proposed, scored or rolled out; the statement itself is the answer."""
    problem = replace(words(noise), is_terminal=lambda partial: not partial.depth)

    result = solve(MCTSAlpha(num_simulations=num_simulations), problem)

    assert (result.why, result.num_steps, result.spend) == ("done", 1, NOTHING)
    assert result.best == Candidate(Partial(), 0.0, 0)


@pytest.mark.parametrize("algorithm", [MCTSAlpha(), MCTS()])
def test_an_end_that_the_problem_cannot_tell_is_an_error(algorithm):
    """Also at the root, where it is asked first; nothing was paid for."""
    problem = replace(words(noise), is_terminal=lambda partial: 1 // 0)

    result = solve(algorithm, problem)

    assert str(result.error).startswith("is_terminal failed: ZeroDivisionError")
    assert result.spend == NOTHING


def test_a_step_that_the_problem_ends_is_committed_to_as_finished():
    """Though its proposer goes on: the search ends there."""
    problem = replace(words(noise, depth=9), is_terminal=lambda partial: partial.depth == 2)

    result = solve(MCTSAlpha(n=3), problem)

    assert result.why == "done"
    assert (result.best.partial.depth, result.best.partial.is_finished) == (2, True)


def test_a_limit_keeps_what_was_committed():
    """And what rollouts found beyond."""
    result = solve(MCTSAlpha(n=3), words(noise, depth=4), limits=Limits(max_proposals=25))

    assert result.why == "limit"
    assert result.spend.proposals <= 25
    assert result.best.partial.depth >= 1


def test_the_depth_limit_ends_it():
    """Unfinished."""
    result = solve(MCTSAlpha(n=2, max_depth=3), words(noise, depth=9))

    assert result.best.partial.depth == 3
    assert not result.best.partial.is_finished


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("num_simulations", -1),
        ("n", 0),
        ("commit_temperature", -0.5),
        ("c_init", -1),
        ("c_base", 0),
    ],
)
def test_a_wrong_setting_is_named(setting, value):
    """With its value."""
    with pytest.raises(ConfigError, match=f"{setting} is {value}"):
        MCTSAlpha(**{setting: value})

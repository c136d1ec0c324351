"""Depth-first search with pruning: what is kept, in which order, and what it returns."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.search.dfs_prune import DFSPrune, kept_count
from motet.search.spending import Limits
from motet.search.tools import FAILED, Problem
from tests.search.script import solve
from tests.search.test_mcts_alpha import noise, words


@given(st.integers(0, 100), st.integers(1, 60))
def test_exactly_the_share_is_kept(percent, num):
    """ceil((1 - ratio) * k) of the ratio as it is written; not one more."""
    wanted = math.ceil((1 - Fraction(percent, 100)) * num)

    assert kept_count(num, percent / 100) == wanted


def test_float_dust_keeps_none_more():
    """(1 - 0.7) * 10 is a little over 3 in floats."""
    assert kept_count(10, 0.7) == 3


def asked_in_order(algorithm, problem):
    asked = []

    def propose(asks):
        asked.extend(ask.partial.text for ask in asks)
        return problem.propose(asks)

    solve(algorithm, Problem(propose=propose, score=problem.score, score_range=None))
    return asked


def test_the_best_kept_step_goes_first():
    """And the reference's stack, which takes the worst, is not followed."""
    scores = {"a": 0.5, "b": 0.9, "c": 0.7, "ba": 0.1, "bb": 0.2, "bc": 0.3}
    algorithm = DFSPrune(n=3, prune_ratio=0.3, num_paths=None, max_depth=3)

    order = asked_in_order(algorithm, words(scores, depth=3))

    assert order[:4] == ["", "b", "bc", "bb"]
    assert [text for text in order if len(text) == 1] == ["b", "c", "a"]


def test_without_pruning_it_is_exhaustive():
    """Every path is there, and the answer has the greatest mean."""
    algorithm = DFSPrune(n=3, prune_ratio=0.0, num_paths=None)

    result = solve(algorithm, words(noise, depth=3))

    paths = [a + b + c for a in "abc" for b in "abc" for c in "abc"]
    means = {path: sum(noise(path[: i + 1]) for i in range(3)) / 3 for path in paths}
    assert {each.text for each in result.candidates} == set(paths)
    assert result.best.text == max(paths, key=means.get)
    assert result.best.score == pytest.approx(means[result.best.text])


def test_it_ends_after_enough_paths():
    """With exactly so many finished candidates."""
    for num_paths in (1, 2, 3):
        result = solve(DFSPrune(n=3, num_paths=num_paths), words(noise, depth=2))

        assert sum(each.partial.is_finished for each in result.candidates) == num_paths
        assert result.spend.proposals < 3 * 4


def test_paths_without_end_end_it_after_so_many_expansions():
    """No limit is needed; the best path that the depth limit cut is the answer, and of the others
    the best few stay candidates."""
    problem = words(noise, depth=99)

    result = solve(DFSPrune(n=3, prune_ratio=0.0, num_paths=1), problem)

    cut = [each for each in result.candidates if each.partial.depth == 8]
    assert (result.why, result.num_steps, result.spend.proposals) == ("done", 256, 3 * 256)
    assert (len(cut), result.best) == (32, cut[0])
    deep = [node.id for node in result.tree if node.depth == 8]
    means = [sum(noise(result.tree.partial(node).text[: i + 1]) for i in range(8)) for node in deep]
    assert result.best.score == pytest.approx(max(means) / 8)


def test_without_a_bound_all_paths_are_followed_to_the_depth_limit():
    """`max_expansions=None` expands every inner node."""
    algorithm = DFSPrune(n=3, prune_ratio=0.0, num_paths=1, max_expansions=None, max_depth=6)

    result = solve(algorithm, words(noise, depth=99))

    assert result.num_steps == sum(3**depth for depth in range(6)) == 364


def test_scores_below_the_threshold_are_not_gone_on_with():
    """One that reaches it is."""
    scores = {"a": 0.5, "b": 0.49, "c": 0.8}
    algorithm = DFSPrune(n=3, prune_ratio=0.0, min_score=0.5, num_paths=None)

    order = asked_in_order(algorithm, words(scores))

    assert order == ["", "c", "a"]


def test_where_all_children_are_pruned_the_path_is_cut_there():
    """Nothing below goes on or is an answer, and the search turns back to what is open."""
    scores = {"a": 0.9, "b": 0.6, "aa": 0.1, "ab": 0.2, "ba": 0.7, "bb": 0.1}
    algorithm = DFSPrune(n=2, prune_ratio=0.0, min_score=0.5, num_paths=None, max_depth=9)

    assert asked_in_order(algorithm, words(scores, depth=2, letters="ab")) == ["", "a", "b"]
    result = solve(algorithm, words(scores, depth=2, letters="ab"))
    assert result.why == "done"
    assert [each.text for each in result.candidates] == ["ba", "a"]


@pytest.mark.parametrize(("depth", "is_finished"), [(1, True), (2, False)])
def test_where_all_first_steps_are_pruned_the_best_of_them_is_returned(depth, is_finished):
    """What was paid for is better than nothing, and nothing more is paid."""
    scores = {"a": 0.1, "b": 0.3, "c": 0.3}

    result = solve(DFSPrune(n=3, min_score=0.5), words(scores, depth=depth))

    assert (result.why, result.spend.proposals) == ("done", 3)
    assert (result.best.text, result.best.partial.is_finished) == ("b", is_finished)
    assert result.best.score == 0.3


def test_among_equal_scores_the_first_proposed_are_kept_and_go_first():
    """The order is the proposer's, at every node, and so is the answer of equal means."""
    algorithm = DFSPrune(n=3, prune_ratio=0.5, num_paths=None)
    problem = words(lambda text: 0.5, depth=2)

    assert asked_in_order(algorithm, problem) == ["", "a", "b"]
    result = solve(algorithm, problem)
    assert [each.text for each in result.candidates] == ["aa", "ab", "ba", "bb"]
    assert result.best.text == "aa"


def test_the_depth_limit_finishes_nothing():
    """The best unfinished path is returned."""
    result = solve(DFSPrune(n=2, max_depth=2, num_paths=None), words(noise, depth=5))

    assert result.best.partial.depth == 2
    assert not result.best.partial.is_finished


def test_a_failed_proposal_ends_its_path_only():
    """Others are gone on with."""
    problem = words({"a": 0.9, "b": 0.5})

    def propose(asks):
        return [FAILED] if asks[0].partial.text == "a" else problem.propose(asks)

    result = solve(DFSPrune(n=2), Problem(propose=propose, score=problem.score, score_range=None))

    assert result.best.text[0] == "b"
    assert result.best.partial.is_finished
    assert "a" in {each.text for each in result.candidates}


def test_a_limit_keeps_the_best_so_far():
    """The open path with the best mean."""
    problem = words({"a": 0.9, "b": 0.5}, depth=4)

    result = solve(DFSPrune(n=2), problem, limits=Limits(max_proposals=2))

    assert (result.why, result.best.text) == ("limit", "a")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("n", 0), ("max_depth", 0), ("prune_ratio", 1.5), ("min_score", math.nan), ("num_paths", 0)],
)
def test_a_wrong_setting_is_named(setting, value):
    """With its value."""
    with pytest.raises(ConfigError, match=f"{setting} is {value}"):
        DFSPrune(**{setting: value})

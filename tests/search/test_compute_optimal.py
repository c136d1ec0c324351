"""Compute-optimal search: bins, tables, folds, costs, and the wrapped algorithm."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.search.beam import Beam
from motet.search.best_of_n import BestOfN
from motet.search.checkpoints import FileCheckpoint
from motet.search.compute_optimal import (
    Bins,
    ComputeOptimal,
    StrategyTable,
    Trial,
    cross_validated,
    lookahead_cost,
)
from motet.search.revisions import Revisions
from motet.search.spending import Limits
from motet.search.tools import FAILED
from tests.search.script import Script, solve, walk

ACCURACY = {
    (0, "beam"): 0.5, (0, "revise"): 0.25, (1, "beam"): 0.5, (1, "revise"): 0.75,
    (2, "beam"): 0.75, (2, "revise"): 1.0,
}  # fmt: skip


def trials(num_questions: int = 12, n: int = 4) -> list[Trial]:
    return [
        Trial(f"q{i}", i % 3, n, strategy, ACCURACY[i % 3, strategy])
        for i in range(num_questions)
        for strategy in ("beam", "revise")
    ]


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=7, max_size=60, unique=True),
    st.integers(1, 7),
)
def test_bins_of_different_values_are_balanced(values: list[float], num_bins: int) -> None:
    """Sizes differ by at most 1, and a harder question is never in a higher bin."""
    bins = Bins.of(values, num_bins)
    placed = [bins.bin(value) for value in sorted(values)]
    sizes = [placed.count(each) for each in range(num_bins)]

    assert bins.num_bins == num_bins
    assert placed == sorted(placed)
    assert max(sizes) - min(sizes) <= 1


def test_equal_values_share_a_bin() -> None:
    """Where pass@1 is 0 for most questions they are one bin, the hardest."""
    bins = Bins.of([0.0] * 7 + [0.5, 0.75, 1.0], 5)

    assert [bins.bin(value) for value in (0.0, 0.5, 0.75, 1.0)] == [0, 3, 4, 4]


def test_values_beyond_those_seen_have_a_bin() -> None:
    """Lower ones are hardest, higher ones easiest."""
    bins = Bins.of([0.1, 0.2, 0.3, 0.4, 0.5], 5)

    assert [bins.bin(value) for value in (-9, 0.1, 0.25, 0.5, 9)] == [0, 0, 2, 4, 4]


def test_the_table_takes_the_best_strategy_of_each_bin() -> None:
    """With known accuracies it is the argmax, and its mixture is at least as good as each fixed
    strategy on the fold that it was fitted on."""
    table = StrategyTable.fit(trials(), 3)

    assert [table.strategy(each, 4) for each in range(3)] == ["beam", "revise", "revise"]
    assert table.accuracy(trials()) == pytest.approx((0.5 + 0.75 + 1.0) / 3)


@given(st.integers(0, 9_999))
def test_the_mixture_is_never_worse_than_a_fixed_strategy_where_it_was_fitted(seed: int) -> None:
    """On the fit fold, for any accuracies."""
    noise = random.Random(seed)
    given_ = [Trial(t.question, t.bin, t.n, t.strategy, noise.random()) for t in trials()]
    table = StrategyTable.fit(given_, 3)

    for name in ("beam", "revise"):
        fixed = [t.accuracy for t in given_ if t.strategy == name]
        assert table.accuracy(given_) >= sum(fixed) / len(fixed) - 1e-12


def test_lookup_is_total() -> None:
    """Every bin and every n has a strategy: a bin without trials takes the best over all, an n
    that was not tried the next lower one, or the lowest."""
    given_ = [*trials(n=4), *(Trial("q", 0, 16, "wide", 1.0), Trial("r", 0, 16, "deep", 0.5))]
    table = StrategyTable.fit(given_, 5)

    for place in range(5):
        for n in (1, 4, 5, 15, 16, 999):
            assert table.strategy(place, n) in {"beam", "revise", "wide"}
    assert [table.strategy(0, n) for n in (1, 4, 15, 16, 999)] == ["beam"] * 3 + ["wide"] * 2
    assert table.strategy(4, 4) == "revise"
    assert table.strategy(3, 16) == "wide"
    with pytest.raises(ConfigError, match="bin is 5"):
        table.strategy(5, 4)


def test_folds_do_not_see_their_own_questions() -> None:
    """Two questions that each favour what fails on the other: fitted and tested on one fold the
    accuracy is 1, cross-validated it is 0."""
    given_ = [
        Trial("p", 0, 4, "beam", 1.0), Trial("p", 0, 4, "revise", 0.0),
        Trial("q", 0, 4, "beam", 0.0), Trial("q", 0, 4, "revise", 1.0),
    ]  # fmt: skip

    assert StrategyTable.fit(given_[:2], 1).accuracy(given_[:2]) == 1.0
    assert cross_validated(given_, 1) == 0.0
    assert cross_validated(trials(), 3) == pytest.approx(0.75)


def test_lookahead_costs_its_steps() -> None:
    """N samples with k steps of lookahead take N (k + 1) generations."""
    assert [lookahead_cost(8, k) for k in range(4)] == [8, 16, 24, 32]


SCORES = {"A": 0.9, "B": 0.2, "C": 0.3}
ALGORITHMS = (Revisions(num_chains=1, length=3), BestOfN(n=2))


def optimal(**settings: Any) -> ComputeOptimal:
    return ComputeOptimal(
        **{"algorithms": ALGORITHMS, "bins": Bins((0.5,)), "num_probes": 2, **settings}
    )


@pytest.mark.parametrize(
    ("answers", "place", "asks"), [("BCB", 0, [2, 1, 1, 1]), ("AAA", 1, [2, 2])]
)
def test_the_bin_of_the_probes_decides(answers: str, place: int, asks: list[int]) -> None:
    """Mean score 0.25 is hard and is revised, 0.9 is easy and drawn side by side."""
    script = Script(answers, SCORES)

    result = solve(optimal(), script.problem)

    assert [sum(ask.n for ask in batch) for batch in script.asks] == asks
    assert result.notes["bin"] == place
    assert result.notes["strategy"] == type(ALGORITHMS[place]).__name__


def test_the_cost_is_told_with_and_without_the_estimate() -> None:
    """The probes are part of the spend, and stand alone in the notes."""
    known = solve(optimal(bin=1), Script("A", SCORES).problem)
    estimated = solve(optimal(), Script("A", SCORES).problem)

    assert known.notes["estimate"] == {"proposals": 0, "scores": 0}
    assert estimated.notes["estimate"] == {"proposals": 2, "scores": 2}
    assert (known.spend.proposals, known.spend.scores) == (2, 2)
    assert (estimated.spend.proposals, estimated.spend.scores) == (4, 4)


def test_with_a_known_bin_it_is_the_bin_s_algorithm() -> None:
    """Asks, answer and tree are those of the algorithm alone."""
    ours, theirs = Script("BAC", SCORES), Script("BAC", SCORES)

    wrapped = solve(optimal(bin=0, bins=None), ours.problem)
    alone = solve(ALGORITHMS[0], theirs.problem)

    assert ours.asks == theirs.asks
    assert (wrapped.best, wrapped.tree, wrapped.spend) == (alone.best, alone.tree, alone.spend)


def test_probes_without_a_score_are_the_hardest() -> None:
    """Where the scorer fails the question is in bin 0, and the search goes on."""
    result = solve(optimal(), Script("ABC", lambda text: FAILED).problem)

    assert result.notes["bin"] == 0
    assert result.spend.proposals == 2 + 3


def test_a_probe_answers_where_nothing_else_does() -> None:
    """A limit that holds the probes only still has an answer."""
    result = solve(optimal(), Script("AB", SCORES).problem, limits=Limits(max_proposals=2))

    assert result.why == "limit"
    assert result.best is not None and result.best.text == "A"


def test_a_step_is_the_same_from_the_state_read_back() -> None:
    """The inner state of every algorithm passes through a checkpoint."""
    algorithms = (Revisions(num_chains=2, length=2), Beam(n=4, width=2))

    for place in (0, 1):
        found = walk(optimal(algorithms=algorithms, bin=place), Script("ABC", SCORES))
        assert len(found) > 1
    assert len(walk(optimal(), Script("BCB", SCORES))) == 1 + 1 + 3


def test_a_resumed_search_is_the_uninterrupted_one(tmp_path: Any) -> None:
    """Stopped after every step and gone on with, it comes to the same."""
    whole = solve(optimal(), Script("BCBAC", SCORES).problem)
    script = Script("BCBAC", SCORES)
    checkpoint = FileCheckpoint(tmp_path / "state")
    for steps in range(1, 6):
        parted = solve(
            optimal(), script.problem, limits=Limits(max_steps=steps), checkpoint=checkpoint
        )

    assert (parted.best, parted.tree, parted.spend) == (whole.best, whole.tree, whole.spend)


def test_settings_are_checked() -> None:
    """Bins, algorithms and trials that do not fit are named."""
    for wrong, message in [
        ({"bins": None}, "bins is None"),
        ({"bins": Bins((0.1, 0.5))}, "algorithms has 2"),
        ({"bin": 2}, "bin is 2"),
        ({"num_probes": 0}, "num_probes is 0"),
    ]:
        with pytest.raises(ConfigError, match=message):
            optimal(**wrong)
    with pytest.raises(ConfigError, match="ascend"):
        Bins((0.5, 0.1))
    with pytest.raises(ConfigError, match="num_bins is 5"):
        Bins.of([0.1], 5)
    with pytest.raises(ConfigError, match="trials is empty"):
        StrategyTable.fit([], 2)
    with pytest.raises(ConfigError, match="bin is 2"):
        StrategyTable.fit(trials(), 2)
    with pytest.raises(ConfigError, match="no trial of 'beam'"):
        StrategyTable.fit(trials(), 3).accuracy([Trial("z", 0, 4, "revise", 1.0)])
    with pytest.raises(ConfigError, match="num_folds is 2"):
        cross_validated(trials(1), 3)

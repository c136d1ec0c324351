"""Agreement beyond chance, and rank correlations."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.judging.agreement import (
    cohen_kappa,
    fleiss_kappa,
    kendall_tau,
    krippendorff_alpha,
    percent_agreement,
    spearman,
    vote_agreement,
)
from motet.judging.datasets import read_wildbench

CLASSES = st.sampled_from(["A", "B", "tie"])
TWO = st.lists(st.tuples(CLASSES, CLASSES), min_size=2).filter(
    lambda rows: len({name for row in rows for name in row}) > 1
)

KRIPPENDORFF = [
    [1, 1, None, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [None, 5, 5, 5],
    [None, None, 1, 1],
    [None, 3, None, None],
]
"""Of Krippendorff 2011, section C: twelve units and four observers."""

FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
"""Counts of ten subjects, fourteen raters and five categories: the usual worked example."""


def data(name: str) -> Path:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    return Path(folder) / name


def test_kappa_of_the_worked_example() -> None:
    """AABBTTAB and ABBBTAAB agree on 75 %, 35.9375 % by chance, and have a kappa of 0.60976."""
    assert percent_agreement("AABBTTAB", "ABBBTAAB") == 0.75
    assert cohen_kappa("AABBTTAB", "ABBBTAAB") == pytest.approx((0.75 - 0.359375) / (1 - 0.359375))
    assert cohen_kappa("AABBTTAB", "ABBBTAAB") == pytest.approx(0.60976, abs=5e-6)


def test_a_constant_rater_has_no_kappa() -> None:
    """Who says one thing throughout agrees by chance only."""
    assert cohen_kappa("AAAA", "ABAB") == 0
    assert cohen_kappa("AAAA", "BBBB") == 0


def test_two_equal_constant_raters_have_kappa_one_with_a_warning() -> None:
    """Kappa is undefined there, so the 1 is said to be one by agreement of words."""
    with pytest.warns(UserWarning, match="one class throughout"):
        assert cohen_kappa("AAA", "AAA") == 1
    with pytest.warns(UserWarning, match="one class throughout"):
        assert fleiss_kappa(["AAA", "AAA"]) == 1
    with pytest.warns(UserWarning, match="one class throughout"):
        assert krippendorff_alpha([[1, 1], [1, None], [1, 1]]) == 1


@given(rows=TWO, weights=st.sampled_from([None, "linear", "quadratic"]))
def test_kappa_is_that_of_scikit_learn(rows: Any, weights: Any) -> None:
    """Plain and weighted kappa agree with another implementation, in any order of raters."""
    metrics = pytest.importorskip("sklearn.metrics")
    first, second = zip(*rows, strict=True)
    order = ["A", "tie", "B"]

    kappa = cohen_kappa(first, second, weights=weights, categories=order)

    theirs = metrics.cohen_kappa_score(first, second, weights=weights, labels=order)
    assert kappa == pytest.approx(theirs)
    assert kappa == pytest.approx(cohen_kappa(second, first, weights=weights, categories=order))


def test_weights_need_an_order_of_the_classes() -> None:
    """Names do not sort as they rank, so weights without categories are refused."""
    with pytest.raises(DataError, match="give categories"):
        cohen_kappa(["low", "high"], ["low", "mid"], weights="linear")
    with pytest.raises(DataError, match="'mid' is none of"):
        cohen_kappa(["low", "high"], ["low", "mid"], categories=["low", "high"])
    with pytest.raises(ConfigError, match="weights is 'cubic'"):
        cohen_kappa([1, 2], [1, 2], weights="cubic")  # type: ignore[arg-type]
    assert cohen_kappa([1, 2, 10], [2, 1, 10], weights="quadratic") > cohen_kappa(
        [1, 2, 10], [2, 1, 10]
    )


def test_raters_need_the_same_items() -> None:
    """Lists of different lengths, and empty ones, are refused."""
    for measure in (percent_agreement, cohen_kappa, spearman, kendall_tau):
        with pytest.raises(DataError, match="2 items and the other 1"):
            measure([1, 2], [1])
        with pytest.raises(DataError, match="no items"):
            measure([], [])


def test_fleiss_kappa_of_the_worked_example() -> None:
    """Fourteen raters of ten subjects have a kappa of 0.210."""
    rows = [[c for c, times in enumerate(counts) for _ in range(times)] for counts in FLEISS]

    assert fleiss_kappa(rows) == pytest.approx(0.20993, abs=5e-6)
    assert fleiss_kappa([row[::-1] for row in rows]) == fleiss_kappa(rows)


def test_fleiss_kappa_takes_no_gaps() -> None:
    """Items with different numbers of ratings are sent to another statistic."""
    with pytest.raises(DataError, match="Krippendorff"):
        fleiss_kappa(["AAB", "AB"])
    with pytest.raises(DataError, match="at least 2"):
        fleiss_kappa(["A", "B"])
    with pytest.raises(DataError, match="0 items"):
        fleiss_kappa([])


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_of_the_worked_example(level: Any, alpha: float) -> None:
    """Four observers with gaps have the published alphas, whether a gap is None or NaN."""
    as_nan = [[math.nan if value is None else value for value in row] for row in KRIPPENDORFF]

    assert krippendorff_alpha(KRIPPENDORFF, level=level) == pytest.approx(alpha, abs=5e-4)
    assert krippendorff_alpha(as_nan, level=level) == krippendorff_alpha(KRIPPENDORFF, level=level)


def test_alpha_needs_something_to_compare() -> None:
    """One rating an item is nothing, and names have no distances."""
    with pytest.raises(DataError, match="none of 2 items"):
        krippendorff_alpha([[1, None], [None, 2]])
    with pytest.raises(DataError, match="ordinal alpha needs numbers"):
        krippendorff_alpha([["A", "B"], ["A", "A"]], level="ordinal")
    assert krippendorff_alpha([["A", "A"], ["B", "B"]]) == 1


def test_rank_correlations_of_ties() -> None:
    """Equal values share their average rank, and tau is corrected for them."""
    first, second = [1, 2, 2, 3], [1, 3, 2, 4]

    assert spearman(first, second) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert kendall_tau(first, second) == pytest.approx(5 / math.sqrt(5 * 6))
    assert spearman(first, [-value for value in second]) == -spearman(first, second)


def test_a_constant_rater_has_no_ranks() -> None:
    """A correlation that does not exist is an error, and so is a value that is no number."""
    for measure in (spearman, kendall_tau):
        with pytest.raises(DataError, match="gives 3 throughout"):
            measure([3, 3, 3], [1, 2, 3])
        with pytest.raises(DataError, match="no finite number"):
            measure([3, math.nan, 3], [1, 2, 3])


def test_votes_count_with_and_without_ties() -> None:
    """One set-up counts all votes, the other those where neither said tie."""
    judge: list[Any] = ["A", "tie", "B", "A"]
    people: list[Any] = ["A", "A", "A", "tie"]

    assert vote_agreement(judge, people) == 0.25
    assert vote_agreement(judge, people, with_ties=False) == 0.5
    with pytest.raises(DataError, match="none is left"):
        vote_agreement(["tie"], ["A"], with_ties=False)
    with pytest.raises(DataError, match="errors are no votes"):
        vote_agreement(["error"], ["A"])


# ---- the published sets ----------------------------------------------------------------------


def test_judges_of_wildbench_rank_models_alike() -> None:
    """Two judges of the same six models order them the same, and their scores agree as intervals
    more than as names."""
    tasks = read_wildbench(data("wildbench"))
    both = [
        (task.scores["gpt-4o"][model].score, task.scores["gpt-4-turbo"][model].score)
        for task in tasks
        for model in task.scores.get("gpt-4o", {})
        if model in task.scores.get("gpt-4-turbo", {})
    ]
    first, second = zip(*both, strict=True)

    assert spearman(first, second) > kendall_tau(first, second) > 0.5
    interval = krippendorff_alpha(both, level="interval")
    assert interval > krippendorff_alpha(both) + 0.2

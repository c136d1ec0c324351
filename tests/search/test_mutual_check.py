"""The second model's check: what is hidden, and when it agrees."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.search.mutual_check import agreed_with, masked
from motet.search.partials import Partial, Step
from motet.search.rstar_problem import RStarProblem
from motet.search.spending import NO_LIMITS, NOTHING, Limits
from motet.search.tools import FAILED

SOLUTION = Partial((Step("one "), Step("two "), Step("three. "), Step("answer is 6", is_last=True)))


@given(st.integers(2, 40), st.integers(0, 10**6))
def test_the_boundary_lies_within_a_fifth_and_a_half(num, seed):
    """Of the steps; what is left is the beginning."""
    solution = Partial(tuple(Step(f"{i} ") for i in range(num)))

    shown = masked(solution, random.Random(seed), 0.2, 0.5)

    assert 0.2 <= (num - shown.depth) / num <= 0.5
    assert solution.steps[: shown.depth] == shown.steps


@given(st.integers(2, 40), st.integers(0, 10**6))
def test_a_single_step_is_hidden_by_words(num, seed):
    """Within the same bounds."""
    text = " ".join(map(str, range(num)))

    shown = masked(Partial((Step(text, is_last=True),)), random.Random(seed), 0.2, 0.5)

    assert text.startswith(shown.text)
    assert 0.2 <= (num - len(shown.text.split())) / num <= 0.5
    assert not shown.is_finished


def test_every_boundary_comes_up():
    """It is drawn by chance."""
    solution = Partial(tuple(Step(str(i)) for i in range(10)))

    depths = {masked(solution, random.Random(seed), 0.2, 0.5).depth for seed in range(60)}

    assert depths == {5, 6, 7, 8}


def test_what_has_no_boundary_is_not_masked():
    """One word."""
    assert masked(Partial((Step("six"),)), random.Random(0), 0.2, 0.5) is None


def check(complete, *, limits=NO_LIMITS, num=4, least=0.5, solutions=(SOLUTION,)):
    problem = RStarProblem(
        propose=lambda moves: [], complete=complete, extract=lambda text: text.split()[-1]
    )
    tools = problem.tools(limits, NOTHING)
    return asyncio.run(
        agreed_with(
            tools,
            solutions,
            [random.Random(i) for i in range(len(solutions))],
            num_masked=num,
            shares=(0.2, 0.5),
            min_agreement=least,
        )
    )


@pytest.mark.parametrize(
    ("texts", "least", "agrees"),
    [
        (["6", "6", "7", "7"], 0.5, True),
        (["6", "7", "7", "7"], 0.5, False),
        (["6", "6", "6", "7"], 1.0, False),
        (["6", FAILED, FAILED, FAILED], 1.0, True),
        ([FAILED] * 4, 0.0, False),
        (["7"] * 4, 0.0, False),
    ],
)
def test_enough_completions_must_agree(texts, least, agrees):
    """One in any case; what failed does not count."""
    assert check(lambda partials: texts, least=least) == [agrees]


def test_all_solutions_are_asked_in_one_batch():
    """With so many completions each."""
    sizes = []

    check(lambda each: sizes.append(len(each)) or ["6"] * len(each), solutions=(SOLUTION,) * 3)

    assert sizes == [12]


def test_a_limit_leaves_the_rest_unchecked():
    """And nothing is kept without an answer."""
    found = check(
        lambda each: ["6"] * len(each), limits=Limits(max_scores=4), solutions=(SOLUTION,) * 2
    )

    assert found == [True, False]

"""Every algorithm by name against budgets, scorers, proposers and verifiers that are of no use."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from motet.errors import MotetError, SearchError
from motet.search.astar import AStar
from motet.search.driver import Progress, SearchResult, search
from motet.search.partials import Partial, Step
from motet.search.registry import ALGORITHMS, find_algorithm
from motet.search.revisions import Revisions
from motet.search.spending import NO_LIMITS, Limits
from motet.search.tools import Ask, Problem
from motet.testing.search import planted_problem

SEARCHES: dict[str, Any] = {name: find_algorithm(name) for name in ALGORITHMS}
SEARCHES |= {
    "best-of-n by verifier": find_algorithm("best-of-n(choose='verified')"),
    "revisions": Revisions(),
    "astar without heuristic": find_algorithm("astar(heuristic='zero', cost='consistent')"),
    "mcts by puct": find_algorithm("mcts(rule='puct', width=3)"),
}
UNSCORED = {"adaptive-consistency", "best-of-n by verifier"}
"""Those that score nothing where the first answer is right."""
every_search = pytest.mark.parametrize("name", SEARCHES)
every_scoring_search = pytest.mark.parametrize("name", [n for n in SEARCHES if n not in UNSCORED])
WHOLE = planted_problem()


def slowly(call: Any) -> Any:
    """Give the loop a turn at each call, so that the time limit of `run` holds."""

    async def answer(batch: Sequence[Any]) -> Any:
        await asyncio.sleep(0)
        return call(batch)

    return answer


def run(name: str, limits: Limits = NO_LIMITS, **callables: Any) -> tuple[SearchResult, Any]:
    """Return the result and the best of the last step; a search without end fails."""
    problem = replace(WHOLE, verify=lambda partials: [True] * len(partials))
    problem = replace(problem, **callables)
    problem = replace(
        problem,
        propose=slowly(problem.propose),
        score=slowly(problem.score),
        verify=slowly(problem.verify),
    )
    seen: list[Progress] = []

    async def bounded() -> SearchResult:
        async with asyncio.timeout(20):
            return await search(SEARCHES[name], problem, limits=limits, on_step=seen.append)

    result = asyncio.run(bounded())
    return result, seen[-1].best if seen else None


class Later:
    """Answers as `good` does, and from call number `first` on as `bad` does."""

    def __init__(self, good: Any, bad: Any, first: int) -> None:
        self.good, self.bad, self.first = good, bad, first
        self.num_calls = 0

    def __call__(self, batch: Sequence[Any]) -> Any:
        self.num_calls += 1
        return (self.good if self.num_calls < self.first else self.bad)(batch)


@every_search
@pytest.mark.parametrize(
    "limits",
    [
        {"max_proposals": 0},
        {"max_tokens": 7},
        {"max_scores": 0},
        {"max_steps": 0},
        {"timeout_s": 0},
        {"max_proposals": 0, "max_scores": 0},
        {"max_proposals": 1, "max_scores": 1},
        {"max_tokens": 8, "max_scores": 1},
    ],
    ids=str,
)
def test_a_budget_too_small_for_one_step_ends_it_without_an_error(name: str, limits: Any) -> None:
    """Nothing beyond it reaches the callables; what it held is the answer, if anything."""
    counts = {"proposals": 0, "scores": 0}

    def propose(asks: Sequence[Ask]) -> Any:
        counts["proposals"] += sum(ask.n for ask in asks)
        return WHOLE.propose(asks)

    def score(partials: Sequence[Partial]) -> Any:
        counts["scores"] += len(partials)
        assert WHOLE.score is not None
        return WHOLE.score(partials)

    def verify(partials: Sequence[Partial]) -> Any:
        counts["scores"] += len(partials)
        return [False] * len(partials)

    result, _ = run(name, Limits(**limits), propose=propose, score=score, verify=verify)

    assert result.error is None
    assert result.why in {"limit", "steps", "time", "done"}
    assert counts["proposals"] <= limits.get("max_proposals", math.inf)
    assert counts["scores"] <= limits.get("max_scores", math.inf)
    if limits.get("max_proposals") == 0:
        assert (result.best, result.why) == (None, "limit")


@every_scoring_search
@pytest.mark.parametrize("first", [1, 2, 4])
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, 1.01, -0.01, 10**400, "0.5", None, True, [0.5]], ids=repr
)
def test_a_score_that_is_none_is_an_error_beside_the_best_so_far(
    name: str, value: Any, first: int
) -> None:
    """From whichever call it comes; the best of the steps before is kept."""
    later = Later(WHOLE.score, lambda partials: [value] * len(partials), first)

    result, best = run(name, score=later)

    assert later.num_calls < first or isinstance(result.error, SearchError)
    assert result.error is None or str(result.error).startswith("score gave")
    assert result.best == best


@every_scoring_search
@pytest.mark.parametrize("surplus", [-1, 1], ids=str)
def test_too_few_or_too_many_scores_are_an_error(name: str, surplus: int) -> None:
    """Both numbers are in it."""
    result, _ = run(name, score=lambda partials: [0.5] * (len(partials) + surplus))

    assert result.why == "failed"
    assert "results for a batch of" in str(result.error)


@every_scoring_search
@pytest.mark.parametrize("first", [1, 3])
def test_a_scorer_that_raises_is_an_error_beside_the_best_so_far(name: str, first: int) -> None:
    """Its own error is the cause."""

    def broken(partials: Sequence[Partial]) -> Any:
        raise ZeroDivisionError("planted")

    later = Later(WHOLE.score, broken, first)
    result, best = run(name, score=later)

    assert later.num_calls < first or result.why == "failed"
    assert result.error is None or isinstance(result.error.__cause__, ZeroDivisionError)
    assert result.best == best


@pytest.mark.parametrize(
    ("verify", "said"),
    [
        (lambda partials: 1 // 0, "verify failed: ZeroDivisionError"),
        (lambda partials: [1.0] * len(partials), r"verify gave 1\.0"),
        (lambda partials: [math.nan] * len(partials), "verify gave nan"),
        (lambda partials: [None] * len(partials), "verify gave None"),
        (lambda partials: [True], "verify gave 1 results for a batch of 4"),
    ],
    ids=["raises", "number", "nan", "none", "short"],
)
def test_a_verifier_that_breaks_is_an_error(verify: Any, said: str) -> None:
    """It is no verdict."""
    result, _ = run("best-of-n by verifier", verify=verify)

    assert result.why == "failed"
    with pytest.raises(SearchError, match=said):
        raise result.error or AssertionError


def nothing(asks: Sequence[Ask]) -> Any:
    return [[] for _ in asks]


def copies(asks: Sequence[Ask]) -> Any:
    return [[Step("x ", num_tokens=1)] * ask.n for ask in asks]


def unterminated(asks: Sequence[Ask]) -> Any:
    """Steps that all differ, and of which none is the last, however whole it is to be."""
    return [[Step(f"{ask.partial.depth}.{i} ", num_tokens=8) for i in range(ask.n)] for ask in asks]


def empty(asks: Sequence[Ask]) -> Any:
    return [[Step("", num_tokens=0)] * ask.n for ask in asks]


def ended(asks: Sequence[Ask]) -> Any:
    """Ends that say nothing."""
    return [[Step("", is_last=True)] * ask.n for ask in asks]


def uncounted(asks: Sequence[Ask]) -> Any:
    return [[Step("x ", is_last=ask.is_whole)] * ask.n for ask in asks]


@every_search
@pytest.mark.parametrize("propose", [nothing, copies, unterminated, empty, ended, uncounted])
def test_a_proposer_of_no_use_ends_every_search(name: str, propose: Any) -> None:
    """Nothing, copies, steps without end or without text: each search ends by itself, without any
    limit, and what there is is its answer."""
    result, _ = run(name, propose=propose)

    if propose is uncounted and name == "speculative-rejection":
        assert "text of 0 tokens" in str(result.error)
        return
    assert result.error is None
    assert result.why in {"done", "stuck"}
    is_astar = isinstance(SEARCHES[name], AStar)  # to which a step without text is no step
    assert (result.best is None) == (propose is nothing or (propose is empty and is_astar))
    if propose is unterminated:
        assert result.best is not None
        assert not result.best.partial.is_finished


@every_search
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda ask: [Step("x")] * (ask.n + 1), "steps where"),
        (lambda ask: ["x"] * ask.n, "it must give Step objects"),
        (lambda ask: "x" * ask.n, "it must give a sequence of Step"),
        (lambda ask: None, "it must give a sequence of Step"),
        (lambda ask: [Step("x", num_tokens=-1)], "num_tokens -1"),
        (lambda ask: [Step("x", prior=math.nan)], "prior gave nan"),
        (lambda ask: [Step("x", log_weight=math.inf)], "log_weight gave inf"),
        (lambda ask: [Step("x", data=object())], "it must be JSON"),
    ],
    ids=["more", "texts", "text", "none", "tokens", "prior", "weight", "data"],
)
def test_steps_that_are_none_are_an_error_beside_the_best_so_far(
    name: str, given: Any, said: str
) -> None:
    """At once, or from the second call on; the best of the steps before is kept."""
    for first in (1, 2):
        later = Later(WHOLE.propose, lambda asks: [given(ask) for ask in asks], first)
        result, best = run(name, propose=later)

        assert later.num_calls < first or said in str(result.error)
        assert result.best == best


@every_search
@pytest.mark.parametrize("error", [KeyError("planted"), SearchError("planted")], ids=repr)
def test_a_proposer_that_raises_is_a_typed_error_beside_the_best_so_far(
    name: str, error: Exception
) -> None:
    """A foreign one is mapped, one of motet's is passed on as it is."""

    def broken(asks: Sequence[Ask]) -> Any:
        raise error

    for first in (1, 2, 3):
        later = Later(WHOLE.propose, broken, first)
        result, best = run(name, propose=later)

        assert later.num_calls < first or isinstance(result.error, MotetError)
        if result.error is not None:
            assert error in (result.error, result.error.__cause__)
        assert result.best == best


@every_search
def test_without_a_scorer_that_it_needs_nothing_is_asked(name: str) -> None:
    """A wrong set-up is told before it costs anything, or the search does without."""
    num_asked = 0

    def propose(asks: Sequence[Ask]) -> Any:
        nonlocal num_asked
        num_asked += 1
        return WHOLE.propose(asks)

    problem = Problem(propose=propose)
    algorithm = SEARCHES[name]
    try:
        result = asyncio.run(search(algorithm, problem))
    except MotetError as exc:
        assert "the problem has none" in str(exc)
        assert num_asked == 0
    else:
        assert result.error is None
        assert result.best is not None

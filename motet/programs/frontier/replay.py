"""Replays: searches and selectors over solutions, thoughts and scores that a file holds.

No model is asked. A budget is a number of solutions to choose from.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from motet.errors import ConfigError
from motet.programs.frontier.figures import Figure
from motet.programs.frontier.recorded import (
    DEPTH_FIRST,
    DIRECT,
    SAMPLED,
    TREE,
    UNPRUNED,
    Given,
    Problem,
)
from motet.search.partials import Candidate, Partial, Step
from motet.search.selection import best, elected
from motet.search.settings import whole

ONE: Final = "one solution"
"""The method beside which all others stand."""
Select = Callable[[Sequence[Given]], Given | None]


def _majority(given: Sequence[Given]) -> Given | None:
    return _elected(given, is_weighted=False)


def _weighted(given: Sequence[Given]) -> Given | None:
    return _elected(given, is_weighted=True)


def _elected(given: Sequence[Given], *, is_weighted: bool) -> Given | None:
    answers = {str(place): each.answer for place, each in enumerate(given)}
    scores = [each.weight if is_weighted else each.score for each in given]
    chosen = elected(_candidates(scores), answers.get, is_weighted=is_weighted)
    return given[int(chosen.text)] if chosen is not None else None


def _best(given: Sequence[Given]) -> Given | None:
    chosen = best(_candidates([each.score for each in given]))
    return given[int(chosen.text)] if chosen is not None else None


def _candidates(scores: Sequence[float | None]) -> list[Candidate]:
    """A candidate for each, whose text is its place: two solutions may say the same."""
    return [
        Candidate(Partial((Step(str(place), is_last=True),)), score, place)
        for place, score in enumerate(scores)
    ]


def _verified(given: Sequence[Given]) -> Given | None:
    return next((each for each in given if each.is_right), given[0])


@dataclass(frozen=True, slots=True)
class _Method:
    select: Select
    kind: str
    """Of the solutions it chooses from."""
    needs: str | None = None
    """`score`, which each solution must have, `answer`, which one must have, or `both`."""
    is_scored: bool = False
    is_single: bool = False
    """Whether it takes one solution, whatever the budget."""


METHODS: Final[Mapping[str, _Method]] = {
    ONE: _Method(lambda given: given[0], SAMPLED, is_single=True),
    "majority": _Method(_majority, SAMPLED, "answer"),
    "weighted": _Method(_weighted, SAMPLED, "both", is_scored=True),
    "best": _Method(_best, SAMPLED, "score", is_scored=True),
    "verified": _Method(_verified, SAMPLED),
    "direct, verified": _Method(_verified, DIRECT),
    f"{TREE}, best": _Method(_best, TREE, is_single=True),
    f"{TREE}, verified": _Method(_verified, TREE),
    f"{DEPTH_FIRST}, verified": _Method(_verified, DEPTH_FIRST),
    f"{UNPRUNED}, verified": _Method(_verified, UNPRUNED),
}
"""Name -> how it chooses. What is verified is the first right one, as an exact verifier finds it:
no selector can do better."""


def replayed(
    problems: Sequence[Problem], *, budgets: Sequence[int] | None = None, num_seeds: int = 20
) -> list[Figure]:
    """Choose from the solutions of each problem by every method that they allow.

    With a budget of n a method gets n solutions: of samples a random subset a seed, of a tree its
    n best, of a search in depth its first n states. A problem that has fewer gives all.

    Args:
        problems: With their solutions.
        budgets: Numbers of solutions; None for the powers of two and all.
        num_seeds: Random subsets.

    Raises:
        ConfigError: There are no problems, or a number is below 1.
    """
    whole("num_seeds", num_seeds)
    if not problems:
        raise ConfigError("problems is empty; there must be one at least")
    for budget in budgets or ():
        whole("budget", budget)
    figures = []
    for name, method in METHODS.items():
        kept = [each for each in problems if each.solutions.get(method.kind)]
        if not kept or not all(_has(each.solutions[method.kind], method.needs) for each in kept):
            continue
        largest = max(len(each.solutions[method.kind]) for each in kept)
        own = _budgets(largest) if budgets is None else sorted({min(b, largest) for b in budgets})
        for budget in [1] if method.is_single else own:
            figures += [
                _figure(name, method, problem, budget, seed)
                for seed in range(num_seeds if method.kind in (SAMPLED, DIRECT) else 1)
                for problem in kept
            ]
    return figures


def _figure(name: str, method: _Method, problem: Problem, budget: int, seed: int) -> Figure:
    solutions = problem.solutions[method.kind]
    is_ordered = method.kind not in (SAMPLED, DIRECT)
    chosen = method.select(_drawn(solutions, budget, seed, problem.id, is_ordered))
    num = problem.num_scores if method.kind == TREE else min(budget, len(solutions))
    return Figure(
        method=name,
        budget=budget,
        seed=seed,
        question=problem.id,
        answer=None if chosen is None else chosen.answer or chosen.text,
        is_correct=chosen is not None and chosen.is_right,
        tokens=0,
        scores=num if method.is_scored or method.kind == TREE else 0,
        wall_s=None,
        why="done",
    )


def _drawn(
    solutions: Sequence[Given], budget: int, seed: int, problem: str, is_ordered: bool
) -> Sequence[Given]:
    if budget >= len(solutions) or is_ordered:
        return solutions[:budget]
    chance = random.Random(f"{seed} {problem}")
    places = chance.sample(range(len(solutions)), budget)
    return [solutions[place] for place in sorted(places)]


def _has(solutions: Sequence[Given], needs: str | None) -> bool:
    if needs in ("score", "both") and any(each.score is None for each in solutions):
        return False
    return needs not in ("answer", "both") or any(each.answer is not None for each in solutions)


def _budgets(largest: int) -> list[int]:
    powers = [2**power for power in range(largest.bit_length()) if 2**power < largest]
    return [*powers, largest]

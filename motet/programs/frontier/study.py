"""A study: every method at every budget, seed and question, as one run."""

from __future__ import annotations

import asyncio
import difflib
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from motet.engine import Capability
from motet.errors import ConfigError, MotetError
from motet.model import Model
from motet.operations import Program
from motet.programs.capabilities import Need, goes_on, needs_of_scorer, refuse_unable
from motet.programs.frontier.attempts import (
    GREEDY,
    VOTES,
    Attempt,
    Drawing,
    attempt,
    is_baseline,
    is_same_method,
    method_name,
    most_votes,
    needs_of,
)
from motet.programs.frontier.tasks import GameValue, Question, find_task
from motet.programs.scorers import Check, Scorer, find_scorer
from motet.refs import Ref
from motet.search.registry import find_algorithm
from motet.search.settings import whole

EXACT = "exact"
"""The scorer that knows number games: what wins has 1, what can still win a half, the rest 0."""
SCORERS = ("self", "grade", EXACT)
_MOST_EXACT = 6
"""Numbers of a game that are worked out in less than a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A method at a budget, with a seed, on a question."""

    method: str
    budget: int
    seed: int
    question: Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is compared with what; greedy and self-consistency always stand beside it.

    Raises:
        ConfigError: A task, an algorithm or a number is wrong.
    """

    task: str
    questions: tuple[Question, ...]
    algorithms: tuple[str, ...]
    """Texts of `motet.search.registry`, such as `beam(n=16, width=4)`; kept in canonical form."""
    budgets: tuple[int, ...]
    """Tokens of each attempt, prompts and scorer included."""
    num_seeds: int = 1
    drawing: Drawing = field(default_factory=Drawing)

    def __post_init__(self) -> None:
        find_task(self.task)
        if not self.questions:
            raise ConfigError("questions is (); there must be one at least")
        for budget in self.budgets:
            if self.budgets.count(budget) > 1:
                raise ConfigError(f"budgets names {budget!r} twice")
        if not self.budgets:
            raise ConfigError("budgets is (); there must be one at least")
        names = tuple(map(method_name, self.algorithms))
        for (given, one), (again, other) in combinations(
            zip(self.algorithms, names, strict=True), 2
        ):
            if is_same_method(one, other):
                same = (
                    f"{given!r} twice" if given == again else f"{given!r} and {again!r}, one method"
                )
                raise ConfigError(f"algorithms names {same}")
        # Whatever way a method was written, it has one name in the run and in its figures.
        object.__setattr__(self, "algorithms", names)
        whole("num_seeds", self.num_seeds)
        most = self.drawing.answer_tokens
        for budget in self.budgets:
            whole("budget", budget)
            if budget <= most:
                raise ConfigError(
                    f"budget is {budget}; it must hold a prompt and an answer of {most} tokens "
                    "(answer_tokens)"
                )

    @property
    def methods(self) -> tuple[str, ...]:
        """Greedy, self-consistency, and the algorithms."""
        has_votes = any(most_votes(method) is not None for method in self.algorithms)
        given = tuple(method for method in self.algorithms if method != GREEDY)
        return (GREEDY, *(() if has_votes else (VOTES,)), *given)

    @property
    def cells(self) -> list[Cell]:
        """All attempts; greedy is made with one seed, since chance has no part in it."""
        return [
            Cell(method=method, budget=budget, seed=seed, question=question)
            for budget in self.budgets
            for method in self.methods
            for seed in range(1 if method == GREEDY else self.num_seeds)
            for question in self.questions
        ]


def study_call(
    study: Study,
    *,
    model: Model,
    scorer: Scorer | str | None = "self",
    judge: Model | None = None,
    concurrency: int = 64,
) -> Ref[list[Attempt]]:
    """Return the call that makes every attempt of `study`, in the order of its cells.

    Run it without the cache across runs: an answer from there costs nothing, so that a budget
    that it is part of would hold more.

    Args:
        study: What is compared.
        model: Answers.
        scorer: `self`, `grade`, `exact` for number games, or a scorer of one's own; None for none.
        judge: The model that scores; `model` where None.
        concurrency: Most attempts at once. What they ask stands in one queue of the engine.

    Raises:
        ConfigError: There is no such scorer, an algorithm needs one and there is none, the
            task's answers cannot be checked, or a game has too many numbers for `exact`.
    """
    whole("concurrency", concurrency)
    if isinstance(scorer, str):
        _check_scorer(scorer, study)
    for method in study.algorithms:
        needs = needs_of(method)
        if "score" in needs and scorer is None:
            raise ConfigError(f"{method} needs a scorer: {', '.join(SCORERS)}")
        if "verify" in needs and not find_task(study.task).is_checkable:
            raise ConfigError(
                f"{method} needs a verifier; {study.task} has none, since an answer cannot be "
                "checked without the right one"
            )
    given: Any = scorer
    if isinstance(scorer, str) and scorer != EXACT:
        given = find_scorer(scorer, judge or model)

    async def attempts(study: Study, model: Model, scorer: Any) -> list[Attempt]:
        gate = asyncio.Semaphore(concurrency)
        failures: list[MotetError] = []
        searches = [find_algorithm(each) for each in study.algorithms if not is_baseline(each)]
        needs = needs_of_scorer(scorer) if searches else []
        if any(map(goes_on, searches)):
            needs.append(Need("model", model, Capability.CONTINUE))
        await refuse_unable(needs)

        async def one(cell: Cell) -> Attempt | None:
            async with gate:
                # What began behind a failure would be built on it, and make it part of the path.
                if failures:
                    return None
                try:
                    return await attempt(
                        cell.question,
                        task=study.task,
                        method=cell.method,
                        model=model,
                        scorer=_scorer_for(cell, study.task, scorer),
                        budget=cell.budget,
                        seed=cell.seed,
                        drawing=study.drawing,
                    )
                except MotetError as exc:
                    failures.append(exc)
                    return None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(cell)) for cell in study.cells]
        if failures:
            raise failures[0]
        return [made for task in tasks if (made := task.result()) is not None]

    # A closure, so that the number of attempts at once is no part of the call's identity.
    return Program(attempts, {}, "motet.programs.frontier:study")(study, model, given)


def _check_scorer(name: str, study: Study) -> None:
    if name not in SCORERS:
        close = difflib.get_close_matches(name, SCORERS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it must be one of {', '.join(SCORERS)}"
        raise ConfigError(f"scorer is {name!r}; {hint}")
    if name != EXACT:
        return
    if not find_task(study.task).is_checkable:
        raise ConfigError(
            f"scorer is 'exact'; an answer of {study.task} cannot be checked without the right one"
        )
    for question in study.questions:
        game: Any = question.gold
        num = len(game["numbers"])
        if num > _MOST_EXACT:
            raise ConfigError(
                f"scorer is 'exact'; question {question.id!r} has {num} numbers, and it takes too "
                f"long to work out what more than {_MOST_EXACT} can make"
            )


def _scorer_for(cell: Cell, task: str, scorer: Any) -> Scorer | None:
    if is_baseline(cell.method):
        return None
    if scorer == EXACT:
        return Check(GameValue(task, cell.question.gold))
    found: Scorer | None = scorer
    return found

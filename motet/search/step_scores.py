"""Scores of single steps: split a solution into its steps, and make one score of theirs."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from motet.errors import SearchError
from motet.search.partials import Partial
from motet.search.settings import function, one_of, some_text
from motet.search.tools import Lost, checked_number

Aggregate: TypeAlias = Literal["last", "min", "prod", "mean"]

StepScores: TypeAlias = Sequence[float] | Lost
ScoreSteps: TypeAlias = Callable[
    [Sequence[Sequence[str]]], Awaitable[Sequence[StepScores]] | Sequence[StepScores]
]
"""Takes a batch of solutions as their steps, returns for each one score a step."""

_OPENS = re.compile(r"\\\[|\\begin\{([a-zA-Z]+\*?)\}|\$\$")


def split_steps(text: str, delimiter: str = "\n\n") -> list[str]:
    """Return the steps of a solution, without the delimiter and the space around them.

    Formulas that are set off (`\\[...\\]`, `$$...$$`, `\\begin{...}...\\end{...}`) and closed are
    not split, whatever they hold; empty steps are left out.

    Raises:
        ConfigError: `delimiter` is empty.
    """
    some_text("delimiter", delimiter)
    steps: list[str] = []
    start = at = 0
    while (cut := text.find(delimiter, at)) >= 0:
        formula = _formula(text, at, cut)
        if formula is not None:
            at = formula
            continue
        steps.append(text[start:cut])
        start = at = cut + len(delimiter)
    steps.append(text[start:])
    return [step.strip() for step in steps if step.strip()]


def _formula(text: str, start: int, cut: int) -> int | None:
    """Return the end of the formula that opens between `start` and `cut` and closes behind."""
    at = start
    while (opened := _OPENS.search(text, at, cut)) is not None:
        name = opened[1]
        close = f"\\end{{{name}}}" if name else {"\\[": "\\]", "$$": "$$"}[opened[0]]
        end = text.find(close, opened.end())
        if end < 0:
            at = opened.end()
            continue
        at = end + len(close)
        if at > cut:
            return at
    return None


def aggregated(scores: Sequence[float], how: Aggregate = "last") -> float:
    """Return one score of those of the steps, of which there is at least one.

    Raises:
        ConfigError: `how` is unknown.
        SearchError: There is no score.
    """
    one_of("aggregate", how, ("last", "min", "prod", "mean"))
    if not scores:
        raise SearchError("a solution has no step scores; it must have at least one")
    if how == "last":
        return scores[-1]
    if how == "min":
        return min(scores)
    return math.prod(scores) if how == "prod" else math.fsum(scores) / len(scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScorer:
    """A `score` for problems that makes one score of each step's.

    Source: scoring of huggingface/search-and-learn. Departures: `mean`; a number of scores that
    is not the number of steps is an error; formulas are not split.
    """

    score_steps: ScoreSteps
    aggregate: Aggregate = "last"
    delimiter: str | None = "\n\n"
    """None takes a partial solution's own steps, as they were proposed."""

    def __post_init__(self) -> None:
        function("score_steps", self.score_steps)
        one_of("aggregate", self.aggregate, ("last", "min", "prod", "mean"))
        if self.delimiter is not None:
            some_text("delimiter", self.delimiter)

    async def __call__(self, partials: Sequence[Partial]) -> list[float | Lost]:
        """Score a batch; a solution without any step counts as one empty step.

        Raises:
            SearchError: `score_steps` gave more or fewer scores than there are steps.
        """
        batch = [self._steps(partial) or [""] for partial in partials]
        found = self.score_steps(batch)
        given = list(await found if inspect.isawaitable(found) else found)
        if len(given) != len(batch):
            raise SearchError(f"score_steps gave {len(given)} results for a batch of {len(batch)}")
        return [self._scored(*each) for each in zip(batch, given, strict=True)]

    def _steps(self, partial: Partial) -> list[str]:
        if self.delimiter is None:
            return [step.text for step in partial.steps]
        return split_steps(partial.text, self.delimiter)

    def _scored(self, steps: Sequence[str], given: StepScores) -> float | Lost:
        if isinstance(given, Lost):
            return given
        if len(given) != len(steps):
            raise SearchError(f"score_steps gave {len(given)} scores for {len(steps)} steps")
        return aggregated([checked_number(each, "score_steps") for each in given], self.aggregate)

"""What a search over a model's steps found, as the value of a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from motet.errors import (
    BudgetExhaustedError,
    EngineError,
    MotetError,
    ProgramError,
    TooFewSurvivorsError,
)
from motet.search.drawing import to_text
from motet.search.driver import SearchResult
from motet.search.partials import Candidate
from motet.search.spending import Spend
from motet.search.tree import Tree


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate's text and score."""

    text: str
    score: float | None
    is_finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """What a search found."""

    text: str
    """Of the best candidate."""
    score: float | None
    is_finished: bool
    """False where the search ended before any candidate did; the text is then the best start."""
    why: str
    """Why the search ended; see `motet.search.driver.Why`."""
    error: str | None = None
    """What failed, where it ended so."""
    failures: tuple[str, ...] = ()
    """What was lost on the way and why, the first few."""
    candidates: tuple[Attempt, ...] = ()
    """Finished ones first, best first."""
    node: int | None = None
    """Place of the best candidate in the tree."""
    num_steps: int = 0
    spend: Spend = field(default_factory=Spend)
    tree: Tree = field(default_factory=Tree)
    notes: dict[str, JsonValue] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text

    def summary(self, *, max_nodes: int = 20) -> str:
        """Return how the search went, with a drawing of its tree, for a terminal."""
        state = "finished" if self.is_finished else "unfinished"
        score = "" if self.score is None else f", score {self.score:.3g}"
        head = (
            f"{state}{score}; the search ended ({self.why}) after {self.num_steps} steps, "
            f"{self.spend.proposals} proposals, {self.spend.scores} scores"
        )
        head += f"\n{self.error}" if self.error else ""
        head += f"\nlost on the way, at first: {self.failures[0]}" if self.failures else ""
        return f"{head}\n{to_text(self.tree, best=self.node, max_nodes=max_nodes)}"


def best_of(result: SearchResult, failures: Sequence[MotetError]) -> Candidate:
    """Return the best that a search found.

    Raises:
        EngineError: It failed for all, and may answer later.
        ProgramError: A callable of the program is wrong.
        BudgetExhaustedError: The budget did not hold the first step.
        TooFewSurvivorsError: There is nothing to show.
    """
    best = result.best
    is_away = isinstance(result.error, EngineError) and result.error.retryable
    if result.error is not None and (is_away or isinstance(result.error, ProgramError)):
        raise result.error  # the run goes on when the engine is back, or the program is mended
    if best is None:
        if result.error is not None:
            raise result.error
        for failure in failures:
            if isinstance(failure, BudgetExhaustedError):
                raise failure
        told = f"; the first failure: {failures[0]}" if failures else ""
        raise TooFewSurvivorsError(
            f"the search ended ({result.why}) after {result.num_steps} steps with nothing to "
            f"show{told}",
            failures=failures,
        )
    return best


def solution_of(result: SearchResult, failures: Sequence[MotetError]) -> Solution:
    """Return what a search found.

    Raises:
        EngineError, ProgramError, BudgetExhaustedError, TooFewSurvivorsError: As `best_of`.
    """
    best = best_of(result, failures)
    return Solution(
        text=best.text,
        score=best.score,
        is_finished=best.partial.is_finished,
        why=result.why,
        error=None if result.error is None else str(result.error),
        failures=tuple(f"{type(each).__name__}: {each}" for each in failures),
        candidates=tuple(map(_attempt, result.candidates)),
        node=best.node,
        num_steps=result.num_steps,
        spend=result.spend,
        tree=result.tree,
        notes=dict(result.notes),
    )


def _attempt(candidate: Candidate) -> Attempt:
    return Attempt(candidate.text, candidate.score, candidate.partial.is_finished)

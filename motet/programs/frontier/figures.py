"""What was measured: one figure an attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from motet.programs.frontier.attempts import Attempt
from motet.programs.frontier.study import Study
from motet.programs.frontier.tasks import find_task


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One attempt, graded."""

    method: str
    budget: int
    seed: int
    question: str
    """Its id."""
    answer: str | None
    """None where the text states none, or there is no text."""
    is_correct: bool
    tokens: int
    scores: int
    wall_s: float | None
    why: str
    error: str | None = None
    text: str | None = None


def figures_of(study: Study, attempts: Sequence[Attempt]) -> list[Figure]:
    """Grade the attempts that a run of `study` made."""
    task = find_task(study.task)
    figures = []
    for cell, made in zip(study.cells, attempts, strict=True):
        answer = task.answer_of(made.text) if made.text is not None else None
        figures.append(
            Figure(
                method=cell.method,
                budget=cell.budget,
                seed=cell.seed,
                question=cell.question.id,
                answer=answer,
                is_correct=answer is not None and task.is_right(answer, cell.question.gold),
                tokens=made.tokens,
                scores=made.scores,
                wall_s=made.wall_s,
                why=made.why,
                error=made.error,
                text=made.text,
            )
        )
    return figures

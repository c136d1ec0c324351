"""One attempt: a contender on a row, self-consistency of the same compute, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from motet.evaluation.figures import Figure
from motet.evaluation.given import Given
from motet.evaluation.matching import Matching, answer_alike
from motet.evaluation.replies import Reply, measured
from motet.evaluation.task import Contender, Metric, Score
from motet.evaluation.texts import Said, text_of
from motet.grading.rows import Row
from motet.model import Model
from motet.operations import program
from motet.programs.measuring import spent_in
from motet.scopes import scope


@program
async def attempt(
    contender: Contender,
    asked: Given,
    inputs: Mapping[str, Any],
    prompt: str,
    *,
    metric: Metric,
    model: Model | None,
    matching: Matching,
    seed: int,
    max_tokens: int | None,
) -> list[Figure]:
    """Answer a row by a contender, then by self-consistency of the same compute; score both.

    Args:
        contender: Answers.
        asked: The row.
        inputs: Of the contender's program.
        prompt: What self-consistency is asked.
        metric: Scores.
        model: Of self-consistency; None leaves it out.
        matching: How it samples, and by what it is matched.
        seed: Of this attempt.
        max_tokens: The most of the contender's prompts and completions; None for no limit.

    Raises:
        MotetError: What says nothing of the contender, such as an engine that is away.
    """
    row = asked.row
    own = await answer_by(contender, inputs, seed=seed, max_tokens=max_tokens)
    figures = [await _scored(own, contender.name, row, metric, seed)]
    if model is not None:
        target = own.cost if matching.match == "cost" else float(own.tokens)
        alike = await answer_alike(
            prompt, asked, metric=metric, model=model, target=target, matching=matching, seed=seed
        )
        figure = await _scored(alike, contender.name, row, metric, seed)
        figures.append(replace(figure, is_matched=True))
    return figures


@program
async def answer_by(
    contender: Contender, inputs: Mapping[str, Any], *, seed: int, max_tokens: int | None
) -> Reply:
    """What a contender's program replies, within a budget; `seed` names the attempt.

    Raises:
        MotetError: What says nothing of the contender.
    """

    async def work() -> Said:
        return text_of(await contender.program(**inputs))  # type: ignore[operator]

    return await measured(work, max_tokens=max_tokens, model=contender.model)


async def _scored(reply: Reply, contender: str, row: Row, metric: Metric, seed: int) -> Figure:
    """Return a reply's figure; one that is empty, cut off or failed is shown to no metric."""
    score = Score(value=None, answer=None, missing="empty")
    missing = reply.missing
    with scope() as scoring:
        if missing is None:
            assert reply.text is not None
            score = await metric.score(row, reply.text)
            missing = score.missing
    spent = spent_in(scoring)
    return Figure(
        contender=contender,
        is_matched=False,
        row=row.id,
        part=row.task,
        seed=seed,
        text=reply.text,
        answer=score.answer,
        value=score.value,
        missing=missing,
        error=reply.error or score.why,
        tokens=reply.tokens,
        calls=reply.calls,
        cost=reply.cost,
        wall_s=reply.wall_s,
        metric_tokens=spent.tokens,
        metric_cost=spent.cost,
        samples=reply.samples,
        others=score.others,
    )

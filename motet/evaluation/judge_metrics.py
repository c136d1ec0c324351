"""Metrics by a judge: a score of an answer, or a comparison with the row's right answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from motet.errors import ConfigError, DataError, MotetError
from motet.evaluation.metrics import vote_of
from motet.evaluation.replies import is_own
from motet.evaluation.task import Score
from motet.grading.rows import Row
from motet.judging.verdicts import ScoreVerdict, Winner
from motet.model import Model
from motet.operations import program
from motet.programs.judges.pairwise import compare_answers
from motet.programs.judges.preference import prefer
from motet.programs.judges.reading import kept
from motet.programs.judges.scoring import score_answer, score_by_rubric
from motet.refs import Ref
from motet.search.settings import flag, one_of, some_text, whole

_RATINGS = (1, 10)
_WINS: dict[Winner, float] = {"A": 1.0, "tie": 0.5, "B": 0.0}
_WHY = 200
"""Characters that are kept of a reply that is no verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A judge's score of an answer, put onto 0 to 1.

    With criteria it is the mean of how far an answer meets each, in three steps; with anchors the
    place of the option that fits; else a rating from 1 to 10. A verdict that cannot be read, or a
    judge that fails, is no score: the answer is not judged.

    Raises:
        ConfigError: Criteria and anchors are both given, or a setting is wrong.
    """

    model: Model
    criteria: tuple[str, ...] = ()
    anchors: tuple[str, ...] = ()
    """What each score means, the worst first."""
    reference: bool = True
    """Whether a judge that rates is shown the row's right answer, where there is one."""
    max_tokens: int = 2048
    """Of each verdict."""
    name: str = "judge"

    def __post_init__(self) -> None:
        _check_model("judge", self.model)
        for name in ("criteria", "anchors"):
            texts = getattr(self, name)
            if not isinstance(texts, tuple):
                raise ConfigError(f"{name} is {texts!r:.80}; it must be a tuple of texts")
            for each in texts:
                some_text(f"one of {name}", each)
        if self.criteria and self.anchors:
            raise ConfigError("criteria and anchors are both given; give one of them")
        if len(self.anchors) == 1 or len(set(self.anchors)) < len(self.anchors):
            raise ConfigError(f"anchors is {self.anchors!r:.80}; it must be 2 texts or more")
        flag("reference", self.reference)
        whole("max_tokens", self.max_tokens)

    def score(self, row: Row, text: str) -> Ref[Score]:
        return judged(
            row.prompt,
            text,
            model=self.model,
            criteria=self.criteria,
            anchors=self.anchors,
            reference=row.golds[0] if row.golds and self.reference else None,
            max_tokens=self.max_tokens,
        )

    def vote_of(self, row: Row, text: str) -> str | None:
        return None if row.kind == "text" else vote_of(row, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred:
    """Whether a judge, shown both orders, prefers an answer to the row's right one.

    A win is 1, a tie 0.5, a loss 0; orders that differ are a tie. A verdict that cannot be read is
    no score.

    Raises:
        ConfigError: A setting is wrong.
    """

    model: Model
    by: Literal["compare", "prefer"] = "compare"
    """By verdicts with an explanation, or by the likelihoods of one token."""
    max_tokens: int = 2048
    """Of each explanation."""
    name: str = "pairwise"

    def __post_init__(self) -> None:
        _check_model("pairwise", self.model)
        one_of("by", self.by, ("compare", "prefer"))
        whole("max_tokens", self.max_tokens)

    def score(self, row: Row, text: str) -> Ref[Score]:
        return preferred_to(
            row.prompt,
            text,
            row.golds[0],
            model=self.model,
            by=self.by,
            max_tokens=self.max_tokens,
        )

    def vote_of(self, row: Row, text: str) -> str | None:
        return None if row.kind == "text" else vote_of(row, text)

    def check(self, rows: Sequence[Row]) -> None:
        """Refuse rows without a right answer.

        Raises:
            DataError: Names the row.
        """
        for row in rows:
            if not row.golds:
                raise DataError(f"row {row.id!r} has no right answer to compare with (pairwise)")


def _not_judged(why: str | MotetError) -> Score:
    """Return no score, with the judge's unreadable reply or its error."""
    told = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
    return Score(value=None, answer=None, missing="not judged", why=kept(told)[:_WHY])


def _unreadable(reply: str) -> Score:
    return _not_judged(f"the judge replied: {reply}")


def _check_model(name: str, model: Any) -> None:
    if not isinstance(model, Model):
        raise ConfigError(f"model of {name} is {model!r:.80}; it must be a Model")


@program
async def judged(
    question: str,
    answer: str,
    *,
    model: Model,
    criteria: tuple[str, ...],
    anchors: tuple[str, ...],
    reference: str | None,
    max_tokens: int,
) -> Score:
    """A judge's score of an answer, from 0 to 1.

    Raises:
        MotetError: What says nothing of the judge, such as an engine that is away.
    """
    rubrics = [_anchors_of(each) for each in criteria] or [anchors]
    if rubrics[0]:
        low, high = 0, len(rubrics[0]) - 1
        asked = [
            score_by_rubric(question, answer, model=model, anchors=each, max_tokens=max_tokens)
            for each in rubrics
        ]
    else:
        low, high = _RATINGS
        rated = score_answer(
            question, answer, model=model, reference=reference, max_tokens=max_tokens
        )
        asked = [rated]
    verdicts: list[ScoreVerdict] = []
    for ref in asked:
        try:
            verdicts.append(await ref)
        except MotetError as exc:
            if not is_own(exc):
                raise
            return _not_judged(exc)
    for verdict in verdicts:
        if verdict.score is None:
            return _unreadable(verdict.raw)
    scores = [(each.score - low) / (high - low) for each in verdicts if each.score is not None]
    others = {f"criterion {place}": score for place, score in enumerate(scores, 1)}
    value = math.fsum(scores) / len(scores)
    return Score(value=value, answer=None, others=others if len(criteria) > 1 else {})


def _anchors_of(criterion: str) -> tuple[str, ...]:
    return (
        f"It does not meet this at all: {criterion}",
        f"It meets this in part: {criterion}",
        f"It meets this fully: {criterion}",
    )


@program
async def preferred_to(
    question: str,
    answer: str,
    other: str,
    *,
    model: Model,
    by: str,
    max_tokens: int,
) -> Score:
    """Whether a judge prefers `answer` to `other`, as a score.

    Raises:
        MotetError: What says nothing of the judge, such as an engine that is away.
    """
    unread = ["no likelihood for either answer's name"]
    try:
        if by == "prefer":
            winner = (await prefer(question, answer, other, model=model)).winner
        else:
            compared = await compare_answers(
                question, answer, other, model=model, max_tokens=max_tokens
            )
            winner = compared.winner
            unread = [game.raw for game in compared.games if game.winner == "error"]
    except MotetError as exc:
        if not is_own(exc):
            raise
        return _not_judged(exc)
    value = _WINS.get(winner)
    return _unreadable(unread[0]) if value is None else Score(value=value, answer=None)

"""Pick: score answers that are there, or those of several models, and take the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motet.combinators import settled
from motet.errors import ConfigError, MotetError, TooFewSurvivorsError
from motet.model import Model
from motet.operations import program
from motet.programs.best_of_n import answer
from motet.programs.capabilities import needs_of_scorer, refuse_unable
from motet.programs.mistakes import OF_ALL
from motet.programs.route import by_name
from motet.programs.scorers import Scorer, find_scorer
from motet.types import Chat, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An answer, and what the scorer gave it."""

    text: str | None
    """None where its model failed."""
    score: float | None
    """None where it could not be scored."""
    model: str | None = None
    """Name of the model that answered, where one was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """The best of several answers."""

    text: str
    model: str | None
    """Name of the model whose answer it is, where models were asked."""
    candidates: tuple[Candidate, ...]
    """In their order."""

    @property
    def num_left_out(self) -> int:
        """Candidates without a score."""
        return sum(each.score is None for each in self.candidates)

    def __str__(self) -> str:
        return self.text


@program
async def pick_candidate(
    question: str | Chat,
    candidates: Sequence[str],
    *,
    scorer: Scorer | str = "self",
    model: Model | None = None,
) -> Picked:
    """Return the best-scored of some texts: samples of a model, or all labels of a task.

    Each is scored by itself. One that cannot be scored is left out and counted. Of equal ones the
    first is taken.

    Args:
        question: A text or a chat.
        candidates: At least one; equal ones are scored once.
        scorer: See `motet.programs.scorers` and `motet.programs.pair_scorers`; `self` and `grade`
            ask `model`.
        model: The judge of a scorer that is named.

    Raises:
        ConfigError: A setting is wrong.
        CapabilityError: The scorer's model is known to lack what it needs.
        MotetError: None could be scored; the first failure.

    Source: Tan et al. 2023, arXiv:2311.06720 (Cappy), classification and selection among samples.
    """
    texts = [candidates] if isinstance(candidates, str) else list(candidates)
    if isinstance(candidates, str) or not texts or not all(isinstance(e, str) for e in texts):
        raise ConfigError(f"candidates is {candidates!r:.80}; it must be a list of texts")
    chosen = _scorer(scorer, model)
    await refuse_unable(needs_of_scorer(chosen))
    return await _best(question, [Candidate(text=each, score=None) for each in texts], chosen, [])


@program
async def pick_answer(
    question: str | Chat,
    *,
    among: Mapping[str, Model] | Sequence[Model],
    scorer: Scorer | str = "self",
    model: Model | None = None,
    temperature: float | None = None,
    max_tokens: int = 1024,
) -> Picked:
    """Ask every one of several models, and return the best-scored answer.

    Where `route` chooses before anything is generated, this pays for all answers. A model that
    fails, or whose answer cannot be scored, is left out and counted.

    Args:
        question: A text or a chat.
        among: Models by name; of a list, by their labels.
        scorer: As of `pick_candidate`.
        model: The judge of a scorer that is named.
        temperature: Of the answers; None leaves it to the models.
        max_tokens: Of each answer.

    Raises:
        ConfigError: A setting is wrong.
        CapabilityError: The scorer's model is known to lack what it needs.
        MotetError: No answer could be scored; the first failure.

    Source: as of `pick_candidate`, as a router that scores each model's answer.
    """
    models = by_name(among)
    chosen = _scorer(scorer, model)
    await refuse_unable(needs_of_scorer(chosen))
    sampling: dict[str, Any] = {"max_tokens": max_tokens}
    if temperature is not None:
        sampling["temperature"] = temperature
    answers: list[Outcome[str]] = await settled(
        [answer.on(each, **sampling)(question) for each in models.values()]
    )
    failures = _failures(answers)
    given = [
        Candidate(text=each.value if each.is_success else None, score=None, model=name)
        for name, each in zip(models, answers, strict=True)
    ]
    return await _best(question, given, chosen, failures)


async def _best(
    question: str | Chat, given: list[Candidate], scorer: Scorer, failures: list[MotetError]
) -> Picked:
    texts = list(dict.fromkeys(each.text for each in given if each.text is not None))
    outcomes: list[Outcome[float]] = await settled([scorer(question, text) for text in texts])
    failures += _failures(outcomes)
    scores = {
        text: float(each.value)
        for text, each in zip(texts, outcomes, strict=True)
        if each.is_success and not math.isnan(each.value)
    }
    found = tuple(
        Candidate(
            text=each.text,
            score=None if each.text is None else scores.get(each.text),
            model=each.model,
        )
        for each in given
    )
    known = [each for each in found if each.score is not None]
    if not known:
        if failures:
            raise failures[0]
        raise TooFewSurvivorsError(f"none of {len(given)} answers has a score")
    best = max(known, key=lambda each: -math.inf if each.score is None else each.score)
    return Picked(text=best.text or "", model=best.model, candidates=found)


def _failures(outcomes: Sequence[Outcome[Any]]) -> list[MotetError]:
    errors = [each.error for each in outcomes if each.error is not None]
    for error in errors:
        if isinstance(error, OF_ALL):
            raise error
    return errors


def _scorer(scorer: Scorer | str, model: Model | None) -> Scorer:
    if not isinstance(scorer, str):
        return scorer
    if model is None:
        raise ConfigError(f"scorer is {scorer!r}, which needs a judge; give model=")
    return find_scorer(scorer, model)

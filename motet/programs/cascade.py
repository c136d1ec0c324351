"""Cascade: ask a cheap model first, and the next one where its answer is not sure enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from motet.errors import BudgetExhaustedError, ConfigError, MotetError, TooFewSurvivorsError
from motet.model import Model
from motet.operations import program
from motet.programs.best_of_n import answer
from motet.programs.capabilities import Need, needs_of_scorer, refuse_unable
from motet.programs.confidences import Answered, Confidence, Likelihood
from motet.programs.mistakes import OF_ALL
from motet.types import Chat


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a model of a cascade gave."""

    model: str
    text: str | None
    """None where it failed."""
    confidence: float | None
    """None where nothing told, where it failed, and of the last model, which is not asked for it."""
    why: str
    """`accepted`, `unsure`, `last`, or how it, or the scoring of its answer, failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascaded:
    """A cascade's answer."""

    text: str
    model: str
    """Label of the model whose answer it is."""
    is_accepted: bool
    """False where no later model could answer, so that the surest answer so far had to do."""
    stages: tuple[Stage, ...]
    """One a model that was asked, in order."""

    def __str__(self) -> str:
        return self.text


@program
async def cascade(
    question: str | Chat,
    *,
    stages: Sequence[Model],
    thresholds: Sequence[float],
    confidence: Confidence | None = None,
    temperature: float | None = None,
    max_tokens: int = 1024,
) -> Cascaded:
    """Ask each model in turn until an answer is sure enough; the last one's is taken as it is.

    A stage may be any model, so a program too: a single call, then a mixture of agents, then a
    search. A model that fails, or whose reply is empty or cut off, is passed over; an answer that
    could not be scored is no sure one. Where the budget ends, or the later models fail, the surest
    answer so far is the value, marked as not accepted.
    As a model it answers with that text.

    Args:
        question: A text or a chat.
        stages: Models, the cheapest first, at least one.
        thresholds: One a stage but the last, 0 to 1: an answer at least so sure is accepted. See
            `motet.routing.cascade_fit` for thresholds that hold a cost or a quality.
        confidence: Says how sure an answer is; None is `Likelihood()`. See
            `motet.programs.confidences`.
        temperature: Of the answers; None leaves it to the models.
        max_tokens: Of each answer.

    Raises:
        ConfigError: A setting is wrong.
        CapabilityError: A model is known to lack what the confidence needs.
        BudgetExhaustedError: The budget did not hold the first answer.
        TooFewSurvivorsError: Each model failed.

    Source: Chen et al. 2023, arXiv:2305.05176 (FrugalGPT). Departures: any confidence instead of a
    trained scorer, and models that fail are passed over. A model whose price exceeds what is left
    is asked no call by the budget, and not skipped beforehand.
    """
    models, bounds = tuple(stages), tuple(thresholds)
    _check(models, bounds)
    sure = Likelihood() if confidence is None else confidence
    await refuse_unable(_needs(models[:-1], sure))
    sampling: dict[str, Any] = {"max_tokens": max_tokens}
    if temperature is not None:
        sampling["temperature"] = temperature
    tried: list[Stage] = []
    failures: list[MotetError] = []
    for place, model in enumerate(models):
        is_last = place == len(models) - 1
        try:
            if is_last:
                told = Answered(text=await answer.on(model, **sampling)(question), confidence=None)
            else:
                told = await sure(question, model, sampling)
        except OF_ALL:
            raise
        except MotetError as exc:
            failures.append(exc)
            why = f"{type(exc).__name__}: {exc}"
            tried.append(Stage(model=model.label, text=None, confidence=None, why=why))
            if isinstance(exc, BudgetExhaustedError):
                break
            continue
        known = told.confidence
        is_sure = is_last or (known is not None and known >= bounds[place])
        why = "last" if is_last else ("accepted" if is_sure else told.error or "unsure")
        tried.append(Stage(model=model.label, text=told.text, confidence=known, why=why))
        if is_sure:
            return Cascaded(
                text=told.text, model=model.label, is_accepted=True, stages=tuple(tried)
            )
    answered = [stage for stage in tried if stage.text is not None and stage.text.strip()]
    if not answered:
        if failures and isinstance(failures[-1], BudgetExhaustedError):
            raise failures[-1]
        raise TooFewSurvivorsError(
            f"none of {len(models)} models answered; the last one: {tried[-1].why}",
            failures=failures,
        )
    surest = max(answered, key=lambda s: -1.0 if s.confidence is None else s.confidence)
    assert surest.text is not None
    return Cascaded(text=surest.text, model=surest.model, is_accepted=False, stages=tuple(tried))


def _check(models: tuple[Model, ...], bounds: tuple[float, ...]) -> None:
    if not models:
        raise ConfigError("stages is (); a cascade needs at least one model")
    for model in models:
        if not isinstance(model, Model):
            raise ConfigError(f"stages holds {model!r}; each must be a Model")
    if len(bounds) != len(models) - 1:
        raise ConfigError(
            f"thresholds has {len(bounds)} values for {len(models)} stages; each but the last "
            "stage has one"
        )
    for bound in bounds:
        is_number = isinstance(bound, (int, float)) and not isinstance(bound, bool)
        if not is_number or math.isnan(bound):
            raise ConfigError(f"thresholds holds {bound!r}; each must be a number")


def _needs(models: Sequence[Model], confidence: Confidence) -> list[Need]:
    capability = getattr(confidence, "capability", None)
    found = [Need("stages", model, capability) for model in models] if capability else []
    return [*found, *needs_of_scorer(getattr(confidence, "scorer", None))]

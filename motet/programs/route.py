"""Route: let a router say which model answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program
from motet.programs.best_of_n import answer
from motet.programs.capabilities import refuse_unable
from motet.programs.choices import Choice
from motet.routing.router import Decision
from motet.types import Chat


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """An answer, and why the model that gave it was asked."""

    text: str
    decision: Decision

    def __str__(self) -> str:
        return self.text


@program
async def route(
    question: str | Chat,
    *,
    among: Mapping[str, Model] | Sequence[Model],
    by: Choice,
    temperature: float | None = None,
    max_tokens: int = 1024,
) -> Routed:
    """Ask the one of several models that `by` chooses for this question.

    A model may be a program: a single call, a mixture of agents, a search. As a model it answers
    with the text, so that a proposer or a judge may be routed: `route.as_model(among=..., by=...)`.

    Args:
        question: A text or a chat.
        among: Models by the names that the router knows; of a list, by their labels.
        by: Chooses; see `motet.programs.choices`.
        temperature: Of the answer; None leaves it to the model.
        max_tokens: Of the answer.

    Raises:
        ConfigError: A setting is wrong, or the router does not know a name.
        CapabilityError: The router's own model is known to lack what it needs.
        DataError: The rule allows no model.
        BudgetExhaustedError: The budget does not hold the chosen model's answer; a cheaper one is
            not asked in its place.
    """
    models = by_name(among)
    await refuse_unable(by.check(tuple(models)))
    sampling: dict[str, Any] = {"max_tokens": max_tokens}
    if temperature is not None:
        sampling["temperature"] = temperature
    chosen = answer.on(next(iter(models.values())), **sampling)  # a wrong setting is found here
    decision = await by(question, tuple(models))
    text = await chosen.on(models[decision.model])(question)
    return Routed(text=text, decision=decision)


def by_name(among: Mapping[str, Model] | Sequence[Model]) -> dict[str, Model]:
    named = isinstance(among, Mapping)
    models: dict[str, Model] = {}
    for each in among:
        model = among[each] if named else each  # type: ignore[index,call-overload]
        if not isinstance(model, Model):
            raise ConfigError(f"among holds {model!r}; each must be a Model")
        name = each if named else model.label
        if name in models:
            raise ConfigError(f"among holds {name!r} twice; give the models names of their own")
        models[name] = model  # type: ignore[index]
    if not models:
        raise ConfigError("among is empty; a route needs at least one model")
    return models

"""Mixture-of-Agents: layers of proposers whose answers an aggregator fuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet.combinators import successful
from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program
from motet.programs.chats import as_chat, with_system
from motet.prompts import prompt
from motet.refs import Ref
from motet.types import Chat

_INSTRUCTION = (
    "Several models have answered the user's latest message; their answers are listed below. "
    "Write one answer of your own that is better than each of them. Weigh them critically: some "
    "may be biased or wrong. Do not just repeat them; correct them, complete them, and give a "
    "clear, accurate and well-ordered answer to the user.\n\nAnswers of the models:"
)


def inject_references(question: str | Chat, references: Sequence[str] = ()) -> Chat:
    """Return the chat with numbered references in its system turn; as it is without any."""
    chat = as_chat(question)
    if not references:
        return chat
    listed = "".join(f"\n{i}. {text}" for i, text in enumerate(references, start=1))
    return with_system(chat, _INSTRUCTION + listed)


@prompt(chat=inject_references, keep_cut_off=True)
def propose(question: str | Chat, references: Sequence[str] = ()) -> str:
    """One proposer's answer, given the previous layer's."""
    raise NotImplementedError


@prompt(chat=inject_references)
def aggregate(question: str | Chat, references: Sequence[str] = ()) -> str:
    """The last answer, which must be whole."""
    raise NotImplementedError


@program
def mixture_of_agents(
    question: str | Chat,
    *,
    proposers: list[Model] | list[list[Model]],
    aggregator: Model,
    layers: int = 3,
    temperature: float | None = 0.7,
    aggregator_temperature: float | None = None,
    max_tokens: int = 2048,
) -> Ref[str]:
    """Let layered proposers answer, and an aggregator fuse their answers.

    A proposer that fails is left out, not replaced; with no reference left a call is a plain
    call. A proposal that was cut off still counts as a reference; the final answer must be whole.

    Args:
        question: A text, or a chat; references stand in its system turn.
        proposers: One model a proposer, for every layer; or a list of models a proposer layer.
        aggregator: Writes the final answer from the last proposals.
        layers: With the aggregator's, so that 1 is a plain call, 2 is MoA-Lite and 3 is MoA.
        temperature: Of proposers; at most 1e-4 counts as 0, None leaves it to the models.
        aggregator_temperature: As `temperature` where None.
        max_tokens: Of each answer.

    Source: Wang et al. 2024, arXiv:2406.04692, section 2, and its reference implementation. Our
    wording of the aggregation prompt; retries are the dispatcher's; the aggregator is given the
    same `max_tokens` as the proposers, where the reference script leaves its defaults.
    """
    per_layer = _layers_of(proposers, layers)
    sampling: dict[str, Any] = {"max_tokens": max_tokens}
    references: Any = []
    for models in per_layer:
        settings = {**sampling, **_temperature(temperature)}
        proposals = [propose.on(model, **settings)(question, references) for model in models]
        references = successful(proposals, at_least=0)
    last = temperature if aggregator_temperature is None else aggregator_temperature
    return aggregate.on(aggregator, **sampling, **_temperature(last))(question, references)


def _layers_of(proposers: Sequence[Any], layers: int) -> list[list[Model]]:
    if layers < 1:
        raise ConfigError(f"layers is {layers}; it must be at least 1")
    if layers > 1 and not proposers:
        raise ConfigError("proposers is empty; give at least one model")
    if any(isinstance(entry, (list, tuple)) for entry in proposers):
        if len(proposers) != layers - 1:
            raise ConfigError(
                f"proposers lists {len(proposers)} layers; layers={layers} has {layers - 1} "
                "layers of proposers before the aggregator"
            )
        return [list(entry) for entry in proposers]
    return [list(proposers)] * (layers - 1)


def _temperature(value: float | None) -> dict[str, float]:
    if value is None:
        return {}
    return {"temperature": 0.0 if 0 <= value <= 1e-4 else value}

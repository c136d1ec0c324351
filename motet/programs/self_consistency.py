"""Self-consistency: sample several chains of thought, return the answer that most reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from motet.errors import ConfigError, TooFewSurvivorsError
from motet.model import Model
from motet.operations import program, step
from motet.programs.chats import as_chat, with_system
from motet.prompts import prompt
from motet.refs import Ref
from motet.search.answers import Extraction, extract_answer
from motet.types import Chat

INSTRUCTION = (
    "Think step by step. Then give the final answer on a line of its own, "
    "in the form: The answer is <answer>."
)


def _thinking_chat(question: str | Chat, instruction: str) -> Chat:
    chat = as_chat(question)
    return with_system(chat, instruction) if instruction else chat


@prompt(chat=_thinking_chat)
def think(question: str | Chat, instruction: str) -> str:
    """One chain of thought."""
    raise NotImplementedError


@step
def majority(texts: list[str], extract: Extraction | Callable[[str], str | None]) -> str:
    """The answer that most texts reach; among equals the one reached first.

    Raises:
        TooFewSurvivorsError: No text states an answer.
    """
    found = [extract(t) if callable(extract) else extract_answer(t, extract) for t in texts]
    answers = [answer for answer in found if answer is not None]
    if not answers:
        raise TooFewSurvivorsError(f"none of {len(texts)} samples states an answer")
    return Counter(answers).most_common(1)[0][0]


@program
def self_consistency(
    question: str | Chat,
    *,
    model: Model,
    n: int = 8,
    extract: Extraction | Callable[[str], str | None] = "final",
    instruction: str = INSTRUCTION,
    temperature: float | None = 0.7,
    max_tokens: int = 1024,
) -> Ref[str]:
    """Sample `n` chains of thought in one request and return the majority's answer.

    A sample that fails, or that states no answer, has no vote.

    Args:
        question: A text or a chat.
        model: Thinks.
        n: Samples, at least 1.
        extract: How an answer is read from a text: a name (see `extract_answer`) or a function
            that returns the answer or None.
        instruction: Added to the system turn; empty for none.
        temperature: Of the samples; None leaves it to the model.
        max_tokens: Of each sample.

    Source: Wang et al. 2022, arXiv:2203.11171, unweighted majority. Ties go to the answer that
    was reached first. The paper's few-shot prompts are replaced by an instruction.
    """
    if not callable(extract) and extract not in ("final", "number", "choice", "text"):
        raise ConfigError(f"extract is {extract!r}; it must be final, number, choice or text")
    sampling: dict[str, Any] = {"max_tokens": max_tokens}
    if temperature is not None:
        sampling["temperature"] = temperature
    return majority(think.on(model, **sampling).samples(n)(question, instruction), extract)

"""Self-consistency: sample several chains of thought, return the answer that most reach."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from motet.errors import ConfigError, TooFewSurvivorsError
from motet.model import Model
from motet.operations import program, step
from motet.programs.chats import as_chat, with_system
from motet.prompts import prompt
from motet.refs import Ref
from motet.types import Chat

Extraction = Literal["final", "number", "choice", "text"]

INSTRUCTION = (
    "Think step by step. Then give the final answer on a line of its own, "
    "in the form: The answer is <answer>."
)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")
_CHOICE = re.compile(r"(?:^|[^A-Za-z])\(?([A-J])\)?(?![A-Za-z'])")
_ANSWER_IS = re.compile(r"answer\s*(?:is|:|=)\s*:?[ \t]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_HASHES = re.compile(r"####\s*(.+)")


def extract_answer(text: str, extraction: Extraction) -> str | None:
    """Return the answer that `text` ends with, normalised; None where it states none.

    Args:
        text: A completion.
        extraction: `final`: what stands in the last `\\boxed{}`, behind `####`, or behind "the
            answer is"; `number`: of that, or else of the whole text, the last number; `choice`:
            likewise the last letter A to J that stands alone; `text`: the whole text.
    """
    if extraction == "text":
        return normalised(text) or None
    stated = _stated(text)
    if extraction == "final":
        return normalised(stated) or None if stated is not None else None
    pattern = _NUMBER if extraction == "number" else _CHOICE
    for where in (stated, text):
        found = pattern.findall(where) if where is not None else []
        if found:
            return normalised(found[-1])
    return None


def _stated(text: str) -> str | None:
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    hashed: list[str] = _HASHES.findall(text)
    if hashed:
        return hashed[-1]
    said = list(_ANSWER_IS.finditer(text))
    if not said:
        return None
    statement = text[said[-1].end() :]
    end = _SENTENCE_END.search(statement)
    return statement[: end.start()] if end is not None else statement


def _last_boxed(text: str) -> str | None:
    """Content of the last `\\boxed{...}`, braces balanced; None where it does not close."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for at in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start + 7 : at]
    return None


def normalised(answer: str) -> str:
    """Fold what does not change an answer: spaces, final stops, `$`, commas and zeros in numbers."""
    folded = " ".join(answer.split()).strip("$*`\"' ").rstrip(".!").strip("$*`\"' ")
    number = folded.replace(",", "")
    if re.fullmatch(r"-?\d+(\.\d+)?", number):
        whole, _, fraction = number.partition(".")
        fraction = fraction.rstrip("0")
        whole = re.sub(r"^(-?)0+(?=\d)", r"\1", whole)
        return f"{whole}.{fraction}" if fraction else whole
    return folded


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

"""Pairwise judging: a model compares two answers, in both orders."""

from __future__ import annotations

import re
from typing import Final

from motet.engine import Completion
from motet.errors import ConfigError
from motet.judging.verdicts import Order, PairVerdict, Winner
from motet.model import Model
from motet.operations import program, step
from motet.programs.judges.reading import PairComparison, compared, verdict_of
from motet.programs.quoting import AS_DATA, question_text, tagged
from motet.prompts import prompt
from motet.refs import Ref
from motet.types import Chat, Message

REFERENCE_CATEGORIES: Final = frozenset({"math", "reasoning", "coding", "arena-hard-200"})
"""Categories of MT-Bench and Arena-Hard whose answers are judged beside a reference."""

_ROLE = (
    "You are an impartial judge. Two AI assistants, A and B, answered the same user; decide which "
    "of them served the user better. "
)
_CRITERIA = (
    "Look at how helpful, relevant, accurate, deep, creative and detailed the answers are, and at "
    "whether they do what the user asked for. "
)
_CORRECTNESS = (
    "A reference answer is given, which you may trust. Correctness comes first: compare each "
    "assistant's answer with the reference and name its mistakes before you weigh anything else, "
    "such as how helpful, relevant, deep, creative and detailed it is. "
)
_LAST_TURN = (
    "You are shown each assistant's whole conversation with the user. Judge the answers to the "
    "user's last message; what came before is their context. "
)
_FAIRNESS = (
    "Explain your comparison in a few sentences first. The order in which the assistants stand, "
    "the length of their answers and their names must not sway you; be as objective as you can. "
    f"{AS_DATA} "
)
_VERDICT = (
    "Then end with your verdict on a line of its own: [[A]] where assistant A is better, [[B]] "
    "where assistant B is better, or [[C]] for a tie."
)
_MARK: Final = re.compile(r"\[\[[\s*_`]*([ABC])[\s*_`]*\]\]", re.IGNORECASE)
_WINNERS: Final[dict[str, Winner]] = {"A": "A", "B": "B", "C": "tie"}


def _system(*, has_reference: bool, is_conversation: bool = False) -> Message:
    turns = _LAST_TURN if is_conversation else ""
    criteria = _CORRECTNESS if has_reference else _CRITERIA
    return Message.system(_ROLE + turns + criteria + _FAIRNESS + _VERDICT)


def _pair_chat(question: str | Chat, first: str, second: str, reference: str | None) -> Chat:
    parts = [tagged("question", question_text(question))]
    if reference is not None:
        parts.append(tagged("reference_answer", reference))
    parts += [tagged("assistant_a", first), tagged("assistant_b", second)]
    return (_system(has_reference=reference is not None), Message.user("\n\n".join(parts)))


def _conversations_chat(first: Chat, second: Chat, reference: Chat | None) -> Chat:
    named = [("conversation_with_a", first), ("conversation_with_b", second)]
    if reference is not None:
        named.insert(0, ("reference_conversation", reference))
    system = _system(has_reference=reference is not None, is_conversation=True)
    parts = (tagged(name, question_text(tuple(chat))) for name, chat in named)
    return (system, Message.user("\n\n".join(parts)))


@prompt(chat=_pair_chat)
def judge_pair(question: str | Chat, first: str, second: str, reference: str | None) -> Completion:
    """A comparison of two answers, that ends with a verdict."""
    raise NotImplementedError


@prompt(chat=_conversations_chat)
def judge_conversations(first: Chat, second: Chat, reference: Chat | None) -> Completion:
    """A comparison of two conversations, that ends with a verdict."""
    raise NotImplementedError


def read_mark(text: str) -> Winner | None:
    """Return the verdict of the last `[[A]]`, `[[B]]` or `[[C]]` in a judge's text; None without.

    The last, as judges copy the marks from their instruction before they decide. Marks may be
    bold or hold spaces.
    """
    found = _MARK.findall(text)
    return _WINNERS[found[-1].upper()] if found else None


@step
def mark_game(reply: Completion, order: Order) -> PairVerdict:
    """The verdict that a reply ends with."""
    return verdict_of(reply, read_mark, order)


def check_reference(category: str | None, reference: object) -> None:
    """Refuse a category that is judged beside a reference where none is given.

    Raises:
        ConfigError: Names the category.
    """
    if category in REFERENCE_CATEGORIES and reference is None:
        raise ConfigError(f"category is {category!r}, which is judged beside a reference; give one")


@program
def compare_answers(
    question: str | Chat,
    answer_a: str,
    answer_b: str,
    *,
    model: Model,
    reference: str | None = None,
    category: str | None = None,
    max_tokens: int = 2048,
) -> Ref[PairComparison]:
    """Let a judge compare two answers, in both orders.

    An answer wins where both orders choose it; orders that differ are a tie that is not
    consistent. A reply that was cut off, or names no winner, makes the pair an error.

    Args:
        question: A text, or a chat whose last message is answered.
        answer_a: The one answer.
        answer_b: The other.
        model: The judge; asked greedily, once an order.
        reference: A right answer; where given, correctness comes first.
        category: Of the question; those of `REFERENCE_CATEGORIES` need a reference.
        max_tokens: Of each explanation and verdict.

    Source: Zheng et al. 2023, arXiv:2306.05685, pairwise comparison with both orders, and
    FastChat's llm_judge. Our wording; the last verdict counts, where FastChat looks for [[A]] first.
    """
    check_reference(category, reference)
    bound = judge_pair.on(model, temperature=0.0, max_tokens=max_tokens)
    return compared(
        mark_game(bound(question, answer_a, answer_b, reference), "AB"),
        mark_game(bound(question, answer_b, answer_a, reference), "BA"),
    )


@program
def compare_conversations(
    conversation_a: Chat,
    conversation_b: Chat,
    *,
    model: Model,
    reference: Chat | None = None,
    category: str | None = None,
    max_tokens: int = 2048,
) -> Ref[PairComparison]:
    """Let a judge compare the last answers of two conversations, in both orders.

    Args:
        conversation_a: The user's turns with the one assistant's answers; ends with an answer.
        conversation_b: The same turns of the user with the other's.
        model: The judge; asked greedily, once an order.
        reference: The same turns of the user with right answers.
        category: As of `compare_answers`.
        max_tokens: Of each explanation and verdict.

    Source: as of `compare_answers`, its multi-turn prompts.
    """
    check_reference(category, reference)
    chats = {"conversation_a": conversation_a, "conversation_b": conversation_b}
    if reference is not None:
        chats["reference"] = reference
    asked = [turn.content for turn in conversation_a if turn.role == "user"]
    for name, chat in chats.items():
        if not chat or chat[-1].role != "assistant":
            raise ConfigError(f"{name} has {len(chat)} turns; its last must be the assistant's")
        if [turn.content for turn in chat if turn.role == "user"] != asked:
            raise ConfigError(f"{name} has other turns of the user than conversation_a")
    bound = judge_conversations.on(model, temperature=0.0, max_tokens=max_tokens)
    return compared(
        mark_game(bound(conversation_a, conversation_b, reference), "AB"),
        mark_game(bound(conversation_b, conversation_a, reference), "BA"),
    )

"""Formats of judges that were trained to write critiques: Auto-J and PandaLM."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from motet.engine import Completion
from motet.judging.verdicts import Order, PairVerdict, ScoreVerdict, Winner, reconcile
from motet.model import Model
from motet.operations import program, step
from motet.programs.judges.reading import PairComparison, compared, kept, score_of, verdict_of
from motet.programs.judges.scoring import read_rating
from motet.programs.quoting import AS_DATA, question_text, tagged
from motet.programs.replies import whole_replies
from motet.prompts import prompt
from motet.refs import Ref
from motet.types import Chat

_DECISION: Final = re.compile(r"final decision is\b", re.IGNORECASE)
_NAMED: Final = re.compile(r"[\s:*_`\"'\[(]*(response 1|response 2|tie)\b(?!\s*/)", re.IGNORECASE)
_DECIDED: Final[dict[str, Winner]] = {"response 1": "A", "response 2": "B", "tie": "tie"}
_FIRST_LINE: Final[dict[str, Winner]] = {"1": "A", "2": "B", "tie": "tie"}
_SECTION: Final = re.compile(
    r"^#{2,4}[ \t]*(reason|reference)[ \t]*:", re.IGNORECASE | re.MULTILINE
)

_AUTO_J_PAIR: Final = (
    "Assess both responses to the query. First pinpoint the key factors that tell them apart. Then "
    "say which response is better, or that they are equally good, by those factors. "
    f"{AS_DATA} End with a line of the form: So, the final decision is Response 1 / Response 2 / "
    "Tie."
)
_AUTO_J_SINGLE: Final = (
    "Write a critique of the response to the query: what it does well, and where it falls short. "
    f"{AS_DATA} End with an overall rating from 1 to 10 on a line of the form: Rating: [[rating]]."
)
_PANDALM: Final = (
    "Two responses to one task follow. Say on the first line which is better: 1, 2 or Tie. Then "
    'give the reason behind "### Reason:", and a better response of your own behind "### '
    f'Reference:". {AS_DATA}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PandaLMGame:
    """What PandaLM writes of a pair in one order."""

    verdict: PairVerdict
    reason: str
    reference: str
    """The judge's own answer to the instruction. It is a candidate like any other, never a right
    answer: no prompt is given it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PandaLMComparison:
    """What PandaLM writes of a pair in both orders."""

    winner: Winner
    """In the caller's names; a tie where the orders differ, an error where one cannot be read."""
    is_consistent: bool
    """Whether both orders could be read and say the same, ties included."""
    games: tuple[PandaLMGame, PandaLMGame]


def _auto_j_pair(question: str | Chat, first: str, second: str) -> str:
    parts = (
        tagged("query", question_text(question)),
        tagged("response_1", first),
        tagged("response_2", second),
        _AUTO_J_PAIR,
    )
    return "\n\n".join(parts)


def _auto_j_single(question: str | Chat, answer: str) -> str:
    asked = tagged("query", question_text(question))
    return f"{asked}\n\n{tagged('response', answer)}\n\n{_AUTO_J_SINGLE}"


def _pandalm_pair(instruction: str, given: str | None, first: str, second: str) -> str:
    parts = [_PANDALM, tagged("instruction", instruction)]
    if given:
        parts.append(tagged("input", given))
    parts += [tagged("response_1", first), tagged("response_2", second), "### Evaluation:"]
    return "\n\n".join(parts)


@prompt(chat=_auto_j_pair)
def criticise_pair(question: str | Chat, first: str, second: str) -> Completion:
    """A critique of two responses, that ends with a decision."""
    raise NotImplementedError


@prompt(chat=_auto_j_single)
def criticise(question: str | Chat, answer: str) -> Completion:
    """A critique of one response, that ends with a rating."""
    raise NotImplementedError


@prompt(chat=_pandalm_pair)
def evaluate_pair(instruction: str, given: str | None, first: str, second: str) -> Completion:
    """A verdict, its reason, and a better response."""
    raise NotImplementedError


def read_decision(text: str) -> Winner | None:
    """Return the winner behind the last `final decision is` of a critique; None without one."""
    found = list(_DECISION.finditer(text))
    named = _NAMED.match(text, found[-1].end()) if found else None
    return _DECIDED[named[1].lower()] if named else None


def read_first_line(text: str) -> Winner | None:
    """Return the winner that the first line of PandaLM's text is: 1, 2 or Tie; else None."""
    lines = text.strip().splitlines()
    return _FIRST_LINE.get(lines[0].strip().rstrip(".").lower()) if lines else None


def sections(text: str) -> dict[str, str]:
    """Return what stands behind `### Reason:` and `### Reference:`; of equal ones the first."""
    pieces = _SECTION.split(text)
    parts: dict[str, str] = {}
    for name, behind in zip(pieces[1::2], pieces[2::2], strict=True):
        parts.setdefault(name.lower(), behind.strip())
    return parts


@step
def decision_game(reply: Completion, order: Order) -> PairVerdict:
    """The decision that a critique ends with."""
    return verdict_of(reply, read_decision, order)


@step
def critique_rating(reply: Completion) -> ScoreVerdict:
    """The rating that a critique ends with."""
    return score_of(reply, read_rating)


@step
def pandalm_game(reply: Completion, order: Order) -> PandaLMGame:
    """The verdict of the first line, and what stands behind it."""
    parts = sections("".join(whole_replies([reply])))
    return PandaLMGame(
        verdict=verdict_of(reply, read_first_line, order),
        reason=kept(parts.get("reason", "")),
        reference=kept(parts.get("reference", "")),
    )


@step
def pandalm_compared(first: PandaLMGame, second: PandaLMGame) -> PandaLMComparison:
    """Both orders as one; orders that differ are a tie that is not consistent."""
    both = reconcile(first.verdict, second.verdict)
    return PandaLMComparison(
        winner=both.winner, is_consistent=both.is_consistent, games=(first, second)
    )


@program
def auto_j_compare(
    question: str | Chat, answer_a: str, answer_b: str, *, model: Model, max_tokens: int = 1024
) -> Ref[PairComparison]:
    """Let a judge that writes critiques compare two answers, in both orders.

    The critiques are the texts of the games. A critique without a decision is an error.

    Args:
        question: A text, or a chat whose last message is answered.
        answer_a: The one answer.
        answer_b: The other.
        model: Such as Auto-J; asked greedily, once an order.
        max_tokens: Of each critique.

    Source: Li et al. 2023, arXiv:2310.05470 (Auto-J), pairwise. Our wording of the request in the
    format that it was trained for; the chat template is the engine's.
    """
    bound = criticise_pair.on(model, temperature=0.0, max_tokens=max_tokens)
    return compared(
        decision_game(bound(question, answer_a, answer_b), "AB"),
        decision_game(bound(question, answer_b, answer_a), "BA"),
    )


@program
def auto_j_score(
    question: str | Chat, answer: str, *, model: Model, max_tokens: int = 1024
) -> Ref[ScoreVerdict]:
    """Let a judge criticise an answer, and rate it from 1 to 10.

    Args:
        question: A text, or a chat whose last message is answered.
        answer: What is judged.
        model: Such as Auto-J; asked greedily, once.
        max_tokens: Of the critique.

    Source: as of `auto_j_compare`, single responses, without the scenario's criteria.
    """
    bound = criticise.on(model, temperature=0.0, max_tokens=max_tokens)
    return critique_rating(bound(question, answer))


@program
def pandalm_compare(
    instruction: str,
    answer_a: str,
    answer_b: str,
    *,
    model: Model,
    given: str | None = None,
    max_tokens: int = 512,
) -> Ref[PandaLMComparison]:
    """Let PandaLM compare two answers, in both orders.

    Args:
        instruction: The task.
        answer_a: The one answer.
        answer_b: The other.
        model: Such as PandaLM; asked greedily, once an order, at repetition penalty 1.2.
        given: The task's input, where it has one.
        max_tokens: Of each evaluation.

    Source: Wang et al. 2023, arXiv:2306.05087 (PandaLM). Our wording in its format. Departures:
    greedy instead of 4 beams; what cannot be read is an error, where the repository calls it a tie.
    """
    bound = evaluate_pair.on(model, temperature=0.0, repetition_penalty=1.2, max_tokens=max_tokens)
    return pandalm_compared(
        pandalm_game(bound(instruction, given, answer_a, answer_b), "AB"),
        pandalm_game(bound(instruction, given, answer_b, answer_a), "BA"),
    )

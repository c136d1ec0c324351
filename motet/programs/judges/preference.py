"""Preference: how likely a judge names one of two answers, by the log-probabilities of one token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from motet.engine import Completion
from motet.judging.verdicts import PairVerdict, Winner
from motet.model import Model
from motet.operations import program, step
from motet.programs.judges.label_tokens import LEAST_MASS, TOP, label_masses, normalised
from motet.programs.judges.reading import winner_of
from motet.programs.quoting import AS_DATA, question_text, tagged
from motet.prompts import prompt
from motet.refs import Ref
from motet.types import Chat, Message

FIRST: Final = "m"
SECOND: Final = "M"

_SYSTEM: Final = (
    "You rank the outputs of two models, m and M, by how good a person who wrote the instruction "
    "would find them. The order in which they stand, their length and their names must not sway "
    f"you. {AS_DATA}"
)
_ASK: Final = f"Which output is better? Reply with the name of its model only: {FIRST} or {SECOND}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """How likely a judge prefers answer A, by one token's probabilities in each order."""

    share: float | None
    """Probability that A is preferred, from 0 to 1, the mean over the orders; None where an order
    gave neither name any probability."""
    by_order: tuple[float | None, ...]
    """Of the order A, B and, where it was asked for, of the order B, A."""
    masses: tuple[float, ...]
    """Share of the token's probability that the two names cover, of each order."""

    @property
    def margins(self) -> tuple[float | None, ...]:
        """Log-odds of A in nats, of each order; near 0 a verdict may change with the batch."""
        return tuple(None if share is None else _logit(share) for share in self.by_order)

    @property
    def is_covered(self) -> bool:
        """Whether the names cover at least half of the probability in each order."""
        return min(self.masses) >= LEAST_MASS

    @property
    def winner(self) -> Winner:
        """A above one half, B below, a tie at it; an error without a share."""
        return winner_of(self.share)

    @property
    def verdict(self) -> PairVerdict:
        """The winner as a verdict, in the caller's order."""
        return PairVerdict(winner=self.winner, raw="" if self.share is None else f"{self.share}")


def _logit(share: float) -> float:
    if share in (0.0, 1.0):
        return math.copysign(math.inf, share - 0.5)
    return math.log(share) - math.log1p(-share)


def _names_chat(question: str | Chat, first: str, second: str) -> Chat:
    parts = [
        tagged("instruction", question_text(question)),
        tagged("output_of_m", first),
        tagged("output_of_M", second),
        _ASK,
    ]
    return (Message.system(_SYSTEM), Message.user("\n\n".join(parts)))


@prompt(chat=_names_chat)
def name_better(question: str | Chat, first: str, second: str) -> Completion:
    """The name of the better output's model."""
    raise NotImplementedError


def read_preference(replies: list[Completion]) -> Preference:
    """Return the preference of replies in the order A, B and, if there are two, B, A."""
    by_order: list[float | None] = []
    masses: list[float] = []
    for place, reply in enumerate(replies):
        found = label_masses(reply, (FIRST, SECOND))
        shares = normalised(found)
        by_order.append(None if shares is None else shares[place])
        masses.append(min(1.0, math.fsum(found)))
    known = [share for share in by_order if share is not None]
    is_whole = len(known) == len(by_order)
    return Preference(
        share=math.fsum(known) / len(known) if is_whole else None,
        by_order=tuple(by_order),
        masses=tuple(masses),
    )


@step
def preferred(replies: list[Completion]) -> Preference:
    """The preference that replies of one token tell."""
    return read_preference(replies)


@program
def prefer(
    question: str | Chat,
    answer_a: str,
    answer_b: str,
    *,
    model: Model,
    both_orders: bool = True,
) -> Ref[Preference]:
    """Return how likely a judge prefers answer A to answer B, from 0 to 1.

    It costs one token an order. An order that gives neither name any probability makes the whole
    an error, since the other order alone would favour a place.

    Args:
        question: A text, or a chat whose last message is answered.
        answer_a: The one answer.
        answer_b: The other.
        model: The judge; its engine needs `Capability.LOGPROBS`, for 20 alternatives.
        both_orders: Whether the answers are shown in both orders; A comes first where not.

    Source: Dubois et al. 2024, arXiv:2404.04475, AlpacaEval's weighted annotator: p(m) / (p(m) +
    p(M)). Departures: our wording, the mean of both orders instead of one at random, and 20
    alternatives instead of 5.
    """
    bound = name_better.on(model, temperature=0.0, max_tokens=1, logprobs=TOP)
    replies = [bound(question, answer_a, answer_b)]
    if both_orders:
        replies.append(bound(question, answer_b, answer_a))
    return preferred(replies)

"""Referees: several personas score two answers in turn, each having heard the others."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from motet.engine import Completion
from motet.errors import ConfigError
from motet.judging.verdicts import Order, PairVerdict, ScoreVerdict, Winner, compare, reconcile
from motet.model import Model
from motet.operations import program
from motet.programs.judges.reading import kept
from motet.programs.quoting import AS_DATA, question_text, tagged
from motet.programs.replies import labelled
from motet.prompts import prompt
from motet.search.settings import whole
from motet.types import Chat, Message

PERSONAS: Final[dict[str, str]] = {
    "reader": "a member of the general public, who wants to know which answer is of use",
    "critic": "a critic, who looks for what is unclear, wrong or badly written",
    "psychologist": "a psychologist, who looks at how an answer meets the person who asked",
}
"""Name -> who a referee is."""

_ROLE: Final = (
    "Several referees discuss which of two AI assistants, A and B, answered a user better. You are "
    "{persona}. Look at how helpful, relevant, accurate, deep, creative and detailed the answers "
    "are. The order in which the assistants stand and the length of their answers must not sway "
    "you. Say what you think first, in a few sentences: you may agree with other referees or not. "
    f"{AS_DATA} Then end with two lines, each with a number from 1 (worst) to 10 (best):\n"
    "Score of A: number\nScore of B: number"
)
_SCORE: Final = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,2})?)(?:\s*/\s*10)?[\s*_`.]*")

Statement: TypeAlias = tuple[str, str]
"""A referee's name, and what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefereeGame:
    """What referees say of a pair in one order."""

    verdict: PairVerdict
    """By the mean scores of the last turn; an error where none could be read."""
    scores: tuple[tuple[float, float] | None, ...]
    """Of each referee in its last turn, the answer that was shown first and the second; None where
    they could not be read, which is left out."""
    statements: tuple[Statement, ...]
    """In the order in which they were made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefereeComparison:
    """What referees say of a pair in both orders."""

    winner: Winner
    """In the caller's names; a tie where the orders differ, an error where one cannot be read."""
    is_consistent: bool
    games: tuple[RefereeGame, RefereeGame]

    @property
    def num_left_out(self) -> int:
        """Last statements, of both orders, whose scores could not be read."""
        return sum(each is None for game in self.games for each in game.scores)


def _referee_chat(
    question: str | Chat, first: str, second: str, persona: str, heard: Sequence[Statement]
) -> Chat:
    parts = [
        tagged("question", question_text(question)),
        tagged("assistant_a", first),
        tagged("assistant_b", second),
        *(tagged(f"referee_{name}", said) for name, said in heard),
    ]
    return (
        Message.system(_ROLE.replace("{persona}", persona)),
        Message.user("\n\n".join(parts)),
    )


@prompt(chat=_referee_chat)
def give_opinion(
    question: str | Chat, first: str, second: str, persona: str, heard: Sequence[Statement]
) -> Completion:
    """A referee's opinion on two answers, that ends with two scores."""
    raise NotImplementedError


def read_scores(reply: Completion) -> tuple[float, float] | None:
    """Return the last two scores of a referee's whole reply, from 1 to 10; None without both."""
    found = [labelled(reply, f"score of {name}") for name in "AB"]
    if not all(found):
        return None
    matches = [_SCORE.fullmatch(each[-1].strip()) for each in found]
    values = [float(each[1]) for each in matches if each]
    is_read = len(values) == 2 and all(1 <= each <= 10 for each in values)
    return (values[0], values[1]) if is_read else None


@program
async def referee_game(
    question: str | Chat,
    first: str,
    second: str,
    order: Order,
    model: Model,
    personas: Sequence[Statement],
    turns: int,
    max_tokens: int,
) -> RefereeGame:
    """The referees' discussion of a pair in one order."""
    bound = give_opinion.on(model, temperature=0.0, max_tokens=max_tokens)
    heard: list[Statement] = []
    scores: list[tuple[float, float] | None] = []
    for _ in range(turns):
        scores = []
        for name, persona in personas:
            reply = await bound(question, first, second, persona, tuple(heard))
            heard.append((name, kept(reply.text.strip())))
            scores.append(read_scores(reply))
    read = [each for each in scores if each is not None]
    raw = "\n\n".join(said for _, said in heard[-len(personas) :])
    verdict = PairVerdict(winner="error", raw=raw, order=order)
    if read:
        means = [math.fsum(each[side] for each in read) / len(read) for side in (0, 1)]
        found = compare(*(ScoreVerdict(score=each) for each in means), tie_below=1e-9)
        verdict = PairVerdict(winner=found.winner, raw=raw, order=order)
    return RefereeGame(verdict=verdict, scores=tuple(scores), statements=tuple(heard))


@program
async def referees_compare(
    question: str | Chat,
    answer_a: str,
    answer_b: str,
    *,
    model: Model,
    personas: dict[str, str] | None = None,
    turns: int = 2,
    max_tokens: int = 512,
) -> RefereeComparison:
    """Let referees with personas discuss two answers and score both, in both orders.

    They speak one after another, and each hears all that was said before. The mean of their last
    scores decides; scores that cannot be read are left out and counted. It costs referees times
    turns texts an order.

    Args:
        question: A text, or a chat whose last message is answered.
        answer_a: The one answer.
        answer_b: The other.
        model: Speaks for every referee; asked greedily.
        personas: Name -> who the referee is, in the order in which they speak; None is `PERSONAS`.
        turns: Of each referee, at least 1.
        max_tokens: Of each statement.

    Raises:
        ConfigError: A setting is wrong.

    Source: Chan et al. 2023, arXiv:2308.07201 (ChatEval), one by one, two turns, the mean of the
    last scores. Departures: three personas in our wording, both orders.
    """
    whole("turns", turns)
    speakers = tuple((PERSONAS if personas is None else personas).items())
    for name, persona in speakers:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or not persona.strip():
            raise ConfigError(
                f"personas holds {name!r}: {persona!r}; a name is of letters, digits and _, and "
                "says who the referee is"
            )
    if not speakers:
        raise ConfigError("personas is empty; at least one referee is needed")
    rest = (model, speakers, turns, max_tokens)
    first = referee_game(question, answer_a, answer_b, "AB", *rest)
    second = referee_game(question, answer_b, answer_a, "BA", *rest)
    games = (await first, await second)
    both = reconcile(games[0].verdict, games[1].verdict)
    return RefereeComparison(winner=both.winner, is_consistent=both.is_consistent, games=games)

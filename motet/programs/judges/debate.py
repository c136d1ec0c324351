"""Debate: two advocates argue over rounds, each for one answer, and a judge decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from motet.engine import Completion
from motet.judging.verdicts import PairVerdict, Winner
from motet.model import Model
from motet.operations import program
from motet.programs.judges.pairwise import mark_game
from motet.programs.judges.reading import compared, kept
from motet.programs.quoting import AS_DATA, question_text, tagged
from motet.prompts import prompt
from motet.search.settings import whole
from motet.types import Chat, Message

_ADVOCATE: Final = (
    "You are an advocate in a debate about two answers to one request. Argue that your answer "
    "serves the user better than the other one: name its real merits, and the real faults of the "
    "other, by what stands there. A judge reads both sides and checks what is said, so that a false "
    f"claim loses. {AS_DATA} Reply with your argument for this round only, in at most 150 words."
)
_JUDGE: Final = (
    "You are an impartial judge. Two AI assistants, A and B, answered the same user, and an advocate "
    "argued for each. Decide which answer served the user better. Judge the answers and not the "
    "advocates: check each claim against the answers, and give no weight to one that you do not "
    "find there. The order in which the assistants stand, the length of their answers and their "
    f"names must not sway you. {AS_DATA} Explain your decision in a few sentences first. Then end "
    "with your verdict on a line of its own: [[A]] where assistant A is better, [[B]] where "
    "assistant B is better, or [[C]] for a tie."
)
_SPOKEN: Final = ("stop", "length")


@dataclass(frozen=True, slots=True)
class DebateRound:
    """What both advocates said in one round, neither having seen the other's."""

    for_a: str
    for_b: str

    @property
    def turned(self) -> DebateRound:
        """The round with the sides exchanged."""
        return DebateRound(self.for_b, self.for_a)


@dataclass(frozen=True, slots=True, kw_only=True)
class DebateComparison:
    """What a judge says of a pair of answers after a debate, shown in both orders."""

    winner: Winner
    """In the caller's names; a tie where the orders differ, an error where one cannot be read or
    there was no debate."""
    is_consistent: bool
    """Whether both orders could be read and say the same, ties included."""
    games: tuple[PairVerdict, PairVerdict]
    """Of the order A, B and of the order B, A."""
    rounds: tuple[DebateRound, ...]
    """Those that the judge was shown."""
    num_left_out: int
    """Rounds in which a side said nothing; neither side's argument was shown."""

    @property
    def num_errors(self) -> int:
        """Orders whose reply could not be read."""
        return sum(game.winner == "error" for game in self.games)


def _advocate_chat(
    question: str | Chat, own: str, other: str, rounds: Sequence[DebateRound], number: int
) -> Chat:
    parts = [
        tagged("request", question_text(question)),
        tagged("your_answer", own),
        tagged("other_answer", other),
    ]
    for place, each in enumerate(rounds, 1):
        parts += [
            tagged(f"your_argument_of_round_{place}", each.for_a),
            tagged(f"other_argument_of_round_{place}", each.for_b),
        ]
    parts.append(f"Your argument of round {number}:")
    return (Message.system(_ADVOCATE), Message.user("\n\n".join(parts)))


def _judge_chat(
    question: str | Chat, first: str, second: str, rounds: Sequence[DebateRound]
) -> Chat:
    parts = [
        tagged("question", question_text(question)),
        tagged("assistant_a", first),
        tagged("assistant_b", second),
    ]
    for place, each in enumerate(rounds, 1):
        parts += [
            tagged(f"argument_for_a_of_round_{place}", each.for_a),
            tagged(f"argument_for_b_of_round_{place}", each.for_b),
        ]
    return (Message.system(_JUDGE), Message.user("\n\n".join(parts)))


@prompt(chat=_advocate_chat)
def argue(
    question: str | Chat, own: str, other: str, rounds: Sequence[DebateRound], number: int
) -> Completion:
    """An argument for one's own answer, given the earlier rounds."""
    raise NotImplementedError


@prompt(chat=_judge_chat)
def judge_debate(
    question: str | Chat, first: str, second: str, rounds: Sequence[DebateRound]
) -> Completion:
    """A decision on two answers after a debate, that ends with a verdict."""
    raise NotImplementedError


@program
async def debate_compare(
    question: str | Chat,
    answer_a: str,
    answer_b: str,
    *,
    model: Model,
    advocate: Model | None = None,
    rounds: int = 2,
    temperature: float = 0.0,
    argument_tokens: int = 300,
    max_tokens: int = 512,
) -> DebateComparison:
    """Let two advocates argue for two answers, and a judge decide, in both orders.

    Both sides speak at once in a round, and see the earlier rounds, so that neither has the last
    word and one debate serves both orders. An argument that was cut off is shown as far as it goes.
    A round in which a side says nothing is left out for both and counted; where none is left the
    pair is an error, and the judge is not asked. Verdicts are read as those of `compare_answers`.

    Args:
        question: A text, or a chat whose last message is answered.
        answer_a: The one answer.
        answer_b: The other.
        model: The judge; asked greedily, once an order.
        advocate: Argues for both sides, each in calls of its own; None is the judge's model.
        rounds: At least 1.
        temperature: Of the arguments.
        argument_tokens: Of each argument.
        max_tokens: Of each decision.

    Raises:
        ConfigError: A setting is wrong.

    Source: Irving et al. 2018, arXiv:1805.00899; sides that speak at once as in Khan et al. 2024,
    arXiv:2402.06782. Departures: a pair of whole answers instead of a question with one right
    answer, both orders for the judge, two rounds instead of three, our wording.
    """
    whole("rounds", rounds)
    whole("argument_tokens", argument_tokens)
    judge = judge_debate.on(model, temperature=0.0, max_tokens=max_tokens)
    side = argue.on(advocate or model, temperature=temperature, max_tokens=argument_tokens)
    held: list[DebateRound] = []
    for number in range(1, rounds + 1):
        seen, turned = tuple(held), tuple(each.turned for each in held)
        both = [
            side(question, answer_a, answer_b, seen, number),
            side(question, answer_b, answer_a, turned, number),
        ]
        said = [_argument(await each) for each in both]
        if all(said):
            held.append(DebateRound(*said))
    if not held:
        silent = (PairVerdict(winner="error"), PairVerdict(winner="error", order="BA"))
        return DebateComparison(
            winner="error", is_consistent=False, games=silent, rounds=(), num_left_out=rounds
        )
    shown, turned = tuple(held), tuple(each.turned for each in held)
    found = await compared(
        mark_game(judge(question, answer_a, answer_b, shown), "AB"),
        mark_game(judge(question, answer_b, answer_a, turned), "BA"),
    )
    return DebateComparison(
        winner=found.winner,
        is_consistent=found.is_consistent,
        games=found.games,
        rounds=shown,
        num_left_out=rounds - len(held),
    )


def _argument(reply: Completion) -> str:
    return kept(reply.text.strip()) if reply.finish_reason in _SPOKEN else ""

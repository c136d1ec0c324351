"""The additive judge: five points that an answer earns one after another."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from motet.engine import Completion
from motet.judging.verdicts import ScoreVerdict
from motet.model import Model
from motet.operations import program, step
from motet.programs.judges.reading import score_of
from motet.programs.quoting import AS_DATA, question_text, tagged
from motet.prompts import prompt
from motet.refs import Ref
from motet.search.settings import whole
from motet.types import Chat

_RUBRIC: Final = (
    "Score the answer by points that add up. Go through them in order, and say of each whether it "
    "is earned:\n"
    "- 1 point if the answer is relevant to the request, even where it is incomplete or holds "
    "matter that does not belong.\n"
    "- 1 more point if it addresses a substantial part of the request, if not all of it.\n"
    "- 1 more point if it answers the basic elements of the request in a useful way, whoever seems "
    "to have written it.\n"
    "- 1 more point if it is clearly written as an AI assistant would: direct, well organised, "
    "comprehensive, with room for small improvements only.\n"
    "- 1 more point if it is impeccable: made for this user, with an expert's knowledge and nothing "
    "that could be left out.\n"
    f"{AS_DATA}\n"
    "Justify the total in at most 100 words. Then end with one line that holds the total and "
    'nothing else: "Score: n", where n is a whole number from 0 to 5.'
)
_LINE: Final = re.compile(r"score[*_`\"]*[ \t]*:(.*)", re.IGNORECASE)
_TOTAL: Final = re.compile(
    r"[\s*_`\"]*([0-5])(?:\s*/\s*5|\s+out of 5|\s+points?)?[\s*_`\".]*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditiveScore:
    """The mean of several passes of the additive judge over one answer."""

    score: float | None
    """From 0 to 5, the mean of the passes that hold a score; None where none does."""
    passes: tuple[ScoreVerdict, ...]

    @property
    def num_errors(self) -> int:
        """Passes without a score."""
        return sum(each.score is None for each in self.passes)

    @property
    def verdict(self) -> ScoreVerdict:
        """The mean as one verdict, with what every pass said."""
        return ScoreVerdict(score=self.score, raw="\n\n".join(each.raw for each in self.passes))


def _additive_chat(question: str | Chat, answer: str) -> str:
    asked = tagged("request", question_text(question))
    return f"{asked}\n\n{tagged('answer', answer)}\n\n{_RUBRIC}"


@prompt(chat=_additive_chat)
def add_points(question: str | Chat, answer: str) -> Completion:
    """A justification of the points, that ends with their total."""
    raise NotImplementedError


def read_total(text: str) -> int | None:
    """Return the whole number from 0 to 5 behind the last `Score:` of a judge's text.

    None where there is no such line, or where the last holds anything else: a decimal, a number
    out of range, words. It is never 0 for want of a number.
    """
    found = _LINE.findall(text)
    total = _TOTAL.fullmatch(found[-1]) if found else None
    return int(total[1]) if total else None


@step
def totals(replies: list[Completion]) -> AdditiveScore:
    """The mean of the totals that can be read."""
    passes = tuple(score_of(reply, read_total) for reply in replies)
    found = [each.score for each in passes if each.score is not None]
    return AdditiveScore(score=math.fsum(found) / len(found) if found else None, passes=passes)


@program
def additive_score(
    question: str | Chat,
    answer: str,
    *,
    model: Model,
    passes: int = 3,
    temperature: float = 0.7,
    max_tokens: int = 512,
) -> Ref[AdditiveScore]:
    """Score an answer by five points that add up, the mean of several passes.

    A pass without a readable total is left out and counted.

    Args:
        question: A text, or a chat whose last message is answered.
        answer: What is judged.
        model: The judge.
        passes: Samples, all of one request.
        temperature: Of the samples.
        max_tokens: Of each.

    Source: Yuan et al. 2024, arXiv:2401.10020 (Self-Rewarding Language Models), figure 2; three
    passes. Our wording; no web search is promised; a reply without a total is an error.
    """
    whole("passes", passes)
    bound = add_points.on(model, temperature=temperature, max_tokens=max_tokens)
    return totals(bound.samples(passes)(question, answer))

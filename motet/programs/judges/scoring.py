"""Single-answer judging: a model rates one answer, by a number that it says or by its expectation."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from motet.engine import Completion
from motet.errors import ConfigError
from motet.judging.verdicts import ScoreVerdict
from motet.model import Model
from motet.operations import program, step
from motet.programs.judges.label_tokens import (
    LEAST_MASS,
    TOP,
    check_labels,
    label_masses,
    normalised,
)
from motet.programs.judges.reading import kept, score_of
from motet.programs.quoting import AS_DATA, question_text, tagged
from motet.prompts import prompt
from motet.refs import Ref
from motet.search.settings import whole
from motet.types import Chat, Message

ANCHORS: Final = (
    "unusable: empty, harmful, or about something else",
    "very bad: almost all of it is wrong or beside the point",
    "bad: it touches the request, and fails it",
    "weak: some of it is right, and most is not",
    "below average: it goes the right way with serious gaps or mistakes",
    "middling: about as much is right as is wrong or missing",
    "fair: it serves the main request with clear faults",
    "good: correct and useful with some faults",
    "very good: correct and complete with small faults",
    "excellent: correct, complete and clear, hardly to be improved",
    "outstanding: nothing about it could be better",
)
"""What the scores 0 to 10 mean."""

_JUDGE = "You are an impartial judge of one answer that an AI assistant gave to a user. "
_LAST_MESSAGE = "Judge the answer to the user's last message; earlier turns are its context. "
_FAIRNESS = f"Be as objective as you can; length is no merit by itself. {AS_DATA} "
_CRITERIA = "Look at how helpful, relevant, accurate, deep, creative and detailed it is. "
_CORRECTNESS = (
    "A reference answer is given, which you may trust. Correctness comes first: compare the answer "
    "with the reference and name its mistakes before you weigh anything else, such as how helpful, "
    "relevant, deep, creative and detailed it is. "
)
_RATING = (
    "Explain your view in a few sentences first. Then end with your rating from 1 (worst) to 10 "
    "(best) on a line of its own, in the form [[rating]]."
)
_MARK: Final = re.compile(
    r"\[\[[\s*_`]*([-+]?[0-9]{1,4}(?:\.[0-9]{1,4})?)(?:\s*/\s*10)?[\s*_`]*\]\]"
)


@dataclass(frozen=True, slots=True)
class ExpectedScore:
    """The mean of a rubric's scores, by the probabilities of their labels."""

    score: float | None
    """None where no label has any probability."""
    mass: float
    """Share of the first token's probability that the labels cover."""
    probabilities: tuple[float, ...]
    """Of each score from the lowest, renormalised over the labels; empty without a score."""
    verdict: ScoreVerdict
    """The same score, with what the judge said."""

    @property
    def is_covered(self) -> bool:
        """Whether the labels cover at least half of the probability; where not, trust it little."""
        return self.mass >= LEAST_MASS


def _shown(question: str | Chat, answer: str, reference: str | None = None) -> str:
    parts = [tagged("question", question_text(question))]
    if reference is not None:
        parts.append(tagged("reference_answer", reference))
    return "\n\n".join([*parts, tagged("answer", answer)])


def _is_conversation(question: str | Chat) -> bool:
    return not isinstance(question, str) and len(question) > 1


def _rating_chat(question: str | Chat, answer: str, reference: str | None) -> Chat:
    turns = _LAST_MESSAGE if _is_conversation(question) else ""
    criteria = _CRITERIA if reference is None else _CORRECTNESS
    return (
        Message.system(_JUDGE + turns + criteria + _FAIRNESS + _RATING),
        Message.user(_shown(question, answer, reference)),
    )


def _rubric_chat(
    question: str | Chat, answer: str, options: Sequence[str], instruction: str
) -> Chat:
    turns = _LAST_MESSAGE if _is_conversation(question) else ""
    listed = "\n".join(options)
    return (
        Message.system(f"{_JUDGE}{turns}{_FAIRNESS}{instruction}\n\n{listed}"),
        Message.user(_shown(question, answer)),
    )


@prompt(chat=_rating_chat)
def rate_answer(question: str | Chat, answer: str, reference: str | None) -> Completion:
    """A view of one answer, that ends with a rating."""
    raise NotImplementedError


@prompt(chat=_rubric_chat)
def choose_option(
    question: str | Chat, answer: str, options: Sequence[str], instruction: str
) -> Completion:
    """One option of a rubric, or its label."""
    raise NotImplementedError


def read_rating(text: str) -> float | None:
    """Return the number from 1 to 10 in the last `[[...]]` of a judge's text that holds a number.

    None where there is none, or where the last is out of range: an earlier one is no verdict.
    """
    found = _MARK.findall(text)
    rating = float(found[-1]) if found else 0.0
    return rating if 1 <= rating <= 10 else None


def read_option(text: str, anchors: Sequence[str], lowest: int) -> float | None:
    """Return the score of the option that a judge's text is, word for word; None if it is none.

    The number alone, or the anchor alone, will do. Case, marks of bold text and a full stop at the
    end do not count.
    """
    said = _plain(text)
    for score, anchor in enumerate(anchors, lowest):
        if said in (str(score), _plain(anchor), _plain(f"{score}: {anchor}")):
            return float(score)
    return None


def _plain(text: str) -> str:
    return re.sub(r"[*_`\"]", "", text).strip().removesuffix(".").casefold()


def expected_of(reply: Completion, labels: Sequence[str], lowest: int = 0) -> ExpectedScore:
    """Return the mean of the scores from `lowest`, by the probabilities of their labels."""
    masses = label_masses(reply, labels)
    shares = normalised(masses)
    raw = kept(reply.text)
    mass = min(1.0, math.fsum(masses))
    if shares is None:
        return ExpectedScore(None, mass, (), ScoreVerdict(score=None, raw=raw))
    score = math.fsum(share * value for value, share in enumerate(shares, lowest))
    return ExpectedScore(score, mass, tuple(shares), ScoreVerdict(score=score, raw=raw))


@step
def rating_read(reply: Completion) -> ScoreVerdict:
    """The rating that a reply ends with."""
    return score_of(reply, read_rating)


@step
def option_read(reply: Completion, anchors: Sequence[str], lowest: int) -> ScoreVerdict:
    """The score of the option that a reply is."""
    return score_of(reply, lambda text: read_option(text, anchors, lowest))


@step
def expectation(reply: Completion, labels: Sequence[str], lowest: int) -> ExpectedScore:
    """The expected score of a reply of one token."""
    return expected_of(reply, labels, lowest)


@program
def score_answer(
    question: str | Chat,
    answer: str,
    *,
    model: Model,
    reference: str | None = None,
    max_tokens: int = 2048,
) -> Ref[ScoreVerdict]:
    """Let a judge explain its view of an answer, and rate it from 1 to 10.

    A reply that was cut off, or ends with no rating, gives None: that is an error to be counted.

    Args:
        question: A text, or a chat whose last message is answered.
        answer: What is judged.
        model: The judge; asked greedily, once.
        reference: A right answer; where given, correctness comes first.
        max_tokens: Of the explanation and the rating.

    Source: Zheng et al. 2023, arXiv:2306.05685, single-answer grading, and FastChat's llm_judge. Our
    wording; the last rating counts, not the first.
    """
    bound = rate_answer.on(model, temperature=0.0, max_tokens=max_tokens)
    return rating_read(bound(question, answer, reference))


@program
def score_by_rubric(
    question: str | Chat,
    answer: str,
    *,
    model: Model,
    anchors: Sequence[str] = ANCHORS,
    lowest: int = 0,
    max_tokens: int = 64,
) -> Ref[ScoreVerdict]:
    """Let a judge choose the option of a rubric that fits an answer best.

    Args:
        question: A text, or a chat whose last message is answered.
        answer: What is judged.
        model: The judge; asked greedily, once.
        anchors: What each score means, from the lowest up.
        lowest: The score of the first anchor.
        max_tokens: Of the option.

    Source: ALMA's rubric judge: an anchor for each score, one option to repeat. Our wording.
    """
    _check_rubric(anchors, lowest)
    options = [f"{score}: {anchor}" for score, anchor in enumerate(anchors, lowest)]
    instruction = (
        "Which of these options describes the answer best? Reply with that option, word for word, "
        "and nothing else."
    )
    bound = choose_option.on(model, temperature=0.0, max_tokens=max_tokens)
    return option_read(bound(question, answer, options, instruction), list(anchors), lowest)


@program
def expected_score(
    question: str | Chat,
    answer: str,
    *,
    model: Model,
    anchors: Sequence[str] = ANCHORS,
    lowest: int = 0,
    labels: Sequence[str] | None = None,
) -> Ref[ExpectedScore]:
    """Return the expected score of an answer, by the probabilities of a rubric's labels.

    It costs one token, and tells answers apart that would all get the same number.

    Args:
        question: A text, or a chat whose last message is answered.
        answer: What is judged.
        model: The judge; its engine needs `Capability.LOGPROBS`, for 20 alternatives.
        anchors: What each score means, from the lowest up; at most 20.
        lowest: The score of the first anchor.
        labels: What stands for each score; each must be one token of the judge's. None is the
            scores themselves where each is one digit, else capital letters.

    Source: as of `score_by_rubric`, its expected score. Departure: letters stand for scores of
    more than one digit, since 10 is two tokens of most models and begins as 1 does.
    """
    _check_rubric(anchors, lowest)
    chosen = _labels_of(anchors, lowest) if labels is None else list(labels)
    check_labels(chosen)
    if len(chosen) != len(anchors):
        raise ConfigError(
            f"labels is {labels!r}; it must hold a label for each of the {len(anchors)} anchors"
        )
    options = [
        f"{label}: score {score}, {anchor}"
        for score, (label, anchor) in enumerate(zip(chosen, anchors, strict=True), lowest)
    ]
    instruction = (
        "Which of these options describes the answer best? Reply with what stands before its colon, "
        "and nothing else."
    )
    bound = choose_option.on(model, temperature=0.0, max_tokens=1, logprobs=TOP)
    return expectation(bound(question, answer, options, instruction), chosen, lowest)


def _labels_of(anchors: Sequence[str], lowest: int) -> list[str]:
    if lowest + len(anchors) <= 10:
        return [str(score) for score in range(lowest, lowest + len(anchors))]
    return list(string.ascii_uppercase[: len(anchors)])


def _check_rubric(anchors: Sequence[str], lowest: int) -> None:
    whole("lowest", lowest, 0)
    are_texts = all(isinstance(each, str) and each.strip() for each in anchors)
    if isinstance(anchors, str) or not are_texts or len(anchors) < 2:
        raise ConfigError(f"anchors is {anchors!r}; it must hold a text for each score, at least 2")
    if len(set(map(_plain, anchors))) != len(anchors):
        raise ConfigError(f"anchors is {anchors!r}; each may stand once")

"""Verifiers: judge an answer by how likely a model finds each verdict, without sampling one."""

from __future__ import annotations

from collections.abc import Sequence

from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program, step
from motet.programs.quoting import tagged
from motet.prompts import prompt
from motet.refs import Ref
from motet.types import Scores

VERIFY = "Is the answer correct? Reply with Yes or No only."
GRADE = "How good is the answer? Reply with one number only, from {low} (worst) to {high} (best)."


def _verdict_chat(question: str, answer: str, instruction: str) -> str:
    return f"{tagged('question', question)}\n\n{tagged('answer', answer)}\n\n{instruction}"


@prompt(chat=_verdict_chat)
def verdict(question: str, answer: str, instruction: str) -> str:
    """A verdict on an answer, in one word."""
    raise NotImplementedError


@step
def probability_of(scores: Scores, candidate: str) -> float:
    """Probability of `candidate`, given that one of the candidates is said."""
    return scores.probabilities[candidate]


@step
def expected_number(scores: Scores) -> float:
    """Mean of the candidates, which are numbers, weighted by their probabilities."""
    return sum(float(c) * p for c, p in scores.probabilities.items())


@program
def verify(
    question: str,
    answer: str,
    *,
    model: Model,
    instruction: str = VERIFY,
    yes: str = "Yes",
    no: str = "No",
) -> Ref[float]:
    """Return the probability, from 0 to 1, that the model calls `answer` correct.

    It is p(yes) / (p(yes) + p(no)), from the first words' log-probabilities: exact, and one
    request. A model whose probability lies elsewhere says little; see `Scores.mass`.

    Source: Kadavath et al. 2022, arXiv:2207.05221, P(True). Departure: Yes and No instead of the
    letters of a choice.
    """
    if yes == no:
        raise ConfigError(f"yes and no are both {yes!r}; they must differ")
    scored = verdict.on(model).scores([yes, no])
    return probability_of(scored(question, answer, instruction), yes)


@program
def grade(
    question: str,
    answer: str,
    *,
    model: Model,
    scale: Sequence[int] = (1, 2, 3, 4, 5),
    instruction: str = GRADE,
) -> Ref[float]:
    """Return the expected grade of `answer` on `scale`, by the probabilities of the grades.

    A mean over grades tells answers apart that would all get the same one.

    Source: Liu et al. 2023, arXiv:2303.16634 (G-Eval), whose weights come from 20 samples;
    here from the log-probabilities themselves.
    """
    grades = sorted(set(scale))
    if len(grades) < 2:
        raise ConfigError(f"scale is {scale!r}; it must hold at least two grades")
    stated = instruction.replace("{low}", str(grades[0])).replace("{high}", str(grades[-1]))
    scored = verdict.on(model).scores([str(each) for each in grades])
    return expected_number(scored(question, answer, stated))

"""Minimum Bayes risk: of n answers choose the one that the others, as references, rate highest."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from motet.engine import Capability
from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program, step
from motet.programs.capabilities import Need, refuse_unable
from motet.programs.quoting import question_text, tagged
from motet.programs.scorers import EmbeddingSimilarity, Grading, Scorer, embedded_text
from motet.programs.solution import Solution, solution_of
from motet.programs.solution_calls import SolutionCalls
from motet.programs.verifier import expected_number
from motet.prompts import prompt
from motet.refs import Ref
from motet.search.driver import search
from motet.search.mbr import Mbr, MbrProblem, Utility, rouge_1
from motet.search.settings import number, whole
from motet.search.tools import FAILED, Lost
from motet.types import Chat, Embedding

GRADES = (1, 2, 3, 4, 5)
COMPARE = (
    "Grade an answer to a question by how well it agrees with a reference answer, from 1 (worst) "
    "to 5 (best). Reply with the grade only."
)


def _grade_chat(question: str | Chat, candidate: str, reference: str, instruction: str) -> str:
    parts = {"question": question_text(question), "reference": reference, "answer": candidate}
    return "\n\n".join([instruction, *(tagged(name, text) for name, text in parts.items())])


@prompt(chat=_grade_chat)
def grade_given(question: str | Chat, candidate: str, reference: str, instruction: str) -> str:
    """A grade of a candidate, given that a reference is right."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The utility that is the cosine of candidate and reference, each text embedded once."""

    model: Model
    """Its engine needs `Capability.EMBED`: `local:minilm`, or a server of an embedding model."""


@step
async def utilities_of(pairs: Sequence[tuple[str, str]], utility: Utility) -> list[Any]:
    """What a function gives for pairs of candidate and reference; None for one that was lost."""
    found = utility(pairs)
    rated = await found if inspect.isawaitable(found) else found
    return [None if isinstance(each, Lost) else each for each in rated]


@program
async def minimum_bayes_risk(
    question: str | Chat,
    *,
    model: Model,
    n: int = 30,
    utility: Literal["rouge-1"] | Model | Embeddings | Utility = "rouge-1",
    num_references: int | None = None,
    temperature: float | None = 1.0,
    answer_tokens: int = 1024,
    instruction: str = COMPARE,
    seed: int = 0,
) -> Solution:
    """Answer `question` `n` times; return the answer of highest mean utility under the others.

    With a judge it costs n^2 - n grades of one token's log-probabilities each, or about
    n * num_references. A budget that does not hold them all grades by as many references as it
    holds; `notes` says how many pairs were rated. `Embeddings` cost one embedding for each text.

    Args:
        question: A text or a chat.
        model: Answers.
        n: Answers.
        utility: `rouge-1`; a judge, whose expected grade from 1 to 5 of the candidate given the
            reference counts; `Embeddings(model)`; or a function of pairs of texts.
        num_references: Answers that are references, drawn by chance; None is all.
        temperature: Of the answers; None leaves it to the model.
        answer_tokens: Most tokens of an answer.
        instruction: Tells the judge what to grade.
        seed: Of the references; that of the answers comes from the run.

    Raises:
        ConfigError: A setting is wrong.
        CapabilityError: The judge cannot score, or the model of the embeddings cannot embed.
        BudgetExhaustedError: The budget did not hold one answer.
        TooFewSurvivorsError: No answer came to its end.

    Source: Wu et al. 2024, arXiv:2410.02902. Departures, besides those of `Mbr`: the judge's grade
    is its mean by the grades' log-probabilities; its prompt and the temperature are ours.
    """
    is_known = isinstance(utility, (Model, Embeddings)) or utility == "rouge-1"
    if not is_known and not callable(utility):
        raise ConfigError(
            f"utility is {utility!r}; it must be 'rouge-1', a Model, Embeddings or a function of "
            "pairs"
        )
    if temperature is not None:
        number("temperature", temperature, 0)
    whole("answer_tokens", answer_tokens)
    if isinstance(utility, Model):
        await refuse_unable([Need("utility", utility, Capability.SCORE)])
    elif isinstance(utility, Embeddings):
        await refuse_unable([Need("utility", utility.model, Capability.EMBED)])
    algorithm = Mbr(n=n, num_references=num_references)
    calls = _Rating(
        question=question,
        model=model,
        # What a small budget holds is left for the grades, or the embeddings, then.
        scorer=_scorer_like(utility),
        temperature=temperature,
        most_tokens=(answer_tokens, answer_tokens),
        utility=utility,
        compare=instruction,
    )
    problem = MbrProblem(propose=calls.propose, utility=calls.rate, step_tokens=answer_tokens)
    result = await search(algorithm, problem, seed=seed)
    return solution_of(result, calls.failures)


def _scorer_like(utility: object) -> Scorer | None:
    if isinstance(utility, Model):
        return Grading(utility)
    return EmbeddingSimilarity(utility.model) if isinstance(utility, Embeddings) else None


@dataclass(kw_only=True)
class _Rating(SolutionCalls):
    """A question's callables, made of calls of the running program."""

    utility: Literal["rouge-1"] | Model | Embeddings | Utility = "rouge-1"
    compare: str = COMPARE

    async def rate(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float | Lost]:
        if isinstance(self.utility, Model):
            graded = [self._graded(*pair) for pair in pairs]
            return await self.values(graded)
        if isinstance(self.utility, Embeddings):
            return await self._cosines(self.utility.model, pairs)
        if isinstance(self.utility, str):
            return rouge_1(pairs)
        rated = await utilities_of(list(pairs), self.utility)
        return [FAILED if each is None else each for each in rated]

    async def _cosines(self, model: Model, pairs: Sequence[tuple[str, str]]) -> list[float | Lost]:
        """Embed each text once; a text that was lost costs its pairs."""
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        embedded = embedded_text.on(model).embeddings()
        vectors = dict(zip(texts, await self.values([embedded(t) for t in texts]), strict=True))
        return [_cosine(vectors[candidate], vectors[other]) for candidate, other in pairs]

    def _graded(self, candidate: str, reference: str) -> Ref[float]:
        assert isinstance(self.utility, Model)
        scored = grade_given.on(self.utility).scores([str(each) for each in GRADES])
        return expected_number(scored(self.question, candidate, reference, self.compare))


def _cosine(one: Embedding | Lost, other: Embedding | Lost) -> float | Lost:
    if isinstance(one, Lost):
        return one
    return other if isinstance(other, Lost) else one.cosine(other)

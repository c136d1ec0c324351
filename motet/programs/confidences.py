"""Confidences: calls that ask a model, and say how sure its answer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Protocol

from motet.combinators import settled
from motet.engine import Capability, Completion
from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program, step
from motet.outputs import Output
from motet.programs.best_of_n import answer
from motet.programs.chats import as_chat
from motet.programs.mistakes import OF_ALL
from motet.programs.scorers import Scorer
from motet.programs.self_consistency import INSTRUCTION, think
from motet.prompts import prompt
from motet.refs import Ref
from motet.routing.confidence import majority_share, mean_probability, min_probability
from motet.search.answers import Extraction, extract_answer
from motet.types import Chat, Outcome

_TEXT: Final = Output(str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer, and how sure it is."""

    text: str
    confidence: float | None
    """0 to 1; None where nothing tells, which is no confidence at all."""
    error: str | None = None
    """Why it could not be scored."""


class Confidence(Protocol):
    """Makes the call that answers a question and says how sure the answer is.

    One that has a `capability` needs a model with it; that is found out before anything is paid.
    """

    def __call__(self, question: str | Chat, model: Model, sampling: dict[str, Any]) -> Any:
        """Return the call of an `Answered`; `sampling` is of the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Likelihood:
    """By the log-probabilities of the answer's own tokens: of their mean, or of the least one."""

    capability: ClassVar = Capability.LOGPROBS

    of: Literal["mean", "least"] = "mean"

    def __post_init__(self) -> None:
        if self.of not in ("mean", "least"):
            raise ConfigError(f"of is {self.of!r}; it must be mean or least")

    def __call__(self, question: str | Chat, model: Model, sampling: dict[str, Any]) -> Any:
        told = answer_with_tokens.on(model, **sampling, logprobs=0)(question)
        return by_likelihood(told, self.of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """By the share of samples that state the same answer; the first of them is the answer's text.

    Source: Yue et al. 2023, arXiv:2310.03094, cascades by answer consistency.
    """

    n: int = 5
    extract: Extraction = "final"
    instruction: str = INSTRUCTION
    temperature: float = 0.7

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 2:
            raise ConfigError(f"n is {self.n!r}; agreement takes at least 2 samples")

    def __call__(self, question: str | Chat, model: Model, sampling: dict[str, Any]) -> Any:
        settings = {**sampling, "temperature": self.temperature}
        texts = think.on(model, **settings).samples(self.n)(question, self.instruction)
        return by_agreement(texts, self.n, self.extract)


@dataclass(frozen=True, slots=True)
class Scored:
    """By a scorer of `motet.programs.scorers`: a judge, a verifier, a reward model, a function.

    Where it fails, for want of budget say, the answer stays without a confidence.
    """

    scorer: Scorer

    def __call__(self, question: str | Chat, model: Model, sampling: dict[str, Any]) -> Any:
        return answer_and_score(question, model, sampling, self.scorer)


@prompt(chat=as_chat)
def answer_with_tokens(question: str | Chat) -> Completion:
    """An answer with the log-probabilities of its tokens."""
    raise NotImplementedError


@step
def by_likelihood(told: Completion, of: str) -> Answered:
    """How likely the answer's tokens were.

    Raises:
        OutcomeError: The reply is no answer: it was cut off, or is empty.
    """
    text = _TEXT.parse(told)
    logprobs = [min(each.logprob, 0.0) for each in told.logprobs]
    known = mean_probability(logprobs) if of == "mean" else min_probability(logprobs)
    return Answered(text=text, confidence=known if told.finish_reason == "stop" else None)


@step
def by_agreement(texts: list[str], asked: int, extract: Extraction) -> Answered:
    """What most samples state; one that failed, or states nothing, agrees with none."""
    stated = [extract_answer(text, extract) for text in texts]
    told = [each for each in stated if each is not None]
    if not told:
        return Answered(text=texts[0], confidence=None)
    winner = max(told, key=told.count)
    confidence = majority_share([*stated, *[None] * (asked - len(texts))])
    return Answered(text=texts[stated.index(winner)], confidence=confidence)


@program
def answer_and_score(
    question: str | Chat, model: Model, sampling: dict[str, Any], scorer: Scorer
) -> Ref[Answered]:
    """An answer, and what the scorer says of it."""
    text = answer.on(model, **sampling)(question)
    return scored_answer(text, settled([scored_text(question, text, scorer)]))


@program
async def scored_text(question: str | Chat, text: str, scorer: Scorer) -> float:
    """What the scorer says of a text that is known by now."""
    return await scorer(question, text)


@step
def scored_answer(text: str, scored: Sequence[Outcome[float]]) -> Answered:
    """The answer with its score as its confidence."""
    error = scored[0].error
    if isinstance(error, OF_ALL):
        raise error
    if error is not None:
        return Answered(text=text, confidence=None, error=f"{type(error).__name__}: {error}")
    return Answered(text=text, confidence=float(scored[0].value))

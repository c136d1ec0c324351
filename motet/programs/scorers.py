"""Scorers of solutions, whole or partial: each makes the call that gives a number from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from motet.engine import Capability
from motet.errors import ConfigError, OutcomeError, SearchError
from motet.model import Model
from motet.operations import step
from motet.programs.chats import as_chat, with_system
from motet.programs.quoting import question_text
from motet.programs.verifier import grade, probability_of, verify
from motet.prompts import prompt
from motet.refs import Ref
from motet.search.settings import one_of
from motet.search.step_scores import Aggregate, aggregated, split_steps
from motet.types import Chat, Embedding, Message, Rewards

PROGRESS = (
    "The answer may be unfinished. Is every step of it so far correct, and does it lead to the "
    "solution? Reply with Yes or No only."
)


class Scorer(Protocol):
    """Makes the call that scores one text; any function of this shape will do.

    One that has a `model`, and says by its `capability` what that needs, is refused before a search
    has paid for anything where the engine has not got it.
    """

    def __call__(self, question: str | Chat, text: str) -> Ref[float]: ...


@dataclass(frozen=True, slots=True)
class SelfEvaluation:
    """The probability that a model says Yes when it is asked whether the text is right so far."""

    capability: ClassVar = Capability.SCORE

    model: Model
    instruction: str = PROGRESS

    def __call__(self, question: str | Chat, text: str) -> Ref[float]:
        asked = question_text(question)
        return verify(asked, text, model=self.model, instruction=self.instruction)


@dataclass(frozen=True, slots=True)
class Grading:
    """The expected grade that a model gives, put onto 0 to 1."""

    capability: ClassVar = Capability.SCORE

    model: Model
    scale: tuple[int, ...] = (1, 2, 3, 4, 5)

    def __call__(self, question: str | Chat, text: str) -> Ref[float]:
        asked = question_text(question)
        graded = grade(asked, text, model=self.model, scale=self.scale)
        return onto_unit(graded, min(self.scale), max(self.scale))


@dataclass(frozen=True, slots=True)
class Check:
    """A function of the text, such as a programmatic verifier; True counts 1."""

    function: Callable[[str], float | bool]

    def __call__(self, question: str | Chat, text: str) -> Ref[float]:
        return checked(text, self.function)


@dataclass(frozen=True, slots=True)
class Jury:
    """The mean of several scorers; one that fails on a text costs that text its score."""

    scorers: tuple[Scorer, ...]

    def __post_init__(self) -> None:
        if not self.scorers:
            raise ConfigError("scorers is (); a jury needs at least one")

    def __call__(self, question: str | Chat, text: str) -> Ref[float]:
        return mean([scorer(question, text) for scorer in self.scorers])


def find_scorer(name: str, model: Model) -> Scorer:
    """Return the scorer that `name` stands for, with `model` as its judge.

    Raises:
        ConfigError: There is none of that name.
    """
    if name == "self":
        return SelfEvaluation(model)
    if name == "grade":
        return Grading(model)
    raise ConfigError(f"scorer is {name!r}; it must be self, grade, or a scorer of its own")


@step
def onto_unit(grade: float, low: int, high: int) -> float:
    """Put a grade from `low` to `high` onto 0 to 1."""
    return (grade - low) / (high - low)


@step
def checked(text: str, function: Callable[[str], float | bool]) -> float:
    """What the function says of the text."""
    return float(function(text))


@step
def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True, slots=True)
class RewardModel:
    """What a reward model gives the text as the assistant's turn behind the question."""

    capability: ClassVar = Capability.REWARD

    model: Model
    """Its engine needs `Capability.REWARD`: a vLLM server started with `--runner pooling`."""
    label: int | None = None
    """Class whose probability is the score; None for a model that has one number."""
    is_squashed: bool = True
    """Whether the logistic function puts that one number onto 0 to 1."""

    def __call__(self, question: str | Chat, text: str) -> Ref[float]:
        given = rewarded_answer.on(self.model).rewards(self.label)(question, text)
        return outcome_reward(given, self.is_squashed and self.label is None)


@dataclass(frozen=True, slots=True)
class ProcessReward:
    """What a process reward model gives the steps of the text, as one number.

    The steps stand in the assistant's turn with a tag behind each; the model gives one number a
    tag. A text without a step counts as one empty step.

    Source: Zhang et al. 2025, arXiv:2501.07301 (Qwen2.5-Math-PRM), whose defaults these are.
    """

    capability: ClassVar = Capability.REWARD

    model: Model
    """Its engine needs `Capability.REWARD`: a vLLM server of such a model with pooling type STEP
    and this tag's id as `step_tag_id`."""
    aggregate: Aggregate = "last"
    step_tag: str = "<extra_0>"
    delimiter: str = "\n\n"
    label: int | None = 1
    """Class that means a right step; None for a model that has one number, put onto 0 to 1."""
    instruction: str = ""
    """Added to the system turn, for a model that was trained with one."""

    def __post_init__(self) -> None:
        one_of("aggregate", self.aggregate, ("last", "min", "prod", "mean"))
        for name in ("step_tag", "delimiter"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is ''; it must be a text")

    def __call__(self, question: str | Chat, text: str) -> Ref[float]:
        steps = split_steps(text, self.delimiter) or [""]
        bound = rewarded_steps.on(self.model).rewards(self.label)
        given = bound(question, steps, self.step_tag, self.instruction)
        is_squashed = self.label is None
        return process_reward(given, len(steps), self.aggregate, self.step_tag, is_squashed)


@dataclass(frozen=True, slots=True)
class ChatProcessReward:
    """What a process reward model that speaks gives the steps of the text, as one number.

    Each step is a user's turn, the question in front of the first, and the model says + or - to
    it; earlier steps have their +. A step's number is the probability of + among the two. Of the
    aggregate `last` only the last step is asked for.

    Source: RLHFlow's models, such as Llama3.1-8B-PRM-Deepseek-Data.
    """

    capability: ClassVar = Capability.SCORE

    model: Model
    """Its engine needs `Capability.SCORE`."""
    aggregate: Aggregate = "last"
    delimiter: str = "\n\n"
    good: str = "+"
    bad: str = "-"

    def __post_init__(self) -> None:
        one_of("aggregate", self.aggregate, ("last", "min", "prod", "mean"))
        if not self.delimiter:
            raise ConfigError("delimiter is ''; it must be a text")

    def __call__(self, question: str | Chat, text: str) -> Ref[float]:
        steps = split_steps(text, self.delimiter) or [""]
        first = len(steps) if self.aggregate == "last" else 1
        bound = step_verdict.on(self.model).scores([self.good, self.bad])
        verdicts = [bound(question, steps[:end], self.good) for end in range(first, len(steps) + 1)]
        values = [probability_of(verdict, self.good) for verdict in verdicts]
        return aggregated_steps(values, self.aggregate)


@dataclass(frozen=True, slots=True)
class EmbeddingSimilarity:
    """How near the text is to a reference: the cosine of their embeddings, put onto 0 to 1.

    It costs two embeddings a text, one where the store has the reference's already.
    """

    capability: ClassVar = Capability.EMBED

    model: Model
    """Its engine needs `Capability.EMBED`: `local:minilm`, or a server of an embedding model."""
    reference: str | None = None
    """A text that is right, or as a right one should be; None is the question."""

    def __call__(self, question: str | Chat, text: str) -> Ref[float]:
        reference = question_text(question) if self.reference is None else self.reference
        embedded = embedded_text.on(self.model).embeddings()
        return similarity(embedded(text), embedded(reference))


def _answered(question: str | Chat, answer: str) -> Chat:
    return (*as_chat(question), Message.assistant(answer))


def _tagged(question: str | Chat, steps: Sequence[str], step_tag: str, instruction: str) -> Chat:
    chat = as_chat(question)
    chat = with_system(chat, instruction) if instruction else chat
    if any(step_tag in text for text in (*steps, *(m.content for m in chat))):
        raise OutcomeError(f"the text to reward holds {step_tag!r}, the tag that ends a step")
    return (*chat, Message.assistant("".join(each + step_tag for each in steps)))


def _step_turns(question: str | Chat, steps: Sequence[str], good: str) -> Chat:
    asked = question_text(question)
    turns = [Message.user(f"{asked} {steps[0]}")]
    for each in steps[1:]:
        turns += [Message.assistant(good), Message.user(each)]
    return tuple(turns)


@prompt(chat=_answered)
def rewarded_answer(question: str | Chat, answer: str) -> str:
    """An answer, for a reward model."""
    raise NotImplementedError


def _as_text(text: str) -> str:
    return text


@prompt(chat=_as_text)
def embedded_text(text: str) -> str:
    """A text as it is, for an embedding model."""
    raise NotImplementedError


@prompt(chat=_tagged)
def rewarded_steps(
    question: str | Chat, steps: Sequence[str], step_tag: str, instruction: str
) -> str:
    """The steps of an answer, each with the tag behind it, for a process reward model."""
    raise NotImplementedError


@prompt(chat=_step_turns)
def step_verdict(question: str | Chat, steps: Sequence[str], good: str) -> str:
    """A verdict on the last of some steps."""
    raise NotImplementedError


@step
def similarity(one: Embedding, other: Embedding) -> float:
    """The cosine of two embeddings, put onto 0 to 1."""
    return (1 + one.cosine(other)) / 2


@step
def outcome_reward(rewards: Rewards, is_squashed: bool) -> float:
    """The reward of the whole text."""
    return logistic(rewards.last) if is_squashed else rewards.last


@step
def process_reward(
    rewards: Rewards, num_steps: int, aggregate: Aggregate, step_tag: str, is_squashed: bool
) -> float:
    """One reward of those of the steps.

    Raises:
        SearchError: There are more or fewer rewards than steps.
    """
    values = rewards.values
    if len(values) != num_steps:
        raise SearchError(
            f"{len(values)} rewards came for {num_steps} steps; step_tag is {step_tag!r}, and the "
            "server's pooler must be of type STEP with the id of that tag"
        )
    return aggregated([logistic(v) for v in values] if is_squashed else values, aggregate)


@step
def aggregated_steps(values: Sequence[float], aggregate: Aggregate) -> float:
    """One number of those of the steps."""
    return aggregated(values, aggregate)


def logistic(value: float) -> float:
    """Put a number onto 0 to 1."""
    share = math.exp(-abs(value))
    return 1 / (1 + share) if value >= 0 else share / (1 + share)

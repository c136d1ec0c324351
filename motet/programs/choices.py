"""Choices: who is to answer a question, by a trained router or by a model that reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from motet.combinators import settled
from motet.engine import Capability
from motet.errors import ConfigError, EngineError, PromptTooLongError, TooFewSurvivorsError
from motet.model import Model
from motet.operations import program
from motet.programs.capabilities import Need
from motet.programs.mistakes import OF_ALL
from motet.programs.quoting import AS_DATA, question_text, tagged
from motet.programs.verifier import probability_of
from motet.prompts import prompt
from motet.routing.deciding import Prices, Rule
from motet.routing.router import Decision, TrainedRouter
from motet.types import Chat, Embedding, Message, Outcome

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats

CAN = "Can this model answer the question well? Reply with Yes or No only."


class Choice(Protocol):
    """Says which of some models is to answer, inside a running program: it may make calls."""

    async def __call__(self, question: str | Chat, names: Sequence[str]) -> Decision:
        """Choose among `names`."""
        ...

    def check(self, names: Sequence[str]) -> list[Need]:
        """Return what it needs of its own models.

        Raises:
            ConfigError: It does not know one of `names`.
        """
        ...


@prompt(user="{{ text }}")
def embedded(text: str) -> str:
    """A question's embedding."""
    raise NotImplementedError


@program
async def beginning_embedded(text: str, *, embedder: Model) -> Embedding:
    """A text's embedding; where it is longer than the embedder takes, that of its beginning."""
    whole = embedded.embeddings().on(embedder)
    try:
        found: Embedding = await whole(text)
    except PromptTooLongError:
        cut = {**embedder.sampling.extra, "truncate_prompt_tokens": -1}
        found = await whole.on(embedder, extra=cut)(text)
    return found


class Learned:
    """A trained router at work: embeds the question, estimates each model's score, decides.

    Of a chat the system turn is left out: it says how to answer, and not what is asked.

    Args:
        router: Trained on outcomes; see `motet.routing`.
        embedder: The model that embedded the prompts of its training.
        rule: Of `motet.routing.deciding`.
        prices: Of an answer of each model, in one unit; where the rule counts them.
    """

    __motet_opaque__: ClassVar[bool] = True

    def __init__(
        self,
        router: TrainedRouter,
        *,
        embedder: Model,
        rule: Rule,
        prices: Prices | None = None,
    ) -> None:
        self._router = router
        self._embedder = embedder
        self._rule = rule
        self._prices = dict(prices or {})
        named = f"{embedder.identity} {rule!r} {sorted(self._prices.items())!r}"
        self.identity = f"learned:{digest_of(router)}:{named}"

    def check(self, names: Sequence[str]) -> list[Need]:
        _refuse_unknown(names, self._router.models)
        return [Need("embedder", self._embedder, Capability.EMBED)]

    async def __call__(self, question: str | Chat, names: Sequence[str]) -> Decision:
        import numpy as np

        text = routed_text(question)
        vector = await beginning_embedded(text, embedder=self._embedder)
        found = self._router.estimate(np.asarray([vector.values], dtype=np.float64))[0]
        scores = dict(zip(self._router.models, map(float, found), strict=True))
        return self._rule.decide({name: scores[name] for name in names}, self._prices)


class CapabilityTexts:
    """A model reads what each candidate is able to do, and says how likely it can answer.

    Of a chat the system turn is left out. A candidate whose score cannot be had is passed over.

    Source: Zhang et al. 2025 (Model-SAT, capability instructions), which trains the reader; here
    it is any model, by the probability of Yes. Departure: one order of the abilities.

    Args:
        judge: Reads; has to give log-probabilities of its answers.
        texts: What each candidate can do, in words: accuracies on small tests, say.
        rule: Of `motet.routing.deciding`, on the probability of Yes.
        prices: Of an answer of each model, in one unit; where the rule counts them.
    """

    __motet_opaque__: ClassVar[bool] = True

    def __init__(
        self,
        judge: Model,
        texts: Mapping[str, str],
        *,
        rule: Rule,
        prices: Prices | None = None,
    ) -> None:
        self._judge = judge
        self._texts = dict(texts)
        self._rule = rule
        self._prices = dict(prices or {})
        named = f"{rule!r} {sorted(self._prices.items())!r} {sorted(self._texts.items())!r}"
        self.identity = f"capability_texts:{judge.identity} {named}"

    def check(self, names: Sequence[str]) -> list[Need]:
        _refuse_unknown(names, tuple(self._texts))
        return [Need("judge", self._judge, Capability.SCORE)]

    async def __call__(self, question: str | Chat, names: Sequence[str]) -> Decision:
        asked = routed_text(question)
        able = can_answer.on(self._judge).scores(["Yes", "No"])
        refs = [probability_of(able(self._texts[name], asked), "Yes") for name in names]
        outcomes: list[Outcome[float]] = await settled(refs)
        told = {n: o.value for n, o in zip(names, outcomes, strict=True) if o.is_success}
        errors = [o.error for o in outcomes if o.error is not None]
        for error in errors:
            if isinstance(error, OF_ALL):
                raise error
        if not told:
            if isinstance(errors[0], EngineError):
                raise errors[0]
            raise TooFewSurvivorsError("no model could be judged", failures=errors)
        return self._rule.decide(told, self._prices)


def capability_chat(abilities: str, question: str) -> Chat:
    return (
        Message.system(f"You know what a language model is able to do. {AS_DATA}"),
        Message.user(
            f"{tagged('abilities', abilities)}\n\n{tagged('question', question)}\n\n{CAN}"
        ),
    )


@prompt(chat=capability_chat)
def can_answer(abilities: str, question: str) -> str:
    """Whether a model of these abilities can answer a question."""
    raise NotImplementedError


def without_system(question: str | Chat) -> str | Chat:
    """Leave out what is no question: instructions, and the answers that a proposer is given."""
    if isinstance(question, str):
        return question
    return tuple(turn for turn in question if turn.role != "system") or question


def routed_text(question: str | Chat) -> str:
    """Return what of a question decides who is to answer it, as one text."""
    return question_text(without_system(question))


def _refuse_unknown(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"among has {name!r}; the router knows {', '.join(known)}")


def digest_of(router: Any) -> str:
    """Text that changes with anything that a trained router, or another dataclass, holds."""
    found = blake2b(type(router).__qualname__.encode(), digest_size=16)
    for field in dataclasses.fields(router):
        found.update(field.name.encode())
        _add(getattr(router, field.name), found.update)
    return found.hexdigest()


def _add(value: Any, update: Any) -> None:
    if hasattr(value, "tobytes"):
        array: Floats = value
        update(f"{array.dtype}{array.shape}".encode())
        update(array.tobytes())
    elif isinstance(value, (tuple, list)):
        for part in value:
            _add(part, update)
    else:
        update(repr(value).encode())

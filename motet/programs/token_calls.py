"""A question's next tokens for a search by tokens: calls of the running program."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from motet.errors import CapabilityError, ConfigError, EngineError, SearchError
from motet.model import Model
from motet.next_tokens import NextTokens
from motet.programs.chats import as_chat, with_system
from motet.programs.search_calls import SearchCalls
from motet.prompts import prompt
from motet.search.partials import Partial
from motet.search.potentials import SomeTokens, Tokens
from motet.search.text_potentials import KnownTexts
from motet.search.tokens import Token
from motet.search.tools import Lost
from motet.types import Chat

_NEVER: Final = -9990.0
"""Below this a token cannot follow; servers write -9999 for it, as JSON has no -inf."""
_ROUNDING: Final = 1e-3
_REMEMBERED: Final = 256
"""Distributions that are kept; a whole one has the size of the vocabulary."""
_REMEMBERED_VALUES: Final = 4096


def _chat(question: str | Chat, written: Sequence[int], instruction: str) -> Chat:
    chat = as_chat(question)
    return with_system(chat, instruction) if instruction else chat


@prompt(chat=_chat)
def next_token(question: str | Chat, written: Sequence[int], instruction: str) -> str:
    """What comes behind the tokens of an answer that are written."""
    raise NotImplementedError


@dataclass(kw_only=True)
class TokenCalls(SearchCalls):
    """A model's next tokens behind what it wrote of an answer; each text is asked for once."""

    question: str | Chat
    model: Model
    instruction: str = ""
    top_k: int | None = 20
    """How many tokens are looked at; None is all."""
    temperature: float = 1.0
    """Of `rows`."""
    texts: KnownTexts = field(default_factory=KnownTexts)
    _told: OrderedDict[Tokens, NextTokens] = field(default_factory=OrderedDict)
    _values: OrderedDict[tuple[str, str], Any] = field(default_factory=OrderedDict)
    """Of the calls of a name, by their texts."""

    async def find_end(self) -> int:
        """Return the token that stands for all that end a text.

        Raises:
            BudgetExhaustedError: The budget does not hold the first request.
            EngineError, ProgramError: The model does not answer it.
        """
        [told] = await self.ask([()])
        if isinstance(told, Lost):
            raise self.failures[0]
        if not told.ends:
            raise CapabilityError(f"{self.model.label} names no token that ends a text")
        return told.ends[0]

    async def ask(self, written: Sequence[Tokens]) -> list[NextTokens | Lost]:
        """Return what may follow each text.

        Raises:
            ConfigError: The engine refuses a setting.
            EngineError, ProgramError: It answers none of them.
        """
        # The texts of a whole vocabulary are the same everywhere, and many.
        is_named = self.top_k is not None or not self.texts.pieces
        bound = next_token.on(self.model).next_tokens(self.top_k, behind="written", texts=is_named)
        asked = [each for each in dict.fromkeys(written) if each not in self._told]
        refs = [bound(self.question, list(each), self.instruction) for each in asked]
        lost: dict[Tokens, Lost] = {}
        found = {each: self._told[each] for each in written if each in self._told}
        for tokens, outcome in zip(asked, await self.settle(refs), strict=True):
            if isinstance(outcome.error, ConfigError):
                raise outcome.error
            if not outcome.is_success:
                lost[tokens] = self.lost(outcome)
                continue
            told = found[tokens] = self._told[tokens] = outcome.value
            self.texts.note(tokens, told.text, dict(zip(told.ids, told.texts, strict=False)))
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return [found[each] if each in found else lost[each] for each in written]

    async def rows(self, written: Sequence[Tokens]) -> list[Any]:
        """Return the logits of what may follow each text; of all that end it, in one."""
        told = await self.ask(written)
        return [each if isinstance(each, Lost) else self._row(each) for each in told]

    def _row(self, told: NextTokens) -> Any:
        import numpy as np

        ends = list(told.ends)
        logprobs = np.asarray(told.logprobs, dtype=np.float64)
        if not (logprobs <= _ROUNDING).all():  # of a NaN nothing is true
            raise SearchError(f"{self.model.label} gave a logprob that is NaN or above 0")
        logits = np.where(logprobs > _NEVER, logprobs / self.temperature, -np.inf)
        if isinstance(told.ids, range):
            last = np.logaddexp.reduce(logits[ends])
            logits[ends] = -np.inf
            logits[ends[0]] = last
            return logits
        ids = np.asarray(told.ids)
        is_end = np.isin(ids, ends)
        last = np.logaddexp.reduce(logits[is_end]) if is_end.any() else -np.inf
        some = tuple(ids[~is_end].tolist())
        return SomeTokens((*some, ends[0]), (*logits[~is_end].tolist(), float(last)))

    async def top_tokens(self, partials: Sequence[Partial], k: int) -> list[list[Token] | Lost]:
        """Return the `k` likeliest tokens behind each text."""
        self.top_k = k
        written = [ids_of(partial) for partial in partials]
        told = await self.ask(written)
        return [
            each if isinstance(each, Lost) else self._tokens(tokens, each, k)
            for tokens, each in zip(written, told, strict=True)
        ]

    def _tokens(self, written: Tokens, told: NextTokens, k: int) -> list[Token]:
        found = []
        for token, logprob in list(zip(told.ids, told.logprobs, strict=True))[:k]:
            is_last = token in told.ends
            text = self.texts.added(written, token, is_last=is_last)
            found.append(Token(text, logprob, is_last=is_last, data=token))
        return found

    async def values_of(
        self, texts: Sequence[str], call: Callable[[str], Any], *, name: str
    ) -> list[Any]:
        """Return the value of the call that each text makes, or how it was lost; equal ones once.

        A text that ends is the same as one that goes on from there. What is still remembered under
        this name is not asked for again.

        Raises:
            EngineError: One was lost to an engine that is away: the run can be resumed.
        """
        known = {t: self._values[name, t] for t in texts if (name, t) in self._values}
        asked = [text for text in dict.fromkeys(texts) if text not in known]
        outcomes = await self.settle([call(text) for text in asked])
        for outcome in outcomes:
            if isinstance(outcome.error, EngineError) and outcome.error.retryable:
                raise outcome.error
        for text, outcome in zip(asked, outcomes, strict=True):
            known[text] = outcome.value if outcome.is_success else self.lost(outcome)
            if outcome.is_success:
                self._values[name, text] = outcome.value
        while len(self._values) > _REMEMBERED_VALUES:
            self._values.popitem(last=False)
        return [known[text] for text in texts]


def ids_of(partial: Partial) -> Tokens:
    """Return the tokens of the steps that searches make of `TokenCalls.top_tokens`."""
    found: list[int] = []
    for step in partial.steps:
        data = step.data["tokens"] if isinstance(step.data, dict) else [step.data]
        assert isinstance(data, list)
        found.extend(token for token in data if isinstance(token, int))
    return tuple(found)

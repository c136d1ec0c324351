"""A question's callables for a search by steps: a model continues, a scorer scores."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from motet.engine import Completion
from motet.model import Model
from motet.operations import step
from motet.programs.chats import as_chat, with_system
from motet.programs.replies import tokens_of
from motet.programs.scorers import Scorer
from motet.programs.search_calls import SearchCalls
from motet.prompts import Prompt, prompt
from motet.search.best_of_n import final_answer
from motet.search.partials import Partial, Step
from motet.search.tools import Ask, Lost
from motet.types import Chat, Message

INSTRUCTION = (
    "Solve the problem step by step. Write one step a paragraph, with an empty line between steps. "
    "End with a line of the form: The answer is <answer>."
)


def _chat(question: str | Chat, written: str, instruction: str) -> Chat:
    chat = as_chat(question)
    chat = with_system(chat, instruction) if instruction else chat
    return (*chat, Message.assistant(written)) if written else chat


@prompt(chat=_chat)
def continue_solution(question: str | Chat, written: str, instruction: str) -> Completion:
    """What comes behind the part of a solution that is written."""
    raise NotImplementedError


@step
def verdict_of(text: str, verify: Callable[[str], bool]) -> bool:
    """Whether a verifier accepts a text."""
    verdict: Any = verify(text)
    if verdict is None or isinstance(verdict, str) or inspect.isawaitable(verdict):
        raise TypeError(f"verify gave {verdict!r}; it must give True or False")
    return bool(verdict)


def states_answer(text: str) -> bool:
    """Whether a text states a final answer, as `final_answer` reads it."""
    return final_answer(text) is not None


@dataclass(kw_only=True)
class SolutionCalls(SearchCalls):
    """A question's callables, made of calls of the running program."""

    question: str | Chat
    model: Model
    scorer: Scorer | None = None
    verifier: Callable[[str], bool] | None = None
    ends: Callable[[str], bool] = states_answer
    """Whether a step that the delimiter ended is the last one nevertheless."""
    delimiter: str = "\n\n"
    instruction: str = ""
    temperature: float | None = None
    most_tokens: tuple[int, int] = (256, 1024)
    """Of a step, and of a whole answer."""
    _bound: dict[tuple[int, bool, int, float | None], Prompt[list[Completion]]] = field(
        default_factory=dict, init=False, repr=False
    )
    """The prompt with its settings, which are the same for most samples."""

    async def propose(self, asks: Sequence[Ask]) -> list[list[Step | Lost]]:
        """Ask for all samples of a place at once; where the budget does not hold them, for as
        many as it holds. Where they are to be scored, what is left then is for the scores.
        """
        found = await self.sampled(
            [ask.n for ask in asks],
            lambda place, n: self._asked(replace(asks[place], n=n)),
            is_thrifty=self.scorer is not None,
        )
        return [
            [
                each if isinstance(each, Lost) else self._step(ask, each)
                for each in given
                if isinstance(each, Lost) or each.finish_reason != "abort"
            ]
            for ask, given in zip(asks, found, strict=True)
        ]

    def _asked(self, ask: Ask) -> Any:
        sampling: dict[str, Any] = {"max_tokens": self._most(ask)}
        if not ask.is_whole:
            sampling["stop"] = (self.delimiter,)
        temperature = self.temperature if ask.temperature is None else ask.temperature
        if temperature is not None:
            sampling["temperature"] = temperature
        key = (ask.n, ask.is_whole, sampling["max_tokens"], temperature)
        bound = self._bound.get(key)
        if bound is None:
            bound = continue_solution.on(self.model, **sampling).samples(ask.n)
            self._bound[key] = bound
        return bound(self.question, ask.partial.text, self.instruction)

    def _most(self, ask: Ask) -> int:
        most = self.most_tokens[1 if ask.is_whole else 0]
        return most if ask.max_tokens is None else min(most, ask.max_tokens)

    def _step(self, ask: Ask, completion: Completion) -> Step:
        is_delimited = not ask.is_whole and completion.stop_reason == self.delimiter
        return Step(
            completion.text + (self.delimiter if is_delimited else ""),
            is_last=self.ends(completion.text)
            if is_delimited
            else completion.finish_reason == "stop",
            num_tokens=tokens_of(completion, self._most(ask)),
        )

    async def score(self, partials: Sequence[Partial]) -> list[float | Lost]:
        assert self.scorer is not None
        refs = [self.scorer(self.question, partial.text) for partial in partials]
        return await self.values(refs)

    async def verify(self, partials: Sequence[Partial]) -> list[bool | Lost]:
        assert self.verifier is not None
        refs = [verdict_of(partial.text, self.verifier) for partial in partials]
        return await self.values(refs)

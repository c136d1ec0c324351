"""A question's callables for a search by steps: a model continues, a scorer scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from motet.engine import Completion
from motet.model import Model
from motet.operations import step
from motet.programs.chats import as_chat, with_system
from motet.programs.scorers import Scorer
from motet.programs.search_calls import SearchCalls
from motet.prompts import prompt
from motet.search.partials import Partial, Step
from motet.search.tools import FAILED, UNPAID, Ask, Lost
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
    return bool(verify(text))


@dataclass(kw_only=True)
class SolutionCalls(SearchCalls):
    """A question's callables, made of calls of the running program."""

    question: str | Chat
    model: Model
    scorer: Scorer | None = None
    verifier: Callable[[str], bool] | None = None
    delimiter: str = "\n\n"
    instruction: str = ""
    temperature: float | None = None
    most_tokens: tuple[int, int] = (256, 1024)
    """Of a step, and of a whole answer."""

    async def propose(self, asks: Sequence[Ask]) -> list[list[Step | Lost]]:
        """Ask for all samples of a place at once; where the budget does not hold them, for as
        many as it holds. Where they are to be scored, what is left then is for the scores.
        """
        given: list[list[Step | Lost]] = [[] for _ in asks]
        left = {place: (ask.n, ask.n) for place, ask in enumerate(asks)}
        while left:
            sent = [(place, replace(asks[place], n=num)) for place, (_, num) in left.items()]
            outcomes = await self.settle([self._asked(ask) for _, ask in sent])
            for (place, ask), outcome in zip(sent, outcomes, strict=True):
                missing, num = left[place]
                lost = None if outcome.is_success else self.lost(outcome)
                if lost is UNPAID:
                    num //= 2
                else:
                    given[place] += [FAILED] * num if lost else self._steps(ask, outcome.value)
                    missing -= num
                left[place] = missing, min(num, missing)
                is_over = lost is not UNPAID and self.scorer is not None
                if is_over or not left[place][1]:
                    given[place] += [UNPAID] * missing
                    del left[place]
        return given

    def _asked(self, ask: Ask) -> Any:
        sampling: dict[str, Any] = {"max_tokens": self._most(ask)}
        if not ask.is_whole:
            sampling["stop"] = (self.delimiter,)
        temperature = self.temperature if ask.temperature is None else ask.temperature
        if temperature is not None:
            sampling["temperature"] = temperature
        bound = continue_solution.on(self.model, **sampling).samples(ask.n)
        return bound(self.question, ask.partial.text, self.instruction)

    def _most(self, ask: Ask) -> int:
        most = self.most_tokens[1 if ask.is_whole else 0]
        return most if ask.max_tokens is None else min(most, ask.max_tokens)

    def _steps(self, ask: Ask, completions: list[Completion]) -> list[Step]:
        return [self._step(ask, each) for each in completions if each.finish_reason != "abort"]

    def _step(self, ask: Ask, completion: Completion) -> Step:
        is_delimited = not ask.is_whole and completion.stop_reason == self.delimiter
        # An engine that does not name tokens does not count them: then the most there can be.
        uncounted = self._most(ask) if completion.text else 0
        return Step(
            completion.text + (self.delimiter if is_delimited else ""),
            is_last=completion.finish_reason == "stop" and not is_delimited,
            num_tokens=len(completion.token_ids) or uncounted,
        )

    async def score(self, partials: Sequence[Partial]) -> list[float | Lost]:
        assert self.scorer is not None
        refs = [self.scorer(self.question, partial.text) for partial in partials]
        return await self.values(refs)

    async def verify(self, partials: Sequence[Partial]) -> list[bool | Lost]:
        assert self.verifier is not None
        refs = [verdict_of(partial.text, self.verifier) for partial in partials]
        return await self.values(refs)

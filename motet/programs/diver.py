"""DIVER: where several tokens are plausible, take the span that makes the question more likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from motet.engine import Capability
from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program
from motet.programs.algorithms import chosen
from motet.programs.capabilities import Need, refuse_unable
from motet.programs.chats import as_chat
from motet.programs.quoting import tagged
from motet.programs.solution import Solution, solution_of
from motet.programs.token_calls import TokenCalls
from motet.prompts import prompt
from motet.runtime.prompting import chat_text
from motet.search.diver import Diver, DiverProblem
from motet.search.driver import search
from motet.search.partials import Partial
from motet.search.spending import NO_LIMITS, Limits
from motet.search.tools import Lost
from motet.types import Chat

REVERSE = (
    "Below is the beginning of a reply. Write the message that it replies to, word for word and "
    "nothing else."
)


def _reverse_chat(text: str, instruction: str) -> str:
    return f"{instruction}\n\n{tagged('reply', text)}"


@prompt(chat=_reverse_chat)
def message_behind(text: str, instruction: str) -> str:
    """The message that a text replies to."""
    raise NotImplementedError


@program
async def diver(
    question: str | Chat,
    *,
    model: Model,
    source: str | None = None,
    judge: Model | None = None,
    algorithm: Diver | str | None = None,
    reverse: str = REVERSE,
    instruction: str = "",
    limits: Limits = NO_LIMITS,
    seed: int = 0,
) -> Solution:
    """Answer `question` greedily, and stay with its source where several tokens are plausible.

    Where tokens are about as likely as the best, each is followed for a span, and that span is
    taken whose log-probability plus `weight` times the log-probability of the source behind it is
    highest.

    Args:
        question: A text or a chat.
        model: Answers; its engine tells next tokens (`Capability.NEXT_TOKENS`).
        source: What the answer is to stay with, such as the text to translate; None is the
            question's text.
        judge: Says how likely the source is given the answer; it has to score candidates. None is
            `model`.
        algorithm: `Diver(...)` or its text: `diver(alpha=0.3)`; None is `Diver()`.
        reverse: Tells the judge to write the source.
        instruction: Added to the system turn; empty for none.
        limits: What the search may use.
        seed: Changes nothing, as nothing is drawn.

    Raises:
        ConfigError: A setting is wrong.
        CapabilityError: An engine lacks next tokens or scores.
        BudgetExhaustedError: The budget did not hold the first token.
        TooFewSurvivorsError: There is nothing to show.

    Source: as of `Diver`; the prompt in reverse is ours.
    """
    algorithm = Diver() if algorithm is None else chosen(algorithm, diver=Diver)
    read = chat_text(as_chat(question)) if source is None else source
    if not read:
        raise ConfigError("source is ''; it must be a text")
    needs = [Need("model", model, Capability.NEXT_TOKENS)]
    if algorithm.weight:
        scoring = Need("model", model, Capability.SCORE)
        needs.append(scoring if judge is None else Need("judge", judge, Capability.SCORE))
    await refuse_unable(needs)
    calls = _Diving(
        question=question,
        model=model,
        instruction=instruction,
        source=read,
        judge=model if judge is None else judge,
        reverse=reverse,
    )
    problem = DiverProblem(top_tokens=calls.top_tokens, input_logprob=calls.source_logprobs)
    result = await search(algorithm, problem, seed=seed, limits=limits)
    return solution_of(result, calls.failures)


@dataclass(kw_only=True)
class _Diving(TokenCalls):
    """A question's callables, made of calls of the running program."""

    source: str
    judge: Model
    reverse: str

    async def source_logprobs(self, partials: Sequence[Partial]) -> list[float | Lost]:
        bound = message_behind.on(self.judge).scores([self.source])
        texts = [partial.text for partial in partials]
        found = await self.values_of(texts, lambda text: bound(text, self.reverse), name="judge")
        return [each if isinstance(each, Lost) else each.logprobs[0] for each in found]

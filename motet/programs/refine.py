"""Refine: rewrite a response, by a search over rewritings, until a judge finds that it obeys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from motet.engine import Completion
from motet.errors import ConfigError, EmptyReplyError, EngineError, ProgramError
from motet.model import Model
from motet.operations import program
from motet.programs.algorithms import chosen
from motet.programs.chats import as_chat
from motet.programs.quoting import question_text, tagged
from motet.programs.replies import tokens_of
from motet.programs.search_calls import SearchCalls
from motet.prompts import Prompt, prompt
from motet.search.driver import SearchResult, search
from motet.search.partials import Step
from motet.search.refinement import END, START, Draft, Refinement, RefinementProblem, read_verdict
from motet.search.settings import whole
from motet.search.spending import NO_LIMITS, NOTHING, Spend
from motet.search.tools import Lost
from motet.search.tree import Tree
from motet.types import Chat, Message

_JUDGEMENT: Final = re.compile(r"final judge?ment", re.IGNORECASE)
JUDGE = (
    "Does the response obey every part of the instruction? Go through its parts one by one, and "
    "say of each whether the response obeys it. Then end with one line, "
    '"Final Judgement: Yes" where it obeys all of them, and "Final Judgement: No" otherwise.'
)
REWRITE = (
    "Reflect on what the response fails at. Then write it anew so that it obeys every part of the "
    "instruction, and change no more than that takes. Put the whole new response between a line "
    f"{START} and a line {END}, and use these marks nowhere else."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined:
    """What came of refining a response."""

    text: str
    is_passed: bool
    """Whether the judge finds that the text obeys; where not, it is the best there is."""
    value: float
    """Share of the judge's verdicts that are Yes; 0 where there are none."""
    pair: tuple[str, str] | None
    """The rewriting that passed, chosen, and the response that failed, rejected."""
    why: str
    """Why the search ended; see `motet.search.driver.Why`."""
    error: str | None = None
    """What failed, where it ended so."""
    spend: Spend = field(default_factory=Spend)
    """Votes are scores; the first response and its judgement count."""
    tree: Tree = field(default_factory=Tree)
    """Of rewritings; its root is the first response."""

    def __str__(self) -> str:
        return self.text


def _judge_turn(instruction: str | Chat, response: str, request: str) -> Message:
    asked = tagged("instruction", question_text(instruction))
    return Message.user(f"{asked}\n\n{tagged('response', response)}\n\n{request}")


def _judge_chat(instruction: str | Chat, response: str) -> Chat:
    return (_judge_turn(instruction, response, JUDGE),)


def _rewrite_chat(instruction: str | Chat, response: str, critique: str) -> Chat:
    if not critique:
        return (_judge_turn(instruction, response, REWRITE),)
    judged = _judge_turn(instruction, response, JUDGE)
    return (judged, Message.assistant(critique), Message.user(REWRITE))


@prompt(chat=as_chat)
def respond(question: str | Chat) -> Completion:
    """A first response."""
    raise NotImplementedError


@prompt(chat=_judge_chat)
def critique_of(instruction: str | Chat, response: str) -> Completion:
    """Whether a response obeys an instruction: reasons, then a line with the verdict."""
    raise NotImplementedError


@prompt(chat=_rewrite_chat)
def rewritten(instruction: str | Chat, response: str, critique: str) -> Completion:
    """A response that is written anew, between marks."""
    raise NotImplementedError


def read_judgement(reply: str) -> bool | None:
    """Return the verdict behind the last "Final Judgement"; None where there is none."""
    stated = list(_JUDGEMENT.finditer(reply))
    return read_verdict(reply[stated[-1].end() :]) if stated else None


@program
async def refine(
    instruction: str | Chat,
    *,
    response: str | None = None,
    model: Model,
    judge: Model | None = None,
    algorithm: Refinement | str = Refinement(),  # noqa: B008 - frozen
    temperature: float | None = 0.9,
    judge_temperature: float | None = 0.7,
    answer_tokens: int = 1024,
    critique_tokens: int = 1024,
) -> Refined:
    """Rewrite `response` until a judge finds that it obeys every part of `instruction`.

    A response that passes at once is returned as it is. Where nothing passes, or the budget around
    it is spent, the value is the best so far: read `is_passed`. A model that judges itself favours
    its own text.

    Args:
        instruction: A text or a chat.
        response: To refine; None asks the model for one.
        model: Responds and rewrites.
        judge: Says what a response fails at; None is `model`.
        algorithm: `Refinement(...)` or its text: `refinement(branch=2, order="depth")`.
        temperature: Of responses and rewritings; None leaves it to the model.
        judge_temperature: Of votes.
        answer_tokens: Most tokens of a response, and of a rewriting with the reflection before it.
        critique_tokens: Most tokens of a vote with its reasons.

    Raises:
        ConfigError: A setting is wrong.
        BudgetExhaustedError: The budget did not hold the first response.
        EmptyReplyError: The first response has no text.

    Source: SPaR (Cheng et al. 2024, arXiv:2412.11605). Departures, besides those of `Refinement`:
    prompts and token bounds are ours; replies that were cut off are not read; the first response
    is kept where no rewriting passes or is valued higher.
    """
    algorithm = chosen(algorithm, refinement=Refinement)
    if response is not None and not response.strip():
        raise ConfigError(f"response is {response!r}; it must hold text, or be None")
    whole("answer_tokens", answer_tokens)
    whole("critique_tokens", critique_tokens)
    calls = _Refining(
        instruction=instruction,
        rewriter=_bound(rewritten, model, answer_tokens, temperature),
        critic=_bound(critique_of, judge or model, critique_tokens, judge_temperature),
        answer_tokens=answer_tokens,
    )
    used = NOTHING
    if response is None:
        first = await _bound(respond, model, answer_tokens, temperature)(instruction)
        response = first.text
        if not response.strip():
            raise EmptyReplyError("the first response holds no text", completion=first)
        used = Spend(proposals=1, tokens=tokens_of(first, answer_tokens))
    problem = RefinementProblem(
        response=response,
        critique="",
        refine=calls.rewrite,
        judge=calls.judge,
        read_verdict=read_judgement,
    )
    tools = problem.tools(NO_LIMITS, used)
    [judged] = await algorithm._judged([response], tools)
    if judged is None and not tools.is_spent:
        raise calls.failures[0]
    value, critique = judged or (0.0, "")
    kept = Refined(
        text=response,
        is_passed=value > algorithm.end_gate,
        value=value,
        pair=None,
        why="limit" if judged is None else "done",
        spend=tools.spend,
    )
    if kept.is_passed or judged is None:
        return kept
    result = await search(algorithm, replace(problem, critique=critique))
    return _refined(kept, result)


def _bound(
    asked: Prompt[Completion], model: Model, max_tokens: int, temperature: float | None
) -> Prompt[Completion]:
    bound = asked.on(model, max_tokens=max_tokens)
    return bound if temperature is None else bound.on(temperature=temperature)


def _refined(first: Refined, result: SearchResult) -> Refined:
    """Return what the search found, over the first response where it is better."""
    error, best = result.error, result.best
    is_away = isinstance(error, EngineError) and error.retryable
    if error is not None and (best is None or is_away or isinstance(error, ProgramError)):
        raise error  # the run goes on when the engine is back, or the program is mended
    ended = replace(
        first,
        why=result.why,
        error=None if error is None else str(error),
        spend=first.spend + result.spend,
        tree=result.tree,
    )
    value = 0.0 if best is None or best.score is None else best.score
    if best is None or (value <= first.value and not result.notes["is_passed"]):
        return ended
    is_passed = bool(result.notes["is_passed"])
    pair = (best.text, first.text) if is_passed else None
    return replace(ended, text=best.text, is_passed=is_passed, value=value, pair=pair)


@dataclass(kw_only=True)
class _Refining(SearchCalls):
    """An instruction's callables, made of calls of the running program."""

    instruction: str | Chat
    rewriter: Prompt[Completion]
    critic: Prompt[Completion]
    answer_tokens: int
    """Most tokens of a rewriting."""

    async def rewrite(self, drafts: Sequence[Draft]) -> list[list[Step] | Lost]:
        refs = [
            self.rewriter.samples(draft.n)(self.instruction, draft.text, draft.critique)
            for draft in drafts
        ]
        return [
            found
            if isinstance(found, Lost)
            else [
                Step(text, num_tokens=tokens_of(each, self.answer_tokens))
                for text, each in _whole(found)
            ]
            for found in await self._answered(refs)
        ]

    async def judge(self, texts: Sequence[str], num_votes: int) -> list[list[str] | Lost]:
        asked = self.critic.samples(num_votes)
        refs = [asked(self.instruction, text) for text in texts]
        return [
            found if isinstance(found, Lost) else [text for text, _ in _whole(found)]
            for found in await self._answered(refs)
        ]

    async def _answered(self, refs: list[Any]) -> list[list[Completion] | Lost]:
        return await self.values(refs)


def _whole(replies: Sequence[Completion]) -> list[tuple[str, Completion]]:
    """Return the replies with their texts, empty for one that was cut off."""
    return [(each.text if each.finish_reason == "stop" else "", each) for each in replies]

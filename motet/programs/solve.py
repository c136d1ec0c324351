"""Solve: answer a question by a search over a model's steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue

from motet.combinators import settled
from motet.engine import Completion
from motet.errors import (
    BudgetExhaustedError,
    ConfigError,
    EngineError,
    MotetError,
    ProgramError,
    PromptTooLongError,
    TooFewSurvivorsError,
)
from motet.model import Model
from motet.operations import program, step
from motet.programs.chats import as_chat, with_system
from motet.programs.scorers import Scorer, find_scorer
from motet.prompts import prompt
from motet.search.algorithm import Algorithm
from motet.search.drawing import to_text
from motet.search.driver import SearchResult, search
from motet.search.partials import Candidate, Partial, Step
from motet.search.registry import find_algorithm
from motet.search.spending import NO_LIMITS, Limits, Spend
from motet.search.tools import FAILED, UNPAID, Ask, Lost, Problem
from motet.search.tree import Tree
from motet.types import Chat, Message, Outcome

_MOST_FAILURES = 8
INSTRUCTION = (
    "Solve the problem step by step. Write one step a paragraph, with an empty line between steps. "
    "End with a line of the form: The answer is <answer>."
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate's text and score."""

    text: str
    score: float | None
    is_finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """What a search found."""

    text: str
    """Of the best candidate."""
    score: float | None
    is_finished: bool
    """False where the search ended before any candidate did; the text is then the best start."""
    why: str
    """Why the search ended; see `motet.search.driver.Why`."""
    error: str | None = None
    """What failed, where it ended so."""
    candidates: tuple[Attempt, ...] = ()
    """Finished ones first, best first."""
    node: int | None = None
    """Place of the best candidate in the tree."""
    num_steps: int = 0
    spend: Spend = field(default_factory=Spend)
    tree: Tree = field(default_factory=Tree)
    notes: dict[str, JsonValue] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text

    def summary(self, *, max_nodes: int = 20) -> str:
        """Return how the search went, with a drawing of its tree, for a terminal."""
        state = "finished" if self.is_finished else "unfinished"
        score = "" if self.score is None else f", score {self.score:.3g}"
        head = (
            f"{state}{score}; the search ended ({self.why}) after {self.num_steps} steps, "
            f"{self.spend.proposals} proposals, {self.spend.scores} scores"
        )
        head += f"\n{self.error}" if self.error else ""
        return f"{head}\n{to_text(self.tree, best=self.node, max_nodes=max_nodes)}"


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


@program
async def solve(
    question: str | Chat,
    *,
    algorithm: Algorithm[Any, Any] | str,
    model: Model,
    scorer: Scorer | str | None = None,
    verify: Callable[[str], bool] | None = None,
    delimiter: str = "\n\n",
    step_tokens: int = 256,
    answer_tokens: int = 1024,
    temperature: float | None = 0.8,
    instruction: str = INSTRUCTION,
    limits: Limits = NO_LIMITS,
    seed: int = 0,
) -> Solution:
    """Answer `question` by a search over the model's steps.

    The search ends by itself, by `limits`, or when the budget around it is spent; its best so far
    is its value then. As a model it answers with the best candidate's text.

    Args:
        question: A text or a chat.
        algorithm: Of `motet.search`: `BestOfN(n=8)`, `Beam(n=16, width=4)`, or its text:
            `beam(n=16, width=4)`.
        model: Proposes steps; has to continue an unfinished turn where there are several.
        scorer: Scores whole and partial solutions, from 0 to 1; see `motet.programs.scorers`.
            `self` is the model's own probability of Yes, `grade` its own grade.
        verify: Says whether a finished text is right.
        delimiter: Ends a step, and belongs to it.
        step_tokens: Most tokens of a step.
        answer_tokens: Most tokens of a whole answer or a rest that is proposed in one piece.
        temperature: Of proposals, where the algorithm does not set it; None leaves it to the model.
        instruction: Added to the system turn; empty for none.
        limits: What the search may use.
        seed: Of the algorithm's own chance; that of the samples comes from the run.

    Raises:
        ConfigError: A setting is wrong, or the algorithm needs what is not given.
        BudgetExhaustedError: The budget did not hold the first step.
        TooFewSurvivorsError: Nothing was proposed, or nothing could be scored.
    """
    if not delimiter:
        raise ConfigError("delimiter is ''; it must be a text")
    for name, value in (("step_tokens", step_tokens), ("answer_tokens", answer_tokens)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    chosen = find_algorithm(algorithm) if isinstance(algorithm, str) else algorithm
    scorer = find_scorer(scorer, model) if isinstance(scorer, str) else scorer
    calls = _Calls(question, model, scorer, verify, delimiter, instruction, temperature)
    calls.most_tokens = (step_tokens, answer_tokens)
    problem = Problem(
        propose=calls.propose,
        score=calls.score if scorer is not None else None,
        verify=calls.verify if verify is not None else None,
        step_tokens=step_tokens,
        answer_tokens=answer_tokens,
    )
    result = await search(chosen, problem, seed=seed, limits=limits)
    return _solution(result, calls.failures)


def _solution(result: SearchResult, failures: list[MotetError]) -> Solution:
    best = result.best
    is_away = isinstance(result.error, EngineError) and result.error.retryable
    if result.error is not None and (is_away or isinstance(result.error, ProgramError)):
        raise result.error  # the run goes on when the engine is back, or the program is mended
    if best is None:
        if result.error is not None:
            raise result.error
        for failure in failures:
            if isinstance(failure, BudgetExhaustedError):
                raise failure
        told = f"; the first failure: {failures[0]}" if failures else ""
        raise TooFewSurvivorsError(
            f"the search ended ({result.why}) after {result.num_steps} steps with nothing to "
            f"show{told}",
            failures=failures,
        )
    return Solution(
        text=best.text,
        score=best.score,
        is_finished=best.partial.is_finished,
        why=result.why,
        error=None if result.error is None else str(result.error),
        candidates=tuple(map(_attempt, result.candidates)),
        node=best.node,
        num_steps=result.num_steps,
        spend=result.spend,
        tree=result.tree,
        notes=dict(result.notes),
    )


def _is_of_all(error: MotetError | None) -> bool:
    """Whether an error says something of the engine, and not of one sample."""
    is_of_one = isinstance(error, PromptTooLongError)
    return isinstance(error, (EngineError, ProgramError)) and not is_of_one


def _attempt(candidate: Candidate) -> Attempt:
    return Attempt(candidate.text, candidate.score, candidate.partial.is_finished)


@dataclass
class _Calls:
    """A question's callables, made of calls of the running program."""

    question: str | Chat
    model: Model
    scorer: Scorer | None
    verifier: Callable[[str], bool] | None
    delimiter: str
    instruction: str
    temperature: float | None
    most_tokens: tuple[int, int] = (256, 1024)
    """Of a step, and of a whole answer."""
    failures: list[MotetError] = field(default_factory=list)
    """The first few."""

    async def propose(self, asks: Sequence[Ask]) -> list[list[Step | Lost]]:
        """Ask for all samples of a place at once; where the budget does not hold them, for as
        many as it holds. Where they are to be scored, what is left then is for the scores.
        """
        given: list[list[Step | Lost]] = [[] for _ in asks]
        left = {place: (ask.n, ask.n) for place, ask in enumerate(asks)}
        while left:
            sent = [(place, replace(asks[place], n=num)) for place, (_, num) in left.items()]
            outcomes = await self._settled([self._asked(ask) for _, ask in sent])
            for (place, ask), outcome in zip(sent, outcomes, strict=True):
                missing, num = left[place]
                lost = None if outcome.is_success else self._lost(outcome)
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
        return await self._values(refs)

    async def verify(self, partials: Sequence[Partial]) -> list[bool | Lost]:
        assert self.verifier is not None
        refs = [verdict_of(partial.text, self.verifier) for partial in partials]
        return await self._values(refs)

    async def _values(self, refs: list[Any]) -> list[Any]:
        """Wait for calls; return the value of each, or how it was lost."""
        outcomes = await self._settled(refs)
        return [o.value if o.is_success else self._lost(o) for o in outcomes]

    async def _settled(self, refs: list[Any]) -> list[Outcome[Any]]:
        """Wait for calls; where the engine answers none of them, it is no matter of samples.

        Raises:
            EngineError, ProgramError: All calls failed so.
        """
        outcomes: list[Outcome[Any]] = await settled(refs)
        if not outcomes:
            return []
        errors = [outcome.error for outcome in outcomes]
        if all(map(_is_of_all, errors)):
            for error in errors:
                assert error is not None
                raise error
        return outcomes

    def _lost(self, outcome: Outcome[Any]) -> Lost:
        if outcome.error is not None and len(self.failures) < _MOST_FAILURES:
            self.failures.append(outcome.error)
        return UNPAID if isinstance(outcome.error, BudgetExhaustedError) else FAILED

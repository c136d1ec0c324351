"""Reasoning via planning: Monte-Carlo search over sub-questions, with the model as the world."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import JsonValue

from motet.engine import Capability, Completion
from motet.model import Model
from motet.operations import program
from motet.programs.algorithms import chosen
from motet.programs.asides import Asides
from motet.programs.capabilities import Need, refuse_unable
from motet.programs.quoting import AS_DATA, numbered, question_text, tagged
from motet.programs.replies import tokens_of, whole_replies
from motet.programs.search_calls import SearchCalls
from motet.programs.solution import Attempt, Solution, solution_of
from motet.programs.verifier import probability_of
from motet.prompts import prompt
from motet.search.best_of_n import final_answer
from motet.search.driver import search
from motet.search.environment import EnvironmentProblem, Outcome
from motet.search.mcts import MCTS
from motet.search.partials import Step
from motet.search.selection import Extract, answer_of
from motet.search.settings import function, number, whole
from motet.search.spending import NO_LIMITS, Limits
from motet.search.tools import FAILED, UNPAID, Lost
from motet.types import Chat, Message

FINAL: Final = "Now the problem itself can be answered."
_ASK: Final = (
    "A problem is solved by sub-questions that are answered one by one. Write the one sub-question "
    "that comes next, on one line, and nothing else. Where the answers so far are enough to answer "
    f"the problem itself, write instead: {FINAL}"
)
_ANSWER: Final = (
    "A problem is solved by sub-questions that are answered one by one. Answer the last "
    "sub-question, step by step. End with a line of the form: The answer is <answer>."
)
_USEFUL: Final = (
    "A problem is solved by sub-questions that are answered one by one. Is the last sub-question "
    "useful to solve the problem, and can it be answered now? Reply with Yes or No only."
)


def _chat(rule: str, question: str | Chat, answered: Sequence[JsonValue], last: str) -> Chat:
    parts = [tagged("problem", question_text(question))]
    if answered:
        parts.append(f"Sub-questions and their answers so far:\n{numbered(answered)}")
    if last:
        parts.append(tagged("sub-question", last))
    return (Message.system(f"{rule} {AS_DATA}"), Message.user("\n\n".join(parts)))


def _ask_chat(question: str | Chat, answered: Sequence[JsonValue]) -> Chat:
    return _chat(_ASK, question, answered, "")


def _answer_chat(question: str | Chat, answered: Sequence[JsonValue], last: str) -> Chat:
    return _chat(_ANSWER, question, answered, last)


def _useful_chat(question: str | Chat, answered: Sequence[JsonValue], last: str) -> Chat:
    return _chat(_USEFUL, question, answered, last)


@prompt(chat=_ask_chat)
def ask_next(question: str | Chat, answered: Sequence[JsonValue]) -> Completion:
    """The next sub-question."""
    raise NotImplementedError


@prompt(chat=_answer_chat)
def answer_next(question: str | Chat, answered: Sequence[JsonValue], last: str) -> Completion:
    """An answer to the last sub-question."""
    raise NotImplementedError


@prompt(chat=_useful_chat)
def is_useful(question: str | Chat, answered: Sequence[JsonValue], last: str) -> str:
    """Whether the last sub-question is useful, in one word."""
    raise NotImplementedError


@program
async def rap(
    question: str | Chat,
    *,
    model: Model,
    algorithm: MCTS | str = MCTS(),  # noqa: B008 - frozen
    num_answers: int = 5,
    alpha: float = 0.5,
    extract: Extract = final_answer,
    temperature: float | None = 0.8,
    reply_tokens: int = 256,
    limits: Limits = NO_LIMITS,
    seed: int = 0,
) -> Solution:
    """Answer `question` by a Monte-Carlo search over sub-questions.

    An action is a sub-question, of which the model proposes `algorithm.n`; its fast reward is the
    probability that the model calls it useful. The state behind it has its answer, the most
    frequent of `num_answers`; the reward is usefulness ** alpha * confidence ** (1 - alpha), where
    the confidence is that answer's share. At the depth limit the problem itself is asked.

    Args:
        question: A text or a chat, with a short answer.
        model: Asks, answers and judges; its engine has to score.
        algorithm: `MCTS(...)` or its text: `mcts(num_rollouts=20, aggregate="edge")`.
        num_answers: Answers to a sub-question.
        alpha: Weight of the usefulness against the confidence, from 0 to 1.
        extract: Reads the answer off a text; of the algorithm's own nothing is read.
        temperature: Of sub-questions and answers; None leaves it to the model.
        reply_tokens: Most tokens of a sub-question, and of an answer.
        limits: What the search may use; `max_tokens` bounds the tokens of sub-questions and
            answers.
        seed: Of the algorithm's own chance; that of the samples comes from the run.

    Raises:
        ConfigError: A setting is wrong.
        CapabilityError: The model cannot score.
        BudgetExhaustedError: The budget did not hold the first sub-questions.
        TooFewSurvivorsError: No sub-question was asked and answered.

    Source: Hao et al. 2023, arXiv:2305.14992 (RAP), as maitrix-org/llm-reasoners has it for
    questions of arithmetic. Departures: the prompts are our own, without examples; usefulness is
    Yes against No by their log-probabilities. `alpha` and `num_answers` are ours.
    """
    algorithm = chosen(algorithm, mcts=MCTS)
    function("extract", extract)
    number("alpha", alpha, 0, 1)
    whole("num_answers", num_answers)
    whole("reply_tokens", reply_tokens)
    if temperature is not None:
        number("temperature", temperature, 0)
    await refuse_unable([Need("model", model, Capability.SCORE)])
    sampling: dict[str, Any] = {"max_tokens": reply_tokens}
    if temperature is not None:
        sampling["temperature"] = temperature
    calls = _Reasoning(
        question=question,
        model=model,
        n=algorithm.n,
        max_depth=algorithm.max_depth,
        num_answers=num_answers,
        alpha=alpha,
        extract=extract,
        sampling=sampling,
    )
    problem = EnvironmentProblem(
        start=[],
        list_actions=calls.list_actions,
        advance=calls.advance,
        step_tokens=algorithm.n * reply_tokens,
        advance_tokens=num_answers * reply_tokens,
        tokens_aside=calls.asides.take,
    )
    algorithm = replace(algorithm, extract=calls.answer_behind)
    result = await search(algorithm, problem, seed=seed, limits=limits)
    found = solution_of(result, calls.failures)
    candidates = (Attempt(calls.shown(a.text), a.score, a.is_finished) for a in found.candidates)
    return replace(found, text=calls.shown(found.text), candidates=tuple(candidates))


@dataclass(kw_only=True)
class _Reasoning(SearchCalls):
    """A question's world, made of calls of the running program.

    A state is the list of sub-questions with their answers.
    """

    question: str | Chat
    model: Model
    n: int
    max_depth: int
    num_answers: int
    alpha: float
    extract: Extract
    sampling: dict[str, Any]
    asides: Asides = field(default_factory=Asides)
    reached: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """States by the texts of the actions that led there."""

    async def list_actions(self, states: Sequence[Any]) -> list[list[Step | Lost]]:
        """Ask for sub-questions, then how useful each is; at the depth limit for the end alone."""
        asked = ask_next.on(self.model, **self.sampling)
        found = await self.sampled(
            [self.n if len(state) + 1 < self.max_depth else 0 for state in states],
            lambda place, n: asked.samples(n)(self.question, states[place]),
            is_thrifty=True,
        )
        listed = [
            self._steps(given) if given else [Step(f"{FINAL}\n", is_last=True)] for given in found
        ]
        pairs = [
            (state, step)
            for state, steps in zip(states, listed, strict=True)
            for step in steps
            if isinstance(step, Step)
        ]
        scored = is_useful.on(self.model).scores(["Yes", "No"])
        refs = [
            probability_of(scored(self.question, state, _asked(step)), "Yes")
            for state, step in pairs
        ]
        useful = iter(await self.values(refs))
        return [
            [each if isinstance(each, Lost) else self._rated(each, next(useful)) for each in steps]
            for steps in listed
        ]

    def _steps(self, replies: Sequence[Any]) -> list[Step | Lost]:
        """Return the sub-questions of the replies, equal ones once."""
        steps: dict[str, Step] = {}
        lost = [reply for reply in replies if isinstance(reply, Lost)]
        for reply in replies:
            if isinstance(reply, Lost):
                continue
            text = "".join(whole_replies([reply]))
            if not text or len(text.splitlines()) > 1:
                self.note(f"the reply is no sub-question: {reply.text[:80]!a}")
                self.asides.put([reply], self.sampling["max_tokens"])
                continue
            is_last = text.casefold().startswith(FINAL.rstrip(".").casefold())
            num_tokens = tokens_of(reply, self.sampling["max_tokens"])
            text = FINAL if is_last else text
            if text in steps:
                self.asides.put([reply], self.sampling["max_tokens"])
                continue
            steps[text] = Step(f"{text}\n", is_last=is_last, num_tokens=num_tokens)
        return [*steps.values(), *lost]

    def _rated(self, step: Step, useful: float | Lost) -> Step | Lost:
        if isinstance(useful, Lost):
            lost = useful
        elif math.isnan(useful):
            self.note("Yes and No have no probability, so usefulness has none")
            lost = FAILED
        else:
            return replace(step, prior=useful)
        self.asides.put_tokens(step.num_tokens)
        return lost

    async def advance(self, pairs: Sequence[tuple[Any, Step]]) -> list[Outcome | Lost]:
        """Ask for all answers of a sub-question at once, or for as many as the budget holds."""
        asked = answer_next.on(self.model, **self.sampling)
        found = await self.sampled(
            [self.num_answers for _ in pairs],
            lambda place, n: asked.samples(n)(
                self.question, pairs[place][0], _asked(pairs[place][1])
            ),
        )
        return [
            self._outcome(state, step, replies)
            for (state, step), replies in zip(pairs, found, strict=True)
        ]

    def _outcome(self, state: Any, step: Step, replies: Sequence[Any]) -> Outcome | Lost:
        """Return the state with the most frequent answer; the first of equals."""
        kept = [reply for reply in replies if not isinstance(reply, Lost)]
        self.asides.put(kept, self.sampling["max_tokens"])
        texts = whole_replies(kept)
        votes: dict[str, list[str]] = {}
        for text in texts:
            answer = answer_of(text, self.extract)
            if answer is not None:
                votes.setdefault(answer, []).append(text)
        if not votes:
            if kept:
                self.note(f"no reply states an answer: {kept[0].text[-80:]!a}")
            return UNPAID if any(reply is UNPAID for reply in replies) else FAILED
        same = max(votes.values(), key=len)
        confidence = len(same) / sum(map(len, votes.values()))
        usefulness = step.prior or 0.0
        after = [*state, {"asked": step.text.strip(), "answer": same[0]}]
        self.reached["".join(f"{each['asked']}\n" for each in after)] = after
        reward = usefulness**self.alpha * confidence ** (1 - self.alpha)
        return Outcome(after, reward, is_terminal=step.is_last)

    def answer_behind(self, text: str) -> str | None:
        """Return the answer behind the actions of these texts."""
        state = self.reached.get(text)
        return None if not state else answer_of(state[-1]["answer"], self.extract)

    def shown(self, text: str) -> str:
        """Return the sub-questions of these texts with their answers."""
        state = self.reached.get(text, [])
        return "\n\n".join(f"{each['asked']}\n{each['answer']}" for each in state)


def _asked(step: Step) -> str:
    return step.text.strip()

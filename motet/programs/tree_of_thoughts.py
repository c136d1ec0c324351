"""Tree of thoughts over a model: it proposes thoughts, and values them or votes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial as fixed
from typing import Any, Final, Literal

from motet.engine import Completion
from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program
from motet.programs.algorithms import chosen
from motet.programs.asides import Asides
from motet.programs.quoting import AS_DATA, numbered, question_text, tagged
from motet.programs.replies import tokens_of
from motet.programs.solution import Solution, solution_of
from motet.programs.solution_calls import SolutionCalls
from motet.prompts import prompt
from motet.search.driver import search
from motet.search.partials import Partial, Step
from motet.search.settings import some_text, whole
from motet.search.spending import NO_LIMITS, Limits
from motet.search.thoughts import VALUE_OF_WORD, ThoughtProblem, read_vote
from motet.search.tools import FAILED, UNPAID, Ask, Lost
from motet.search.tree_of_thoughts import DepthFirstThoughts, TreeOfThoughts
from motet.types import Chat, Message

Worth = Literal["sure", "likely", "impossible"]
_WORD_TOKENS: Final = 16
_ALGORITHMS: Final = {
    "tree_of_thoughts": TreeOfThoughts,
    "depth_first_thoughts": DepthFirstThoughts,
}
_MARKER: Final = re.compile(r"\A(?:[-*\u2022]|\d+[.)])\s+")


@dataclass(frozen=True, slots=True)
class Evaluator:
    """A layer of judging: a model, and what it looks at."""

    model: Model
    instruction: str = ""
    """Added for it: that it judges whether the facts are right, say."""


def _chat(system: str, question: str | Chat, heading: str, texts: Sequence[str], ask: str) -> Chat:
    problem = tagged("problem", question_text(question))
    asked = f"{problem}\n\n{heading}:\n{numbered(texts)}\n\n{ask}"
    return (Message.system(f"{system} {AS_DATA}"), Message.user(asked))


def _thinking(rule: str, mark: str, instruction: str) -> str:
    told = f"A problem is solved thought by thought. {rule} A thought that completes the solution "
    told += f"begins with {mark!r} and gives the whole answer."
    return f"{told} {instruction}" if instruction else told


def _list_chat(
    question: str | Chat, thoughts: Sequence[str], n: int, mark: str, instruction: str
) -> Chat:
    rule = (
        f"Write different thoughts that could come next, {n} at most, the most promising first. "
        "Put each on a line of its own, and write nothing else."
    )
    system = _thinking(rule, mark, instruction)
    return _chat(system, question, "Thoughts so far", thoughts, "Possible next thoughts:")


def _sample_chat(
    question: str | Chat, thoughts: Sequence[str], mark: str, instruction: str
) -> Chat:
    system = _thinking("Write the one thought that comes next.", mark, instruction)
    return _chat(system, question, "Thoughts so far", thoughts, "Next thought:")


def _value_chat(
    question: str | Chat, thoughts: Sequence[str], is_finished: bool, instruction: str
) -> Chat:
    asked = (
        "Judge the answer in the last thought: does it solve the problem, with all that the "
        "problem demands? "
        if is_finished
        else "Judge how far the thoughts have come: can they still lead to a right solution? "
    )
    asked += f"{instruction} " if instruction else ""
    system = f"{asked}Reply with one word: sure, likely or impossible."
    return _chat(system, question, "Thoughts so far", thoughts, "Judgement:")


def _vote_chat(question: str | Chat, candidates: Sequence[str], instruction: str) -> Chat:
    system = (
        "Compare the candidates, which are solutions or beginnings of solutions of one problem, "
        "and choose the most promising one. Weigh them briefly. End with a line of the form: "
        f"The best choice is <number>. {instruction}"
    ).rstrip()
    return _chat(system, question, "Candidates", candidates, "Comparison and choice:")


@prompt(chat=_list_chat)
def list_thoughts(
    question: str | Chat, thoughts: Sequence[str], n: int, mark: str, instruction: str
) -> Completion:
    """Thoughts that could come next, one a line."""
    raise NotImplementedError


@prompt(chat=_sample_chat)
def next_thought(
    question: str | Chat, thoughts: Sequence[str], mark: str, instruction: str
) -> Completion:
    """One thought that comes next."""
    raise NotImplementedError


@prompt(chat=_value_chat)
def judge_thoughts(
    question: str | Chat, thoughts: Sequence[str], is_finished: bool, instruction: str
) -> Worth:
    """A word for what the thoughts are worth."""
    raise NotImplementedError


@prompt(chat=_vote_chat)
def choose_candidate(
    question: str | Chat, candidates: Sequence[str], instruction: str
) -> Completion:
    """A comparison that ends with the number of the best candidate."""
    raise NotImplementedError


@program
async def think_in_trees(
    question: str | Chat,
    *,
    model: Model,
    algorithm: TreeOfThoughts | DepthFirstThoughts | str,
    evaluator: Model | Evaluator | Sequence[Model | Evaluator] | None = None,
    mark: str = "Answer:",
    delimiter: str = "\n",
    reply_tokens: int = 1024,
    temperature: float | None = 0.7,
    instruction: str = "",
    limits: Limits = NO_LIMITS,
    seed: int = 0,
) -> Solution:
    """Answer `question` by a tree of a model's thoughts.

    The search ends by itself, by `limits`, or when the budget around it is spent; its best so far
    is its value then. As a model it answers with the best candidate's text.

    Args:
        question: A text or a chat.
        model: Proposes thoughts.
        algorithm: `TreeOfThoughts(...)`, `DepthFirstThoughts(...)`, or the text of one:
            `tree-of-thoughts(levels=3)`.
        evaluator: Values thoughts, or votes; None is `model`. What several say is combined as the
            algorithm's `combine` says.
        mark: Begins the thought that completes a solution.
        delimiter: Stands behind each thought in the solution's text.
        reply_tokens: Most tokens of a list of thoughts, of a sampled thought, and of a vote.
        temperature: Of all calls; None leaves it to the models.
        instruction: Says what one thought is in this problem; added for the proposer.
        limits: What the search may use; `max_tokens` bounds the tokens of all replies. The engine
            does not say what a value used: it counts as the 16 tokens that it may take.
        seed: Of the algorithm's own chance; that of the samples comes from the run.

    Raises:
        ConfigError: A setting is wrong.
        BudgetExhaustedError: The budget did not hold the first level.
        TooFewSurvivorsError: Nothing was proposed, or nothing could be valued.

    Source: Yao et al. 2023, arXiv:2305.10601; several evaluators after QM-ToT, by its abstract.
    Departures: the prompts are our own and the same for
    every task; a value is the word alone, with no calculation before it, constrained where the
    engine can; a reply that is none of the three words is left out, and a thought that has no
    value at all is given up; what completes a solution is known by its mark and judged as an
    answer, at any level; proposals or votes that were cut off are left out, of a list only its
    last line.
    """
    algorithm = chosen(algorithm, **_ALGORITHMS)
    for name, text in (("mark", mark), ("delimiter", delimiter)):
        some_text(name, text)
    whole("reply_tokens", reply_tokens)
    evaluators = _evaluators(model if evaluator is None else evaluator)
    has_vote: bool = isinstance(algorithm, TreeOfThoughts) and algorithm.evaluate == "vote"
    if has_vote and len(evaluators) > 1:
        raise ConfigError(f"evaluator holds {len(evaluators)}; a vote is of one")
    calls = _ThoughtCalls(
        question=question,
        model=model,
        delimiter=delimiter,
        instruction=instruction,
        temperature=temperature,
        mark=mark,
        is_list=algorithm.generate == "propose",
        reply_tokens=reply_tokens,
    )
    problem = ThoughtProblem(
        propose=calls.propose,
        evaluators=tuple(fixed(calls.value, each) for each in evaluators),
        vote=fixed(calls.vote, evaluators[0]),
        step_tokens=reply_tokens,
        value_tokens=_WORD_TOKENS,
        vote_tokens=reply_tokens,
        tokens_aside=calls.asides.take,
    )
    result = await search(algorithm, problem, seed=seed, limits=limits)
    return solution_of(result, calls.failures)


def _evaluators(given: Any) -> tuple[Evaluator, ...]:
    each = [given] if isinstance(given, (Model, Evaluator)) else given
    is_right = isinstance(each, Sequence) and all(isinstance(e, (Model, Evaluator)) for e in each)
    if not is_right or not each:
        raise ConfigError(f"evaluator is {given!r}; it must be a Model or Evaluator, or several")
    return tuple(Evaluator(e) if isinstance(e, Model) else e for e in each)


def thought_lines(text: str) -> list[str]:
    """Return the thoughts of a reply that lists them, without bullets, headings and fences."""
    lines = (_MARKER.sub("", line.strip()).strip() for line in text.splitlines())
    return [line for line in lines if _is_thought(line)]


def _is_thought(line: str) -> bool:
    is_frame = line.startswith(("```", "#")) or line.endswith(":")
    return not is_frame and any(map(str.isalnum, line))


@dataclass(kw_only=True)
class _ThoughtCalls(SolutionCalls):
    """A question's callables for thoughts, made of calls of the running program."""

    mark: str
    is_list: bool
    reply_tokens: int
    asides: Asides = field(default_factory=Asides)

    async def propose(self, asks: Sequence[Ask]) -> list[Any]:
        """Ask for all thoughts of a place at once; of samples for as many as the budget holds, with
        what is left for their values.
        """
        if self.is_list:
            replies = await self.values([self._list_of(ask) for ask in asks])
            return [
                reply if isinstance(reply, Lost) else self._listed(reply[0], ask.n)
                for ask, reply in zip(asks, replies, strict=True)
            ]
        found = await self.sampled(
            [ask.n for ask in asks],
            lambda place, n: self._samples_of(asks[place], n),
            is_thrifty=True,
        )
        return [
            [step for each in given if (step := self._sampled(each)) is not None] for given in found
        ]

    def _sampled(self, reply: Completion | Lost) -> Step | Lost | None:
        if isinstance(reply, Lost):
            return reply
        text = reply.text.strip()
        if reply.finish_reason != "stop" or not text:
            self.asides.put([reply], self.reply_tokens)
            return None
        return self._thought(text, self._num_tokens(reply))

    def _list_of(self, ask: Ask) -> Any:
        asked = list_thoughts.on(self.model, **self._sampling(self.reply_tokens)).samples(1)
        thoughts = self._thoughts(ask.partial)
        return asked(self.question, thoughts, ask.n, self.mark, self.instruction)

    def _samples_of(self, ask: Ask, n: int) -> Any:
        asked = next_thought.on(self.model, **self._sampling(self.reply_tokens)).samples(n)
        return asked(self.question, self._thoughts(ask.partial), self.mark, self.instruction)

    def _listed(self, completion: Completion, n: int) -> list[Step]:
        """Return the thoughts of one reply, which share its tokens."""
        text = completion.text
        if completion.finish_reason != "stop":
            text = text[: text.rfind("\n") + 1]
        lines = thought_lines(text)[:n]
        num, used = len(lines), self._num_tokens(completion)
        if not lines:
            self.asides.put_tokens(used)
        shares = [used // num + (place < used % num) for place in range(num)]
        return [self._thought(line, share) for line, share in zip(lines, shares, strict=True)]

    def _thought(self, text: str, num_tokens: int) -> Step:
        is_last = text.startswith(self.mark)
        return Step(text + self.delimiter, is_last=is_last, num_tokens=num_tokens)

    def _num_tokens(self, completion: Completion) -> int:
        return tokens_of(completion, self.reply_tokens)

    def _thoughts(self, partial: Partial) -> list[str]:
        return [step.text.removesuffix(self.delimiter) for step in partial.steps]

    def _sampling(self, max_tokens: int) -> dict[str, Any]:
        sampling: dict[str, Any] = {"max_tokens": max_tokens}
        if self.temperature is not None:
            sampling["temperature"] = self.temperature
        return sampling

    async def value(self, evaluator: Evaluator, partials: Sequence[Partial]) -> list[float | Lost]:
        """Ask for all values of a thought in one request."""
        times = Counter(partial.text for partial in partials)
        one_of = {partial.text: partial for partial in partials}
        sampling = self._sampling(_WORD_TOKENS)
        refs = [
            judge_thoughts.on(evaluator.model, **sampling).samples(times[text])(
                self.question,
                self._thoughts(partial),
                partial.is_finished,
                evaluator.instruction,
            )
            for text, partial in one_of.items()
        ]
        left: dict[str, list[float | Lost]] = {}
        for text, outcome in zip(one_of, await self.settle(refs), strict=True):
            said = [VALUE_OF_WORD[word] for word in outcome.value] if outcome.is_success else []
            lost = FAILED if outcome.is_success else self.lost(outcome)
            if lost is not UNPAID:
                self.asides.put_tokens(_WORD_TOKENS * times[text])
            left[text] = [*said, *[lost] * (times[text] - len(said))]
        return [left[partial.text].pop(0) for partial in partials]

    async def vote(
        self, evaluator: Evaluator, partials: Sequence[Partial], num_votes: int
    ) -> list[int] | Lost:
        """Ask for all votes in one request; a reply that names no candidate is no vote."""
        candidates = [partial.text.removesuffix(self.delimiter) for partial in partials]
        asked = choose_candidate.on(evaluator.model, **self._sampling(self.reply_tokens))
        ballots = asked.samples(num_votes)(self.question, candidates, evaluator.instruction)
        [outcome] = await self.settle([ballots])
        if not outcome.is_success:
            return self.lost(outcome)
        self.asides.put(outcome.value, self.reply_tokens)
        replies = [each.text for each in outcome.value if each.finish_reason == "stop"]
        places = Counter(read_vote(text, len(candidates)) for text in replies)
        return [places[place] for place in range(len(candidates))]

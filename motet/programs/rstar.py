"""rStar over a model: human-like actions as prompts, and a second model that checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from motet.engine import Completion
from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program
from motet.programs.algorithms import chosen
from motet.programs.asides import Asides
from motet.programs.quoting import AS_DATA, numbered, question_text, tagged
from motet.programs.replies import tokens_of, whole_replies
from motet.programs.search_calls import SearchCalls
from motet.programs.solution import Solution, solution_of
from motet.prompts import prompt
from motet.search.best_of_n import final_answer
from motet.search.driver import search
from motet.search.partials import Partial, Step
from motet.search.rstar import RStar
from motet.search.rstar_problem import Action, Move, RStarProblem
from motet.search.selection import Extract, answer_of
from motet.search.settings import function, number, whole
from motet.search.spending import NO_LIMITS, Limits
from motet.search.tools import FAILED, Lost
from motet.types import Chat, Message

_END: Final = "a line of the form: The answer is <answer>."
_RULES: Final[dict[Action, str]] = {
    "A1": (
        "Write the one step of reasoning that comes next, and no more. If it completes the "
        f"solution, end it with {_END}"
    ),
    "A2": f"Write all that is left of the solution, step by step. End with {_END}",
    "A3": (
        "Ask the one sub-question that comes next, and answer it. Write the sub-question on the "
        "first line, and its answer below. If the sub-question is the problem itself, end with "
        f"{_END}"
    ),
    "A4": (
        "Answer the sub-question anew, step by step, without looking back at answers that it may "
        f"have had. If the sub-question is the problem itself, end with {_END}"
    ),
    "A5": (
        "Write the problem in other words: list what is given, condition by condition, then what "
        "is asked. Leave out nothing, add nothing, and solve nothing."
    ),
}
_COMPLETE: Final = (
    "The beginning of a solution is given; its end is hidden. Write what is left of it, step by "
    f"step, from where it breaks off. End with {_END}"
)


def _asked_chat(rule: str, question: str | Chat, written: Sequence[str], sub_question: str) -> Chat:
    parts = [tagged("problem", question_text(question))]
    if written:
        parts.append(f"Solution so far:\n{numbered(list(written))}")
    if sub_question:
        parts.append(tagged("sub-question", sub_question))
    return (Message.system(f"{rule} {AS_DATA}"), Message.user("\n\n".join(parts)))


def _move_chat(
    question: str | Chat, action: Action, written: Sequence[str], sub_question: str
) -> Chat:
    return _asked_chat(_RULES[action], question, written, sub_question)


def _complete_chat(question: str | Chat, written: Sequence[str]) -> Chat:
    return _asked_chat(_COMPLETE, question, written, "")


@prompt(chat=_move_chat)
def make_move(
    question: str | Chat, action: Action, written: Sequence[str], sub_question: str
) -> Completion:
    """What an action writes behind the part of a solution that is there."""
    raise NotImplementedError


@prompt(chat=_complete_chat)
def complete_masked(question: str | Chat, written: Sequence[str]) -> Completion:
    """The rest of a solution whose end is hidden."""
    raise NotImplementedError


@program
async def rstar(
    question: str | Chat,
    *,
    model: Model,
    checker: Model | None = None,
    algorithm: RStar | str = RStar(),  # noqa: B008 - frozen
    extract: Extract = final_answer,
    is_same: Callable[[str, str], bool] | None = None,
    temperature: float | None = 0.8,
    checker_temperature: float | None = 1.0,
    step_tokens: int = 256,
    answer_tokens: int = 1024,
    limits: Limits = NO_LIMITS,
    seed: int = 0,
) -> Solution:
    """Answer `question` by a tree of human-like actions, checked by a second model.

    The model writes one step (A1), the rest (A2), a sub-question with its answer (A3), another
    answer to it (A4), or the question in other words (A5). The checker completes solutions whose
    ends are hidden; those that it agrees with vote. `notes` has the answer's `confidence` and
    `num_agreed`. The search ends by itself, by `limits`, or when the budget around it is spent.

    Args:
        question: A text or a chat, with a short answer.
        model: Takes the actions.
        checker: Completes; None checks nothing.
        algorithm: `RStar(...)` or its text: `rstar(num_rollouts=8)`.
        extract: Reads the answer off a solution; a step in which it finds one is the last.
        is_same: Whether two answers are one; None compares the texts.
        temperature: Of the actions; None leaves it to the model.
        checker_temperature: Of the completions.
        step_tokens: Most tokens of A1, A3, A4 and A5.
        answer_tokens: Most tokens of A2, and of a completion.
        limits: What the search may use; `max_tokens` bounds the tokens of all replies.
        seed: Of the algorithm's own chance; that of the samples comes from the run.

    Raises:
        ConfigError: A setting is wrong.
        BudgetExhaustedError: The budget did not hold the first step.
        TooFewSurvivorsError: Nothing was written that came to its end.

    Source: as `RStar`. Departures: the prompts are our own, without examples; a question in other
    words stands beside the problem instead of taking its place; what was cut off or is empty is
    left out, and so is a rewording that states an answer.
    """
    algorithm = chosen(algorithm, rstar=RStar)
    function("extract", extract)
    if is_same is not None:
        function("is_same", is_same)
    if checker is not None and not isinstance(checker, Model):
        raise ConfigError(f"checker is {checker!r}; it must be a Model or None")
    for name, degree in (
        ("temperature", temperature),
        ("checker_temperature", checker_temperature),
    ):
        if degree is not None:
            number(name, degree, 0)
    whole("step_tokens", step_tokens)
    whole("answer_tokens", answer_tokens)
    calls = _Moving(
        question=question,
        model=model,
        checker=checker,
        extract=extract,
        temperatures=(temperature, checker_temperature),
        most_tokens=(step_tokens, answer_tokens),
    )
    problem = RStarProblem(
        propose=calls.propose,
        complete=calls.complete if checker is not None else None,
        extract=extract,
        is_same=is_same,
        step_tokens=max(step_tokens, answer_tokens),
        completion_tokens=answer_tokens,
        tokens_aside=calls.asides.take,
    )
    result = await search(algorithm, problem, seed=seed, limits=limits)
    return solution_of(result, calls.failures)


@dataclass(kw_only=True)
class _Moving(SearchCalls):
    """A question's callables, made of calls of the running program."""

    question: str | Chat
    model: Model
    checker: Model | None
    extract: Extract
    temperatures: tuple[float | None, float | None]
    most_tokens: tuple[int, int]
    """Of a step, and of a rest."""
    asides: Asides = field(default_factory=Asides)

    async def propose(self, moves: Sequence[Move]) -> list[list[Step | Lost]]:
        """Ask for all samples of an action at once, or for as many as the budget holds."""
        found = await self.sampled(
            [move.n for move in moves], lambda place, n: self._asked(moves[place], n)
        )
        return [
            [step for each in given if (step := self._step(move, each)) is not None]
            for move, given in zip(moves, found, strict=True)
        ]

    def _asked(self, move: Move, n: int) -> Any:
        written, sub_question = _written(move.partial), ""
        if move.action == "A4":
            last: Any = move.partial.steps[-1].data
            written, sub_question = written[:-1], last["sub_question"]
        asked = make_move.on(self.model, **self._sampling(0, self._most(move))).samples(n)
        return asked(self.question, move.action, written, sub_question)

    def _most(self, move: Move) -> int:
        return self.most_tokens[1 if move.action == "A2" else 0]

    def _step(self, move: Move, reply: Completion | Lost) -> Step | Lost | None:
        """Return what a reply adds; None where it was cut off or is not what was asked for."""
        if isinstance(reply, Lost):
            return reply
        text = "".join(whole_replies([reply]))
        sub_question = ""
        if move.action == "A3":
            sub_question, _, answer = (part.strip() for part in text.partition("\n"))
            if not answer:
                text = ""
        elif move.action == "A4":
            last: Any = move.partial.steps[-1].data
            sub_question = last["sub_question"]
        is_last = answer_of(text, self.extract) is not None
        if move.action == "A5" and is_last:
            # An answer in there would be read off every solution behind it.
            stated = answer_of(question_text(self.question), self.extract)
            text = text if stated is not None else ""
        if not text:
            self.note(f"the reply is cut off or not what was asked for: {reply.text[-80:]!a}")
            self.asides.put([reply], self._most(move))
            return None
        return Step(
            f"{text}\n\n",
            is_last=is_last and move.action != "A5",
            num_tokens=tokens_of(reply, self._most(move)),
            data={"action": move.action, "sub_question": sub_question},
        )

    async def complete(self, partials: Sequence[Partial]) -> list[str | Lost]:
        asked = complete_masked.on(self.checker, **self._sampling(1, self.most_tokens[1]))
        replies = await self.values([asked(self.question, _written(each)) for each in partials])
        self.asides.put(replies, self.most_tokens[1])
        return [reply if isinstance(reply, Lost) else self._rest(reply) for reply in replies]

    def _rest(self, reply: Completion) -> str | Lost:
        texts = whole_replies([reply])
        return f"\n{texts[0]}" if texts else FAILED

    def _sampling(self, who: int, most: int) -> dict[str, Any]:
        sampling: dict[str, Any] = {"max_tokens": most}
        if self.temperatures[who] is not None:
            sampling["temperature"] = self.temperatures[who]
        return sampling


def _written(partial: Partial) -> list[str]:
    """Return the solution as far as it goes, a text a step; an answer that was given anew stands
    in the place of the one before.
    """
    texts: list[str] = []
    for step in partial.steps:
        data: Any = step.data
        text = step.text.strip()
        if data is not None and data["action"] == "A4":
            texts[-1] = f"{data['sub_question']}\n{text}"
        else:
            texts.append(text)
    return texts

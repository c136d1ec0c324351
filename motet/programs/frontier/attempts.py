"""One attempt: one method on one question, within a budget of tokens."""

from __future__ import annotations

import difflib
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from motet.engine import Completion
from motet.errors import BudgetExhaustedError, ConfigError, MotetError
from motet.model import Model
from motet.operations import program
from motet.programs.frontier.tasks import IsRight, Question, find_task
from motet.programs.measuring import is_answerless, is_here, process_of, spent_in
from motet.programs.scorers import Scorer
from motet.programs.solution_calls import continue_solution
from motet.programs.solve import solve
from motet.runtime.running import current
from motet.scopes import scope
from motet.search.registry import ALGORITHMS, canonical_text, find_algorithm
from motet.search.settings import number, whole

GREEDY: Final = "greedy"
VOTES: Final = "self-consistency"
_VOTES = re.compile(
    r"self[-_]consistency\s*(?:\(\s*n\s*=\s*(\d{1,9})\s*\)|\(\s*\))?", re.IGNORECASE
)
_MOST_VOTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How every method samples."""

    step_tokens: int = 128
    """Most tokens of a step."""
    answer_tokens: int = 512
    """Most tokens of a whole answer."""
    temperature: float = 0.8
    """Of all but greedy."""

    def __post_init__(self) -> None:
        whole("step_tokens", self.step_tokens)
        whole("answer_tokens", self.answer_tokens)
        number("temperature", self.temperature, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of an attempt."""

    text: str | None
    """None where the budget held no answer, or none came."""
    is_finished: bool
    why: str
    """Why it ended: as `motet.search.driver.Why`, or `budget` and `failed` where it has no text."""
    tokens: int
    """Of prompts and completions, the scorer's among them."""
    scores: int
    """Solutions, whole or partial, that were handed to the scorer or the verifier."""
    wall_s: float | None
    """While others ran beside it; None where the process ended in between."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a baseline found."""

    text: str | None
    is_finished: bool
    why: str = "done"
    votes: dict[str, int] = field(default_factory=dict)


def is_baseline(method: str) -> bool:
    """Whether a method is greedy or self-consistency, and no search."""
    return method == GREEDY or most_votes(method) is not None


def needs_of(method: str) -> frozenset[str]:
    """Return what a method cannot do without: `score`, `verify`."""
    if is_baseline(method):
        return frozenset()
    return frozenset(getattr(find_algorithm(method), "needs", ()))


def method_name(text: str) -> str:
    """Return the one name of the method that `text` means: `best_of_n( n=4 )` is `best-of-n(n=4)`.

    Raises:
        ConfigError: There is no such algorithm, or a setting is wrong.
    """
    name = text.partition("(")[0].strip().lower().replace("_", "-")
    if name == GREEDY:
        if text.strip().lower() not in (GREEDY, f"{GREEDY}()"):
            raise ConfigError(f"algorithm is {text!r}; greedy has no settings")
        return GREEDY
    if name == VOTES:
        most = most_votes(text)
        return VOTES if most == _MOST_VOTES else f"{VOTES}(n={most})"
    close = difflib.get_close_matches(name, [GREEDY, VOTES, *ALGORITHMS], n=1)
    if close and close[0] in (GREEDY, VOTES) and name not in ALGORITHMS:
        raise ConfigError(f"algorithm is {text!r}; did you mean {close[0]!r}?")
    return canonical_text(text)


def is_same_method(one: str, other: str) -> bool:
    """Whether two names of methods mean the same, as where one writes a default out."""
    if one == other:
        return True
    if is_baseline(one) or is_baseline(other):
        return False
    return find_algorithm(one) == find_algorithm(other)


def most_votes(method: str) -> int | None:
    """Most samples of self-consistency; None where `method` is another.

    Raises:
        ConfigError: It is none at all.
    """
    found = _VOTES.fullmatch(method.strip())
    if found is None:
        if _VOTES.match(method.strip()):
            raise ConfigError(f"algorithm is {method!r}; write self-consistency(n=16)")
        return None
    most = _MOST_VOTES if found[1] is None else int(found[1])
    whole("n of self-consistency", most)
    return most


@program
async def attempt(
    question: Question,
    *,
    task: str,
    method: str,
    model: Model,
    scorer: Scorer | None,
    budget: int,
    seed: int,
    drawing: Drawing,
) -> Attempt:
    """Answer `question` by `method` within `budget` tokens; the best so far counts.

    Raises:
        MotetError: What says nothing of the method, such as an engine that is away.
    """
    is_whole = is_here(await process_of())
    began_s = time.monotonic()
    found: Any = None
    error: MotetError | None = None
    with scope(max_tokens=budget) as limits:
        try:
            found = await _asked(question, task, method, model, scorer, seed, drawing)
        except MotetError as exc:
            if not is_answerless(exc):
                raise
            error = exc
    wall_s = time.monotonic() - began_s if is_whole else None
    tokens = spent_in(limits).tokens
    if found is None or found.text is None:
        is_budget = error is None or isinstance(error, BudgetExhaustedError)
        return Attempt(
            text=None,
            is_finished=False,
            why="budget" if is_budget else "failed",
            tokens=tokens,
            scores=0,
            wall_s=wall_s,
            error=None if error is None else f"{type(error).__name__}: {error}",
        )
    return Attempt(
        text=found.text,
        is_finished=found.is_finished,
        why=found.why,
        tokens=tokens,
        scores=0 if isinstance(found, Drawn) else found.spend.scores,
        wall_s=wall_s,
    )


def _asked(
    question: Question,
    task: str,
    method: str,
    model: Model,
    scorer: Scorer | None,
    seed: int,
    drawing: Drawing,
) -> Any:
    instruction = find_task(task).instruction
    if method == GREEDY:
        return greedy(question.text, instruction, model=model, most=drawing.answer_tokens)
    most = most_votes(method)
    if most is not None:
        return votes(question.text, instruction, task=task, model=model, most=most, drawing=drawing)
    return solve(
        question.text,
        algorithm=method,
        model=model,
        scorer=scorer,
        verify=IsRight(task, question.gold) if "verify" in needs_of(method) else None,
        step_tokens=drawing.step_tokens,
        answer_tokens=drawing.answer_tokens,
        temperature=drawing.temperature,
        instruction=instruction,
        seed=seed,
    )


@program
async def greedy(text: str, instruction: str, *, model: Model, most: int) -> Drawn:
    """The model's likeliest answer."""
    asked = continue_solution.on(model, temperature=0.0, max_tokens=most)
    completion = await asked(text, "", instruction)
    return Drawn(text=completion.text, is_finished=completion.finish_reason == "stop")


@program
async def votes(
    text: str, instruction: str, *, task: str, model: Model, most: int, drawing: Drawing
) -> Drawn:
    """Sample whole answers until `most` are there or the budget is spent; take the majority's.

    Source: as `motet.programs.self_consistency`; here the budget chooses the number of samples.
    """
    drawn: list[Completion] = []
    while len(drawn) < most:
        batch = await _batch(text, instruction, model, most - len(drawn), drawing)
        if not batch:
            break
        drawn += batch
    answers = [find_task(task).answer_of(each.text) for each in drawn]
    counted = Counter(answer for answer in answers if answer is not None)
    if not drawn:
        return Drawn(text=None, is_finished=False, why="budget")
    place = answers.index(counted.most_common(1)[0][0]) if counted else 0
    return Drawn(
        text=drawn[place].text,
        is_finished=drawn[place].finish_reason == "stop",
        why="done" if len(drawn) == most else "limit",
        votes=dict(counted),
    )


async def _batch(
    text: str, instruction: str, model: Model, most: int, drawing: Drawing
) -> list[Completion]:
    """Draw as many samples in one request as the budget holds."""
    left = current().max_tokens
    fitting = most if left is None else int(left // drawing.answer_tokens)
    num = min(most, max(1, fitting))
    while num:
        asked = continue_solution.on(
            model, temperature=drawing.temperature, max_tokens=drawing.answer_tokens
        )
        try:
            found: list[Completion] = await asked.samples(num)(text, "", instruction)
        except BudgetExhaustedError:
            num -= 1
        else:
            return found
    return []

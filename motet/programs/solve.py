"""Solve: answer a question by a search over a model's steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from motet.engine import Capability
from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program
from motet.programs.algorithms import of_steps
from motet.programs.capabilities import Need, goes_on, needs_of_scorer, refuse_unable
from motet.programs.scorers import Scorer, find_scorer
from motet.programs.solution import Solution, solution_of
from motet.programs.solution_calls import INSTRUCTION, SolutionCalls, states_answer
from motet.search.algorithm import Algorithm
from motet.search.driver import search
from motet.search.particle_gibbs import ParticleGibbs
from motet.search.particles import Particles
from motet.search.settings import function
from motet.search.spending import NO_LIMITS, Limits
from motet.search.tempering import ParallelTempering
from motet.search.tools import Problem
from motet.types import Chat


@program
async def solve(
    question: str | Chat,
    *,
    algorithm: Algorithm[Any, Any] | str,
    model: Model,
    scorer: Scorer | str | None = None,
    verify: Callable[[str], bool] | None = None,
    ends: Callable[[str], bool] | None = None,
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
            `self` is the model's own probability of Yes, `grade` its own grade. None is `self` where
            the algorithm goes by scores.
        verify: Says whether a finished text is right.
        ends: Says whether a step that the delimiter ended is the last one nevertheless; None is
            one that states an answer: in a `\\boxed{}`, behind `####` or "the answer is".
        delimiter: Ends a step, and belongs to it.
        step_tokens: Most tokens of a step.
        answer_tokens: Most tokens of a whole answer or a rest that is proposed in one piece.
        temperature: Of proposals, where the algorithm does not set it; None leaves it to the model.
        instruction: Added to the system turn; empty for none.
        limits: What the search may use.
        seed: Of the algorithm's own chance; that of the samples comes from the run.

    Raises:
        ConfigError: A setting is wrong, or the algorithm needs what is not given.
        CapabilityError: An engine is known to lack what the scorer or the algorithm needs.
        BudgetExhaustedError: The budget did not hold the first step.
        TooFewSurvivorsError: Nothing was proposed, or nothing could be scored.
    """
    if not delimiter:
        raise ConfigError("delimiter is ''; it must be a text")
    for name, value in (("step_tokens", step_tokens), ("answer_tokens", answer_tokens)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    for name, given in (("verify", verify), ("ends", ends)):
        if given is not None:
            function(name, given)
            if inspect.iscoroutinefunction(given):
                raise ConfigError(f"{name} is {given!r}, which is async; it must be a function")
    chosen = of_steps(algorithm)
    if scorer is None and _takes_scores(chosen):
        scorer = "self"
    scorer = find_scorer(scorer, model) if isinstance(scorer, str) else scorer
    needs = needs_of_scorer(scorer)
    if goes_on(chosen):
        needs.append(Need("model", model, Capability.CONTINUE))
    await refuse_unable(needs)
    calls = SolutionCalls(
        question=question,
        model=model,
        scorer=scorer,
        verifier=verify,
        ends=states_answer if ends is None else ends,
        delimiter=delimiter,
        instruction=instruction,
        temperature=temperature,
        most_tokens=(step_tokens, answer_tokens),
    )
    problem = Problem(
        propose=calls.propose,
        score=calls.score if scorer is not None else None,
        verify=calls.verify if verify is not None else None,
        step_tokens=step_tokens,
        answer_tokens=answer_tokens,
    )
    result = await search(chosen, problem, seed=seed, limits=limits)
    return solution_of(result, calls.failures)


def _takes_scores(algorithm: Algorithm[Any, Any]) -> bool:
    """Whether a search goes by scores; particles do here, where steps carry no weights."""
    needs = getattr(algorithm, "needs", ())
    return "score" in needs or isinstance(algorithm, (Particles, ParticleGibbs, ParallelTempering))

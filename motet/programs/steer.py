"""Steer: draw answers token by token from a model times potentials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from motet.engine import Capability
from motet.errors import ConfigError, SearchError, TooFewSurvivorsError
from motet.model import Model
from motet.operations import program
from motet.programs.algorithms import chosen
from motet.programs.capabilities import Need, needs_of_scorer, refuse_unable
from motet.programs.scorers import Scorer, find_scorer
from motet.programs.solution import Solution, solution_of
from motet.programs.token_calls import TokenCalls
from motet.search.driver import SearchResult, search
from motet.search.partials import Candidate, Partial
from motet.search.particles import Particles
from motet.search.potentials import Potential, Tokens
from motet.search.settings import function, number, one_of, whole
from motet.search.spending import NO_LIMITS, Limits
from motet.search.steering import Proposal, Steering
from motet.search.text_potentials import TextCondition, TextWeight
from motet.search.token_problem import CriticAt, TokenProblem
from motet.search.token_steps import TokenSteps
from motet.search.tools import Lost, Problem
from motet.types import Chat

AnyPotential: TypeAlias = TextCondition | TextWeight | Potential
"""On texts, or on ids of the model's tokens."""
_LEAST = 1e-6
"""A text that goes on counts so much at least, as its score is a guess."""


@program
async def steer(
    question: str | Chat,
    *,
    model: Model,
    potential: AnyPotential | None = None,
    critic: Scorer | str | None = None,
    critic_at: CriticAt = "end",
    algorithm: Steering | str | None = None,
    top_k: int | None = 20,
    temperature: float = 1.0,
    instruction: str = "",
    limits: Limits = NO_LIMITS,
    seed: int = 0,
) -> Solution:
    """Draw answers from the model's distribution times a potential and a critic.

    Unlike a constraint that masks tokens, this weighs what a mask would distort: an answer's share
    is its probability under the model, times its weights. `candidates` are the different answers
    with their shares, and `notes["log_z"]` is the log of the mean weight of an answer.

    With `top_k` None the whole vocabulary is looked at, and that is exact. Otherwise the model is
    cut to the `top_k` likeliest tokens and the end at every token, and renormalised; what the
    potential wants has to be among them.

    Args:
        question: A text or a chat.
        model: Answers; its engine tells next tokens (`Capability.NEXT_TOKENS`).
        potential: Chooses tokens as well, so it should be fast: it sees every token looked at.
        critic: Weighs answers by a score from 0 to 1, which multiplies their probability.
        critic_at: `end` scores whole answers; `token` the unfinished ones too, at every token.
        algorithm: `Steering(...)` or its text: `steering(n=4)`; its `max_tokens` ends answers. None is
            `Steering()`.
        top_k: Tokens that are looked at; None is all, where the engine can.
        temperature: Of the model, whose probabilities are taken to the power 1 / temperature.
        instruction: Added to the system turn; empty for none.
        limits: What the search may use.
        seed: Of all chance; nothing is sampled by the engine.

    Raises:
        ConfigError: A setting is wrong.
        CapabilityError: The engine tells no next tokens, or not so many.
        BudgetExhaustedError: The budget did not hold the first step.
        TooFewSurvivorsError: There is nothing to show, or nothing that weighs anything.

    Source: as of `Steering`.
    """
    one_of("critic_at", critic_at, ("end", "token"))
    algorithm = Steering() if algorithm is None else chosen(algorithm, steering=Steering)
    calls = _calls(question, model, top_k, temperature, instruction)
    scorer = find_scorer(critic, model) if isinstance(critic, str) else critic
    if scorer is not None:
        function("critic", scorer)
    judge = None if scorer is None else _Critic(calls, scorer)
    problem = await _problem(calls, potential, judge, critic_at, needs_of_scorer(scorer, "critic"))
    result = await search(algorithm, problem, seed=seed, limits=limits)
    solution = solution_of(result, calls.failures)
    _refuse_forbidden(result, is_forbidden=result.notes["log_z"] is None)
    return _uncut(solution, result, algorithm.max_tokens)


@program
async def steer_steps(
    question: str | Chat,
    *,
    model: Model,
    scorer: Scorer | str,
    potential: AnyPotential | None = None,
    algorithm: Particles | str | None = None,
    proposal: Proposal = "local",
    delimiter: str = "\n\n",
    max_tokens: int = 256,
    top_k: int | None = 20,
    temperature: float = 1.0,
    instruction: str = "",
    limits: Limits = NO_LIMITS,
    seed: int = 0,
) -> Solution:
    """Answer by particles of steps, whose tokens are steered by a potential.

    The potential holds at every token, the scorer weighs at the end of every step. With
    `Particles(weight="bernoulli", target="final")`, the default, answers are drawn from the model
    times the potential times the score.

    Args:
        question: A text or a chat.
        model: Answers; its engine tells next tokens (`Capability.NEXT_TOKENS`).
        scorer: Scores whole and partial answers, from 0 to 1.
        potential: As of `steer`.
        algorithm: Of the steps, or its text: `particles(n=4, weight="bernoulli")`.
        proposal: As of `Steering`.
        delimiter: Ends a step, and belongs to it.
        max_tokens: Of an answer; then it is made to end, and weighs as such.
        top_k: As of `steer`.
        temperature: As of `steer`.
        instruction: Added to the system turn; empty for none.
        limits: What the search may use.
        seed: Of all chance; nothing is sampled by the engine.

    Raises:
        ConfigError, CapabilityError, BudgetExhaustedError, TooFewSurvivorsError: As of `steer`.

    Source: as of `Particles` and `Steering`; their mixture is ours.
    """
    if not delimiter:
        raise ConfigError("delimiter is ''; it must be a text")
    whole("max_tokens", max_tokens)
    one_of("proposal", proposal, ("model", "local"))
    if algorithm is None:
        algorithm = Particles(weight="bernoulli", target="final")
    algorithm = chosen(algorithm, particles=Particles)
    calls = _calls(question, model, top_k, temperature, instruction)
    judge = find_scorer(scorer, model) if isinstance(scorer, str) else scorer
    function("scorer", judge)
    steps = TokenSteps(
        problem=await _problem(calls, potential, None, "end", needs_of_scorer(judge)),
        ends_step=lambda tokens, start: delimiter in calls.texts.since(tokens, start),
        decode_open=calls.texts.so_far,
        proposal=proposal,
        max_tokens=max_tokens,
    )

    async def score(partials: Sequence[Partial]) -> list[Any]:
        texts = [partial.text for partial in partials]
        return await calls.values_of(texts, lambda text: judge(question, text), name="scorer")

    problem = Problem(propose=steps, score=score, step_tokens=max_tokens, answer_tokens=max_tokens)
    result = await search(algorithm, problem, seed=seed, limits=limits)
    solution = solution_of(result, calls.failures)
    weights = [step.log_weight for step in result.best.partial.steps] if result.best else []
    _refuse_forbidden(result, is_forbidden=-math.inf in weights)
    return _uncut(solution, result, max_tokens)


def _refuse_forbidden(result: SearchResult, *, is_forbidden: bool) -> None:
    """Raise where what was found weighs nothing.

    Raises:
        TooFewSurvivorsError: It does.
    """
    if is_forbidden:
        raise TooFewSurvivorsError(
            f"the search ended ({result.why}) after {result.num_steps} steps, and no text that "
            "it drew weighs anything: the potential forbids them all, or the critic; more "
            "particles, a higher top_k or an instruction to the model may help"
        )


def _uncut(solution: Solution, result: SearchResult, most: int) -> Solution:
    """Return a solution whose answers that were made to end count as unfinished."""

    def has_ended(candidate: Candidate) -> bool:
        return candidate.partial.is_finished and candidate.partial.num_tokens <= most

    pairs = zip(solution.candidates, result.candidates, strict=True)
    return replace(
        solution,
        is_finished=result.best is not None and has_ended(result.best),
        candidates=tuple(replace(each, is_finished=has_ended(of)) for each, of in pairs),
    )


def _calls(
    question: str | Chat, model: Model, top_k: int | None, temperature: float, instruction: str
) -> TokenCalls:
    if top_k is not None:
        whole("top_k", top_k)
    number("temperature", temperature, 1e-3)
    return TokenCalls(
        question=question,
        model=model,
        instruction=instruction,
        top_k=top_k,
        temperature=temperature,
    )


async def _problem(
    calls: TokenCalls,
    potential: AnyPotential | None,
    critic: Potential | None,
    critic_at: CriticAt,
    needs: Sequence[Need],
) -> TokenProblem:
    if isinstance(potential, (TextCondition, TextWeight)):
        potential = potential.over(calls.texts)
    elif potential is not None and not isinstance(potential, Potential):
        raise ConfigError(
            f"potential is {potential!r}; it must be a TextCondition, a TextWeight or a Potential"
        )
    await refuse_unable([Need("model", calls.model, Capability.NEXT_TOKENS), *needs])
    return TokenProblem(
        next_logprobs=calls.rows,
        end=await calls.find_end(),
        decode=calls.texts.whole,
        potential=potential,
        critic=critic,
        critic_at=critic_at,
    )


@dataclass(frozen=True, slots=True)
class _Critic(Potential):
    """A scorer as a potential."""

    calls: TokenCalls
    scorer: Scorer

    async def prefix(self, texts: Sequence[Tokens]) -> list[Any]:
        return await self._logs([self.calls.texts.so_far(each) for each in texts], least=_LEAST)

    async def complete(self, texts: Sequence[Tokens]) -> list[Any]:
        return await self._logs([self.calls.texts.whole(each) for each in texts], least=0.0)

    async def _logs(self, texts: Sequence[str], least: float) -> list[Any]:
        question = self.calls.question
        scores = await self.calls.values_of(
            texts, lambda text: self.scorer(question, text), name="critic"
        )
        return [_log(score, least) for score in scores]


def _log(score: Any, least: float) -> float | Lost:
    if isinstance(score, Lost):
        return score
    if not 0 <= score <= 1:
        raise SearchError(f"the critic gave {score}; its scores are from 0 to 1")
    held = max(score, least)
    return math.log(held) if held else -math.inf

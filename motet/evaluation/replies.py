"""What a contender, or self-consistency, replied to a row, and what that took."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from motet.errors import (
    BudgetExhaustedError,
    CutOffReplyError,
    EmptyReplyError,
    MotetError,
    ProcessorMismatchError,
    RequestRejectedError,
    SearchError,
    StepError,
    TooFewSurvivorsError,
)
from motet.evaluation.texts import Said
from motet.model import Model
from motet.programs.judges.reading import kept
from motet.programs.measuring import is_answerless, is_here, is_of_run, process_of, spent_in
from motet.scopes import scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply to a row."""

    text: str | None
    missing: str | None
    """`empty`, `cut off`, `failed`; None where there is a text to score."""
    error: str | None = None
    tokens: int
    calls: int
    cost: float
    wall_s: float | None
    """None where the process ended in between."""
    samples: int | None = None


async def measured(
    work: Callable[[], Awaitable[Said]],
    *,
    max_tokens: int | None = None,
    model: Model | None = None,
    seed: int | None = None,
) -> Reply:
    """Run `work` in a scope of its own, and say what came of it and what it took.

    Raises:
        MotetError: What says nothing of it, such as an engine that is away.
    """
    is_whole = is_here(await process_of())
    began_s = time.monotonic()
    said = Said(text=None)
    error: MotetError | None = None
    with scope(max_tokens=max_tokens, model=model, seed=seed) as limits:
        try:
            said = await work()
        except MotetError as exc:
            if not is_own(exc):
                raise
            error = exc
    wall_s = time.monotonic() - began_s if is_whole else None
    spent = spent_in(limits)
    return Reply(
        text=said.text,
        missing=_missing(said, error),
        error=None if error is None else kept(f"{type(error).__name__}: {error}"),
        tokens=spent.tokens,
        calls=spent.calls,
        cost=spent.cost,
        wall_s=wall_s,
    )


def _missing(said: Said, error: MotetError | None) -> str | None:
    if isinstance(error, CutOffReplyError) or (error is None and said.is_cut_off):
        return "cut off"
    if isinstance(error, EmptyReplyError) or (error is None and said.text is None):
        return "empty"
    return None if error is None else "failed"


def is_own(error: MotetError) -> bool:
    """Whether a failure says something of the program that failed, or else of the run around it.

    Its own are replies that are no values, budgets that it was given, prompts that are too long
    or that the server will not take, and functions of its steps that raise.
    """
    if isinstance(error, TooFewSurvivorsError):
        return all(map(is_own, error.failures))
    if isinstance(error, BudgetExhaustedError):
        return not is_of_run(error)
    if isinstance(error, RequestRejectedError):
        # One row that a server refuses must not keep the others from their report.
        return error.status in _OF_ITS_CONTENT and not isinstance(error, ProcessorMismatchError)
    return is_answerless(error) or isinstance(error, (StepError, SearchError))


_OF_ITS_CONTENT = (400, 413, 422)
"""Statuses of requests that are refused for what they hold, and not for who sent them."""

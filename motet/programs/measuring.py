"""What a part of a run took, and whether its failure says something of it."""

from __future__ import annotations

import secrets
from typing import Any, Final

from motet.budget import Amount
from motet.engine import Usage
from motet.errors import (
    BudgetExhaustedError,
    MotetError,
    OutcomeError,
    PromptTooLongError,
    TooFewSurvivorsError,
)
from motet.operations import step
from motet.refs import RUN, Ref, Scope

_PROCESS: Final = secrets.token_hex(8)


@step
def process_of() -> str:
    """The process in which this was asked first."""
    return _PROCESS


def is_here(process: str) -> bool:
    """Whether what `process_of` gave was asked first in this process: then a clock tells the time
    since."""
    return process == _PROCESS


def is_answerless(error: MotetError) -> bool:
    """Whether a failure is the method's own: there was no room for an answer, or no answer."""
    if isinstance(error, TooFewSurvivorsError):
        return all(map(is_answerless, error.failures))
    return isinstance(error, (BudgetExhaustedError, OutcomeError, PromptTooLongError))


def spent_in(limits: Scope) -> Amount:
    """Return what calls inside a scope have used, earlier parts of the run included."""
    executor: Any = RUN.get()
    spent: Amount = executor.accounts.of(limits).spent
    return spent


def usage_of(ref: Ref[Any]) -> Usage:
    """Return what a finished prompt of this run was paid for, in an earlier part of it too."""
    executor: Any = RUN.get()
    usage: Usage | None = executor.calls.by_ref[ref].usage
    return usage or Usage()


def is_of_run(error: BudgetExhaustedError) -> bool:
    """Whether it is a limit of the whole run that was reached."""
    executor: Any = RUN.get()
    limit = getattr(executor.ledger.root.limits, error.limit, None)
    return limit is not None and bool(limit == error.limit_value)

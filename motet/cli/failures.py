"""Failures as a person sees them: a short message, what to do, and an exit code.

| code | meaning |
|---|---|
| 0 | done |
| 1 | the run failed, or some rows did |
| 2 | usage, program or configuration is wrong |
| 3 | the store cannot be read or written |
| 4 | the engine is unreachable, or does not have the model |
| 5 | a budget is exhausted |
| 70 | a bug: an exception that nobody foresaw |
| 130 | interrupted |
| 141 | whoever read the output has gone |
"""

from __future__ import annotations

from dataclasses import dataclass

from motet.errors import (
    BudgetExhaustedError,
    ConfigError,
    EngineTimeoutError,
    EngineUnavailableError,
    ModelNotFoundError,
    MotetError,
    PluginError,
    ProgramError,
    ReplayMismatchError,
    RunFailedError,
    StoreError,
    TooFewSurvivorsError,
)

OK, FAILED, USAGE, STORE, ENGINE, BUDGET = 0, 1, 2, 3, 4, 5
BUG, INTERRUPTED, BROKEN_PIPE = 70, 130, 141


class CommandError(Exception):
    """What was typed cannot be done. Not a failure of a run."""

    def __init__(self, message: str, hint: str | None = None, *, code: int = USAGE) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


class InterruptedRunError(Exception):
    """The user stopped a run."""

    def __init__(self, run_id: str | None, *, is_kept: bool) -> None:
        super().__init__("interrupted")
        self.run_id = run_id
        self.is_kept = is_kept
        """Whether the run stands in a store, to be resumed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What to tell, and the exit code."""

    code: int
    message: str
    hint: str | None = None


def cause_of(error: MotetError) -> MotetError:
    """The error that ended a run; of any other error, itself."""
    if isinstance(error, RunFailedError) and isinstance(error.__cause__, MotetError):
        return error.__cause__
    return error


def exit_code(error: MotetError) -> int:
    """Exit code for `error`; a failed run's is that of its cause."""
    if isinstance(error, RunFailedError):
        code = exit_code(cause_of(error)) if cause_of(error) is not error else FAILED
        return code if code != USAGE else FAILED
    if isinstance(error, TooFewSurvivorsError):
        codes = {exit_code(failure) for failure in error.failures}
        return codes.pop() if len(codes) == 1 and codes <= {ENGINE, BUDGET} else FAILED
    if isinstance(error, BudgetExhaustedError):
        return BUDGET
    if isinstance(error, StoreError):
        return STORE
    if isinstance(error, (EngineUnavailableError, ModelNotFoundError, EngineTimeoutError)):
        return ENGINE
    if isinstance(error, (ProgramError, ConfigError, PluginError, ReplayMismatchError)):
        return USAGE
    return FAILED


def describe(error: MotetError) -> Failure:
    """Return what to tell of `error`; names no resume command, which the caller knows."""
    cause = cause_of(error)
    notes = "".join(f" ({note})" for note in getattr(cause, "__notes__", ()))
    return Failure(exit_code(error), f"{cause}{notes}", _hint(cause))


def _hint(error: MotetError) -> str | None:
    if isinstance(error, TooFewSurvivorsError) and error.failures:
        return _hint(error.failures[0])
    if isinstance(error, EngineUnavailableError):
        return "is the server running, and is its URL right? `motet models --url URL` asks it"
    if isinstance(error, ModelNotFoundError):
        return (
            "`motet models --url URL` lists the models of a server, `motet models` the local ones"
        )
    if isinstance(error, BudgetExhaustedError):
        option = {
            "max_tokens": "--budget-tokens",
            "max_calls": "--budget-calls",
            "max_cost": "--budget-cost",
            "timeout_s": "--timeout",
        }.get(error.limit)
        return f"raise {option} and resume: what is finished is not paid for again"
    if isinstance(error, StoreError) and "another process" not in str(error):
        return "name another store by --store PATH, or none by --store none; see `motet doctor`"
    if isinstance(error, ReplayMismatchError):
        return "undo the change, or start a new run"
    return None


def resume_command(run_id: str) -> str:
    return f"motet runs resume {run_id}"

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

import re
import shlex
from dataclasses import dataclass

from motet.errors import (
    BudgetExhaustedError,
    CapabilityError,
    ConfigError,
    CutOffReplyError,
    DataError,
    EngineTimeoutError,
    EngineUnavailableError,
    ModelNotFoundError,
    MotetError,
    PluginError,
    ProgramError,
    ReplayMismatchError,
    RunFailedError,
    StepError,
    StoreError,
    TooFewSurvivorsError,
    is_final,
)

OK, FAILED, USAGE, STORE, ENGINE, BUDGET = 0, 1, 2, 3, 4, 5
BUG, INTERRUPTED, BROKEN_PIPE = 70, 130, 141
LIMIT_OPTION = {
    "max_tokens": "--budget-tokens",
    "max_calls": "--budget-calls",
    "max_cost": "--budget-cost",
    "timeout_s": "--timeout",
}
"""The option that gives each limit of a run's budget."""
_PRICE = "; give Model(..., price="
"""Begins the advice of an error of a model without a price."""
_LACKS_EMBED = re.compile(r"\b(?:needs|lacks) (?:\w+, )*embed\b")


class CommandError(Exception):
    """What was typed cannot be done. Not a failure of a run."""

    def __init__(self, message: str, hint: str | None = None, *, code: int = USAGE) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


class InterruptedRunError(Exception):
    """The user stopped a run."""

    def __init__(
        self, run_id: str | None, *, is_kept: bool, store_option: str | None = None
    ) -> None:
        super().__init__("interrupted")
        self.run_id = run_id
        self.is_kept = is_kept
        """Whether the run stands in a store, to be resumed."""
        self.store_option = store_option


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
        if is_refused(error):
            return USAGE
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
    if isinstance(error, (ProgramError, ConfigError, DataError, PluginError, ReplayMismatchError)):
        return USAGE
    return FAILED


def is_refused(error: RunFailedError) -> bool:
    """Whether a run ended by a wrong setting before it called a model; resuming it says the same."""
    if not isinstance(cause_of(error), (ConfigError, CapabilityError)):
        return False
    return error.partial is not None and not error.partial.usage.calls


def describe(error: MotetError) -> Failure:
    """Return what to tell of `error`; names no resume command, which the caller knows."""
    cause = cause_of(error)
    notes = "".join(f" ({note})" for note in getattr(cause, "__notes__", ()))
    notes = re.sub(r"\b1 attempts\b", "1 attempt", notes)
    return Failure(exit_code(error), f"{_without_python(cause)}{notes}", _hint(cause))


def _without_python(error: MotetError) -> str:
    """Return what an error says, without advice for who writes Python, which the hint replaces."""
    is_unpriced = isinstance(error, ConfigError) and _PRICE in str(error)
    return str(error).partition(_PRICE)[0] if is_unpriced else str(error)


def _hint(error: MotetError) -> str | None:
    if isinstance(error, TooFewSurvivorsError) and error.failures:
        return _hint(error.failures[0])
    if isinstance(error, EngineUnavailableError):
        return "is the server running, and is its URL right? `motet models --url URL` asks it"
    if isinstance(error, ModelNotFoundError):
        return (
            "`motet models --url URL` lists the models of a server, `motet models` the local ones"
        )
    if isinstance(error, CapabilityError):
        if _LACKS_EMBED.search(str(error)):
            return "local:minilm embeds texts, and so do servers of embedding models"
        return (
            "vLLM servers and local:smollm2 can do most of what a model may lack; a vote needs no "
            "scores: best-of-n(choose='majority')"
        )
    if isinstance(error, BudgetExhaustedError):
        option = LIMIT_OPTION.get(error.limit)
        return f"raise {option} and resume: what is finished is not paid for again"
    if isinstance(error, ConfigError) and _PRICE in str(error):
        return "give --price-prompt and --price-completion, 0 where it is free"
    if isinstance(error, StoreError) and "another process" not in str(error):
        return "name another store by --store PATH, or none by --store none; see `motet doctor`"
    if isinstance(error, ReplayMismatchError):
        return "undo the change, or start a new run"
    return None


def can_resuming_help(cause: MotetError) -> bool:
    """Whether a run that `cause` ended may go on; what was paid for and is final stays as it is."""
    if isinstance(cause, TooFewSurvivorsError):
        return any(can_resuming_help(failure) for failure in cause.failures)
    mendable = (StepError, ProgramError, ConfigError, PluginError, ReplayMismatchError)
    return isinstance(cause, mendable) or not is_final(cause)


def way_on(
    cause: MotetError,
    run_id: str,
    *,
    is_kept: bool,
    has_max_tokens: bool,
    store_option: str | None = None,
    has_replies: bool = True,
) -> str | None:
    """What to do after `cause` ended the run; None where there is nothing to say."""
    if can_resuming_help(cause):
        return f"resume it by: {resume_command(run_id, store_option)}" if is_kept else None
    ways = []
    if any(isinstance(found, CutOffReplyError) for found in _leaves(cause)):
        ways.append("raise --max-tokens" if has_max_tokens else "raise the prompt's max_tokens")
    if is_kept and has_replies:
        shown = f"motet runs show {run_id} --prompts{_with_store(store_option)}"
        ways.append(f"`{shown}` shows what was said")
    return "hint: " + "; ".join(ways) if ways else None


def _leaves(error: MotetError) -> list[MotetError]:
    if isinstance(error, TooFewSurvivorsError):
        return [leaf for failure in error.failures for leaf in _leaves(failure)]
    return [error]


def resume_command(run_id: str, store_option: str | None = None) -> str:
    """Return the command that resumes a run; `store_option` is what `--store` gave."""
    return f"motet runs resume {run_id}{_with_store(store_option)}"


def _with_store(given: str | None) -> str:
    if given is None:
        return ""
    scheme, mark, _ = given.partition("://")
    if mark and not scheme.startswith("sqlite"):
        return " --store URL"  # it may hold a password, in more places than one
    return f" --store {shlex.quote(given)}"

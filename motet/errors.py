"""Every error motet raises on purpose.

MotetError
├── ProgramError               the program is wrong; raised before any model call; .place
│   ├── UnboundInputError          an input is missing, unknown, or a ref was used as a value
│   ├── UnboundModelError          a prompt has no model
│   ├── EdgeTypeError              a ref's type does not fit the parameter it is passed to
│   ├── CapabilityError            the engine cannot do what the program needs
│   ├── TemplateError              a template does not parse or names an unknown variable
│   ├── UnknownNameError           no operation, program or engine has this name
│   ├── GraphFileError             a graph file is malformed
│   └── CycleError                 a graph file is no DAG
├── ConfigError                a setting is out of range
├── EngineError                serving failed; .retryable says whether the dispatcher tries again
│   ├── EngineUnavailableError     no connection, dropped connection, 5xx; retryable
│   ├── RateLimitedError           429; retryable; .retry_after_s
│   ├── EngineTimeoutError         no answer in time; retryable
│   ├── GarbledReplyError          the body was not what the API promises; retryable
│   ├── RequestRejectedError       4xx: the request is wrong; .status
│   │   └── ProcessorMismatchError     motet's processor in the server is of another version
│   ├── ModelNotFoundError         the server does not have this model
│   └── PromptTooLongError         .prompt_tokens, .max_tokens
├── OutcomeError               the model answered, but its reply is no value; .completion
│   ├── EmptyReplyError            no text
│   ├── CutOffReplyError           stopped at max_tokens
│   ├── RefusalError               the model or its filter refused
│   ├── ParseError                 the text does not have the declared type
│   └── ConstraintBrokenError      the text breaks a decoding rule that was to hold
├── TooFewSurvivorsError       fewer calls succeeded than were asked for; .failures
├── StepError                  a user's function raised; .error_type
├── CallCancelledError         the call lost a race, or nobody needed it any more
├── BudgetExhaustedError       a limit was reached; .limit, .limit_value
├── SearchError                a search's callable broke its contract, or its checkpoint is another's
├── SandboxError               code cannot be run here, or its sandbox failed; says what to install
├── DataError                  a table, a file or numbers for a router, a statistic or an evaluation do not fit
├── ReplayMismatchError        a resumed program made another call than the journal holds
├── StoreError                 the store cannot be read or written
├── PluginError                an entry point did not load
└── RunFailedError             a run ended without its value; .partial, .run_id
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motet.engine import Completion


class MotetError(Exception):
    """Base of every error that motet raises on purpose."""

    retryable: ClassVar[bool] = False
    """Whether the dispatcher may send the same request again."""

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.args, vars(self))


class ProgramError(MotetError):
    """The program is wrong. Raised before any model call."""

    def __init__(self, message: str, *, place: str | None = None) -> None:
        super().__init__(message if place is None else f"{message} (at {place})")
        self.place = place
        """`file:line` of the call in the user's code, where known."""


class UnboundInputError(ProgramError):
    """An input is missing or unknown, or a ref was used as if it were its value."""


class UnboundModelError(ProgramError):
    """A prompt has no model."""


class EdgeTypeError(ProgramError):
    """A ref's type does not fit the parameter that it is passed to."""


class CapabilityError(ProgramError):
    """The engine lacks what the program needs."""


class TemplateError(ProgramError):
    """A template does not parse, or names a variable that the prompt has not."""


class UnknownNameError(ProgramError):
    """No operation, program or engine has this name."""


class GraphFileError(ProgramError):
    """A graph file is malformed."""


class CycleError(ProgramError):
    """A graph is not acyclic."""


class ConfigError(MotetError):
    """A setting is out of range."""


class EngineError(MotetError):
    """Serving failed."""


class EngineUnavailableError(EngineError):
    """No connection, a dropped connection, or a 5xx."""

    retryable = True

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.status = status
        """Of what was answered; None where nothing was."""

    @property
    def is_away(self) -> bool:
        """Whether nobody is there: a server that fails at one request (500) still is."""
        return self.status in (None, 502, 503, 504)


class RateLimitedError(EngineError):
    """The engine asks for fewer requests."""

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """Seconds that the engine asks to wait, where it says so."""


class EngineTimeoutError(EngineError):
    """No answer within the time limit."""

    retryable = True


class GarbledReplyError(EngineError):
    """The body of the reply is not what the API promises."""

    retryable = True


class RequestRejectedError(EngineError):
    """The engine says that the request itself is wrong."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ProcessorMismatchError(RequestRejectedError):
    """motet's processor in the server and this motet are of different versions."""

    def __init__(
        self, message: str, *, server_version: int | None, client_version: int, status: int = 400
    ) -> None:
        super().__init__(message, status=status)
        self.server_version = server_version
        self.client_version = client_version


class ModelNotFoundError(EngineError):
    """The engine does not serve this model."""


class PromptTooLongError(EngineError):
    """The prompt does not fit the model's context."""

    def __init__(self, message: str, *, prompt_tokens: int | None, max_tokens: int | None) -> None:
        super().__init__(message)
        self.prompt_tokens = prompt_tokens
        self.max_tokens = max_tokens


class OutcomeError(MotetError):
    """The model answered, but its reply is no value of the declared type."""

    def __init__(self, message: str, *, completion: Completion | None = None) -> None:
        super().__init__(message)
        self.completion = completion


class EmptyReplyError(OutcomeError):
    """The model's reply holds no text."""


class CutOffReplyError(OutcomeError):
    """The reply stopped at `max_tokens`, so it is not whole."""


class RefusalError(OutcomeError):
    """The model or a content filter refused."""


class ParseError(OutcomeError):
    """The reply's text does not have the declared type."""


class ConstraintBrokenError(OutcomeError):
    """The reply's text breaks a decoding rule that the engine was to hold."""


class TooFewSurvivorsError(MotetError):
    """Fewer calls succeeded than were asked for."""

    def __init__(self, message: str, *, failures: Sequence[MotetError] = ()) -> None:
        super().__init__(message)
        self.failures = tuple(failures)


class StepError(MotetError):
    """A user's function raised."""

    def __init__(self, message: str, *, error_type: str) -> None:
        super().__init__(message)
        self.error_type = error_type
        """Qualified name of the exception's class."""


class CallCancelledError(MotetError):
    """The call lost a race, or nobody needed it any more."""


class BudgetExhaustedError(MotetError):
    """A limit of a budget was reached."""

    def __init__(self, message: str, *, limit: str, limit_value: float) -> None:
        super().__init__(message)
        self.limit = limit
        """The setting: `max_tokens`, `max_calls`, `max_cost` or `timeout_s`."""
        self.limit_value = limit_value


class SearchError(MotetError):
    """A callable of a search broke its contract, or a checkpoint is not this search's."""


class SandboxError(MotetError):
    """Code cannot be run in a sandbox here, or the sandbox itself failed; the code did not run."""


class DataError(MotetError):
    """A table, a file or numbers given to a router, a statistic or an evaluation do not fit."""


class ReplayMismatchError(MotetError):
    """A resumed program made another call than the one that the journal holds."""


class StoreError(MotetError):
    """The store cannot be read or written."""


class PluginError(MotetError):
    """An entry point did not load."""


class RunFailedError(MotetError):
    """A run ended without its value; what it finished is in `partial`."""

    def __init__(self, message: str, *, run_id: str, partial: Any = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.partial = partial
        """The run's `PartialResult`."""


def is_final(error: MotetError) -> bool:
    """Say whether a call that failed so would fail again.

    Spent budgets, engines that are away, full disks and cancellations pass.
    """
    if isinstance(error, TooFewSurvivorsError):
        return all(is_final(failure) for failure in error.failures)
    passing = (BudgetExhaustedError, CallCancelledError, StoreError)
    return not error.retryable and not isinstance(error, passing)


def describe_error(error: MotetError) -> dict[str, Any]:
    """Write `error` as JSON values: its class, message and plain fields."""
    plain = {k: v for k, v in vars(error).items() if isinstance(v, (str, int, float, type(None)))}
    return {"type": _class_name(type(error)), "message": str(error), "fields": plain}


def _class_name(cls: type[MotetError]) -> str:
    return cls.__name__ if cls.__module__ == __name__ else f"{cls.__module__}:{cls.__qualname__}"


def _find_class(name: str) -> type[MotetError]:
    """Find an error class among those that are loaded; nothing is imported by its name."""
    classes: list[type[MotetError]] = [MotetError]
    for cls in classes:
        if _class_name(cls) == name:
            return cls
        classes.extend(cls.__subclasses__())
    return MotetError


def restore_error(described: Mapping[str, Any]) -> MotetError:
    """Rebuild an error that `describe_error` wrote; an unknown class becomes a `MotetError`."""
    cls = _find_class(str(described.get("type")))
    fields: dict[str, Any] = {}
    for name in ("completion", "partial", "failures", "place", "retry_after_s", "status"):
        code = getattr(cls.__init__, "__code__", None)
        if code is not None and name in code.co_varnames:
            fields[name] = () if name == "failures" else None
    fields.update(described.get("fields", {}))
    return _rebuild(cls, (described.get("message", ""),), fields)


def _rebuild(
    cls: type[MotetError], arguments: tuple[Any, ...], fields: Mapping[str, Any]
) -> MotetError:
    error = cls.__new__(cls)
    Exception.__init__(error, *arguments)
    vars(error).update(fields)
    return error

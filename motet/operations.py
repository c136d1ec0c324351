"""Operations: what a call does. Steps and programs; prompts stand in `motet.prompts`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import traceback
import typing
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from motet.engine import Sampling
from motet.errors import MotetError, ProgramError, StepError, UnboundInputError
from motet.events import CallKind
from motet.model import Model
from motet.outputs import describe, dump_value, fits, load_value, plain_annotation
from motet.refs import BRANCH, Branch, Ref, snapshot

if TYPE_CHECKING:
    from motet.engine import Capability

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class Parameters:
    """A function's parameters: names, annotations, and quick binding of arguments."""

    def __init__(self, function: Callable[..., Any], frame_locals: Mapping[str, Any]) -> None:
        self.signature = inspect.signature(function)
        self.names = tuple(self.signature.parameters)
        self._is_plain = all(
            p.kind is p.POSITIONAL_OR_KEYWORD for p in self.signature.parameters.values()
        )
        self._function = function
        self._locals = frame_locals
        self._hints: dict[str, Any] | None = None

    @property
    def hints(self) -> dict[str, Any]:
        """Annotations by name, `return` too; those that do not resolve are absent."""
        if self._hints is None:
            try:
                self._hints = typing.get_type_hints(
                    self._function, localns=dict(self._locals), include_extras=True
                )
            except Exception:  # an annotation of the user's may raise anything
                self._hints = {
                    k: v
                    for k, v in getattr(self._function, "__annotations__", {}).items()
                    if not isinstance(v, str)
                }
        return self._hints

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], owner: str, frame: FrameType
    ) -> tuple[Any, ...]:
        """Return the values in the order of the parameters, defaults filled in."""
        if self._is_plain and not kwargs and len(args) == len(self.names):
            return args
        kinds = {p.kind for p in self.signature.parameters.values()}
        unknown = sorted(set(kwargs) - set(self.names))
        if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise UnboundInputError(
                f"{owner.rpartition(':')[2]} takes no {unknown[0]!r}; "
                f"it takes {', '.join(self.names) or 'nothing'}",
                place=place_of(frame),
            )
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise UnboundInputError(
                f"{owner.rpartition(':')[2]}{self.signature}: {exc}", place=place_of(frame)
            ) from None
        bound.apply_defaults()
        return tuple(bound.arguments[name] for name in self.names)

    def invoke(self, values: tuple[Any, ...]) -> Any:
        """Call the function with values in the order of its parameters."""
        if self._is_plain:
            return self._function(*values)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter, value in zip(self.signature.parameters.values(), values, strict=True):
            if parameter.kind is parameter.VAR_POSITIONAL:
                args.extend(value)
            elif parameter.kind is parameter.VAR_KEYWORD:
                kwargs.update(value)
            elif parameter.kind is parameter.KEYWORD_ONLY:
                kwargs[parameter.name] = value
            else:
                args.append(value)
        return self._function(*args, **kwargs)


class Operation:
    """What a call does; calling it returns a ref."""

    __motet_opaque__: ClassVar[bool] = True
    kind: ClassVar[CallKind]
    name: str
    """Identity of the operation: `module:function`."""
    output: Any = Any
    """Annotation of the value."""
    tolerates_failures: ClassVar[bool] = False
    """Whether it takes failed inputs as outcomes instead of failing with them."""
    is_derived: ClassVar[bool] = False
    """Whether its value follows from its inputs for free, so that it is not journaled."""

    @property
    def identity(self) -> str:
        """Text that changes when the operation would do something else."""
        return f"{self.kind}:{self.name}"

    @property
    def short_name(self) -> str:
        """Name to show a person."""
        return self.name.rpartition(":")[2].rpartition(".")[2]

    def output_of(self, ref: Ref[Any]) -> Any:
        """Annotation of one call's value, as far as its inputs tell; `Any` where unknown."""
        return self.output

    def dump(self, ref: Ref[Any], value: Any) -> bytes:
        """Write a value for the journal; `TypeError` where it would not come back."""
        return dump_value(self.output, value)

    def load(self, ref: Ref[Any], data: bytes) -> Any:
        return load_value(self.output, data)


def operation_name(function: Callable[..., Any]) -> str:
    """`module:qualified name`; a script's module is its file's stem."""
    module = function.__module__
    if module == "__main__":
        file = getattr(sys.modules.get("__main__"), "__file__", None)
        module = Path(file).stem if file else "__main__"
    return f"{module}:{function.__qualname__.replace('<locals>.', '')}"


def place_of(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class FunctionOperation(Operation):
    """An operation made of a user's function."""

    def __init__(
        self, function: Callable[..., Any], frame_locals: Mapping[str, Any], name: str | None
    ) -> None:
        self.function = function
        self.name = name or operation_name(function)
        self.parameters = Parameters(function, frame_locals)
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", self.name)
        self.__wrapped__ = function

    @functools.cached_property
    def output(self) -> Any:
        return plain_annotation(self.parameters.hints.get("return", Any))

    def _ref(self, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType) -> Ref[Any]:
        values = self.parameters.bind(args, kwargs, self.name, frame)
        return Ref(self, values, frame.f_code, frame.f_lineno)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


def made(ref: Ref[R]) -> Ref[R]:
    """Start `ref` where it was made by a running program; return it."""
    branch = ref.branch
    if branch.live is not None and not isinstance(branch.parent, Ref):
        branch.live.submit(ref)
    return ref


class Step(FunctionOperation, Generic[R]):
    """A plain Python function, sync or async, as a node."""

    kind: ClassVar[CallKind] = "step"

    def __init__(
        self, function: Callable[..., Any], frame_locals: Mapping[str, Any], name: str | None
    ) -> None:
        super().__init__(function, frame_locals, name)
        self.is_async = inspect.iscoroutinefunction(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Ref[R]:
        return made(self._ref(args, kwargs, sys._getframe(1)))


class Program(FunctionOperation, Generic[R]):
    """A function that makes calls.

    A `def` is expanded when it is called: its graph is known before anything runs. An
    `async def` runs when its inputs are there, and may await refs.
    """

    kind: ClassVar[CallKind] = "program"

    def __init__(
        self, function: Callable[..., Any], frame_locals: Mapping[str, Any], name: str | None
    ) -> None:
        super().__init__(function, frame_locals, name)
        self.is_async = inspect.iscoroutinefunction(function)
        self.is_derived = not self.is_async  # type: ignore[misc]

    def __call__(self, *args: Any, **kwargs: Any) -> Ref[R]:
        ref = self._ref(args, kwargs, sys._getframe(1))
        return made(ref if self.is_async else expanded(ref, self.parameters.invoke))

    def as_model(self, **bound: Any) -> Model:
        """Return a model that answers a prompt by running this program.

        The program's first free parameter takes the prompt: the whole chat where its annotation
        admits a `Chat`, else its text. `bound` gives the other inputs.
        """
        unknown = sorted(set(bound) - set(self.parameters.names))
        if unknown:
            raise UnboundInputError(
                f"{self.short_name} takes no {unknown[0]!r}; "
                f"it takes {', '.join(self.parameters.names)}",
                place=place_of(sys._getframe(1)),
            )
        if not [name for name in self.parameters.names if name not in bound]:
            raise UnboundInputError(
                f"as_model() of {self.short_name} leaves no input for the question",
                place=place_of(sys._getframe(1)),
            )
        return Model(program=self, bound=bound)


def user_error(ref: Ref[Any], exc: BaseException) -> StepError:
    """Say what a user's function raised, and where."""
    where = _raised_at(exc)
    called = f"; called at {ref.place}" if ref.code is not None and _is_users(ref.place) else ""
    error = StepError(
        f"{ref.operation.short_name} raised {type(exc).__name__}: {exc} (at {where}{called})",
        error_type=f"{type(exc).__module__}.{type(exc).__qualname__}",
    )
    error.__cause__ = exc
    return error


_HERE = str(Path(__file__).parent)


def _is_users(place: str) -> bool:
    return not place.startswith(_HERE) and "site-packages" not in place


def _raised_at(exc: BaseException) -> str:
    """`file:line` of the innermost frame in the user's own code, or else of the innermost one."""
    places = [
        f"{frame.f_code.co_filename}:{line}" for frame, line in traceback.walk_tb(exc.__traceback__)
    ]
    users = [place for place in places if _is_users(place)]
    return (users or places or ["an unknown place"])[-1]


def expanded(ref: Ref[Any], body: Callable[[tuple[Any, ...]], Any]) -> Ref[Any]:
    """Run a static program's body now, so that `ref` stands for what it returned."""
    branch = Branch(ref.branch.live, ref)
    ref.made = branch.made
    token = BRANCH.set(branch)
    try:
        result = body(ref.arguments)
    except MotetError:
        raise
    except RecursionError:
        raise ProgramError(
            f"{ref.operation.short_name} nests deeper than Python allows; does it call itself "
            "without end?",
            place=ref.place,
        ) from None
    except Exception as exc:  # the user's function may raise anything
        raise user_error(ref, exc) from exc
    finally:
        BRANCH.reset(token)
    if inspect.iscoroutine(result):
        result.close()
        raise ProgramError(
            f"{ref.operation.short_name} returned a coroutine; write `async def`", place=ref.place
        )
    if result is None and not fits(type(None), ref.operation.output):
        raise ProgramError(
            f"{ref.operation.short_name} returned nothing, but is annotated "
            f"-> {describe(ref.operation.output)}; is a `return` missing?",
            place=ref.place,
        )
    found: list[Ref[Any]] = []
    ref.body = snapshot(result, found)
    ref.dependencies = tuple(found)
    return ref


@overload
def step(function: Callable[..., Coroutine[Any, Any, R]], /) -> Step[R]: ...
@overload
def step(function: Callable[..., R], /) -> Step[R]: ...
@overload
def step(*, name: str | None = None) -> Callable[[Callable[..., Any]], Step[Any]]: ...
def step(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Make a node of a plain Python function, sync or async.

    Its value is journaled, so annotate the return type where it is not plain JSON. A sync step
    that turns out slow runs in a thread, so that it delays nothing else.
    """
    local = sys._getframe(1).f_locals
    if function is not None:
        return Step(function, local, name)
    return lambda f: Step(f, local, name)


@overload
def program(function: Callable[..., Coroutine[Any, Any, R]], /) -> Program[R]: ...
@overload
def program(function: Callable[..., Ref[R]], /) -> Program[R]: ...
@overload
def program(function: Callable[..., R], /) -> Program[R]: ...
@overload
def program(*, name: str | None = None) -> Callable[[Callable[..., Any]], Program[Any]]: ...
def program(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Make a program of a function that makes calls.

    `def`: returns a ref, or a structure that holds refs; the graph is static. `async def`: may
    await refs, branch and loop; the graph grows while it runs.
    """
    local = sys._getframe(1).f_locals
    if function is not None:
        return Program(function, local, name)
    return lambda f: Program(f, local, name)


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """Where a prompt is answered, and how it is sampled."""

    model: Model | None = None
    sampling: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Changes to the model's defaults."""
    samples: int | None = None
    """Completions asked for in one request; None for one, not in a list."""
    candidates: tuple[str, ...] = ()
    """Answers to score instead of asking for one."""
    is_rewarded: bool = False
    """Whether a reward model's numbers are asked for instead of an answer."""
    label: int | None = None
    """Class of the reward model whose probability counts; None where it has one number."""
    is_embedded: bool = False
    """Whether the prompt's vector is asked for instead of an answer."""
    next_tokens: int | None = None
    """How many of the likeliest next tokens are asked for instead of an answer; -1 all."""
    behind: str | None = None
    """The parameter that holds the token ids which stand behind the prompt then."""
    are_texts_wanted: bool = True

    def resolved(self, model: Model) -> Sampling:
        """Settings for a request, seed apart."""
        return model.sampling.updated(self.sampling)


def required_capabilities(
    sampling: Sampling,
    *,
    is_continued: bool,
    is_scored: bool = False,
    is_rewarded: bool = False,
    is_embedded: bool = False,
    tells_next: bool = False,
) -> set[Capability]:
    """What an engine must be able to do for these settings."""
    from motet.engine import Capability, LogitsRule

    if is_rewarded:
        return {Capability.REWARD}
    if is_embedded:
        return {Capability.EMBED}
    if tells_next:
        return {Capability.NEXT_TOKENS} | ({Capability.CONTINUE} if is_continued else set())
    needed: set[Capability] = set()
    if is_scored:
        needed.add(Capability.SCORE)
    elif sampling.logprobs is not None:
        needed.add(Capability.LOGPROBS)
    if any(isinstance(rule, LogitsRule) for rule in sampling.decoding):
        needed.add(Capability.LOGITS_PROCESSORS)
    if is_continued:
        needed.add(Capability.CONTINUE)
    return needed

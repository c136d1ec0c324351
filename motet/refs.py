"""Refs: what a call returns while a program is built, and where calls are made."""

from __future__ import annotations

import copy
import dataclasses
import functools
import operator
import weakref
from collections import defaultdict, deque
from collections.abc import (
    Awaitable,
    Callable,
    Generator,
    ItemsView,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from contextvars import ContextVar
from types import CodeType, NoneType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from motet.errors import ConfigError, UnboundInputError

if TYPE_CHECKING:
    from motet.model import Model
    from motet.operations import Operation

T_co = TypeVar("T_co", covariant=True)

UNEXPANDED: Any = object()
"""Body of a ref that is no expanded static program."""
PLAIN: frozenset[type] = frozenset({str, int, float, bool, NoneType, bytes})
"""Types whose values hold no ref and cannot be changed."""


class LiveRun(Protocol):
    """The run that an `async def` program lives in; the executor implements it."""

    def submit(self, ref: Ref[Any]) -> None:
        """Start `ref` as soon as its inputs are there."""

    def result(self, ref: Ref[Any]) -> Awaitable[Any]: ...


class Branch:
    """A line of code that makes calls one after another, so that their order is fixed.

    A program body is one; each asyncio task that it starts is another, named by the order in
    which tasks were created. Ids of calls therefore do not depend on which task runs first.
    """

    __slots__ = ("calls", "forks", "live", "made", "parent", "path")

    def __init__(self, live: LiveRun | None, parent: Any, path: str = "") -> None:
        self.live = live
        self.parent = parent
        """The program call whose body this is: a `Ref` while building, a `Call` while running."""
        self.path = path
        self.made: list[Ref[Any]] | None = [] if type(parent) is Ref else None
        """Calls made while building, so that `plan` can report those never used."""
        self.calls = 0
        self.forks = 0

    def fork(self) -> Branch:
        self.forks += 1
        return Branch(self.live, self.parent, f"{self.path}.{self.forks}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Limits and defaults for the calls made inside `with motet.scope(...)`."""

    outer: Scope | None = None
    max_tokens: int | None = None
    max_calls: int | None = None
    max_cost: float | None = None
    timeout_s: float | None = None
    seed: int | None = None
    model: Model | None = None

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_calls", "max_cost", "timeout_s"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise ConfigError(f"{name} is {value!r}; it must be 0 or more")

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class Ref(Generic[T_co]):
    """A value that a call will have.

    Pass it on to make an edge; await it in an `async def` program to read it.
    """

    __slots__ = (
        "arguments",
        "body",
        "branch",
        "claim",
        "code",
        "dependencies",
        "inputs",
        "line",
        "made",
        "number",
        "operation",
        "ordinal",
        "scope",
    )

    def __init__(
        self, operation: Operation, arguments: tuple[Any, ...], code: CodeType | None, line: int
    ) -> None:
        found: list[Ref[Any]] = []
        self.operation = operation
        self.arguments = tuple([snapshot(value, found) for value in arguments])
        is_bare = len(found) == len(arguments) and all(type(a) is Ref for a in arguments)
        # One tuple instead of two where the arguments are refs: there may be millions.
        self.inputs: tuple[Ref[Any], ...] = self.arguments if is_bare else tuple(found)
        """Refs in the arguments, in order."""
        self.dependencies = self.inputs
        """Refs whose values it waits for; a static program waits for its body's, not its inputs."""
        self.body: Any = UNEXPANDED
        self.made: list[Ref[Any]] | None = None
        """Calls that a static program's body made, used or not."""
        branch = BRANCH.get()
        self.branch = branch
        self.ordinal = 0
        """Place among the calls of its branch; 0 outside of programs, where code comes in any order."""
        if branch.parent is not None or branch.live is not None:
            self.ordinal = branch.calls
            branch.calls += 1
        if branch.made is not None:
            branch.made.append(self)
        self.scope = SCOPE.get()
        self.code = code
        self.line = _LINES.setdefault(line, line)
        self.claim: object = None
        """Token of the `CallTable` that named this ref first; `number` is its place there."""
        self.number = -1

    @property
    def place(self) -> str:
        """`file:line` of the call in the user's code."""
        return f"{self.code.co_filename}:{self.line}" if self.code else "<graph>"

    @property
    def output(self) -> Any:
        """Annotation of the value; `Any` where unknown."""
        return self.operation.output_of(self)

    def __await__(self) -> Generator[Any, None, T_co]:
        live = BRANCH.get().live
        if live is None:
            raise UnboundInputError(
                f"{self!r} was awaited outside a running `async def` program; "
                "run it with motet.run(ref) or await motet.arun(ref)",
                place=self.place,
            )
        return live.result(self).__await__()

    def __getitem__(self, key: Any) -> Ref[Any]:
        return MAKE_ITEM[0](self, key)

    def __repr__(self) -> str:
        return f"<Ref {self.operation.name} at {self.place}>"

    def _refuse(self, what: str) -> NoReturn:
        raise UnboundInputError(
            f"{self!r} has no value yet, so it cannot be {what}: pass it on to another call, "
            "use motet.map for a list, or await it in an `async def` program",
            place=self.place,
        )

    def __eq__(self, other: object) -> bool:  # noqa: RET503 - it refuses
        if isinstance(other, Ref):
            return self is other
        self._refuse("compared")

    __hash__ = object.__hash__

    def __copy__(self) -> Ref[T_co]:
        return self

    def __deepcopy__(self, memo: Any) -> Ref[T_co]:
        return self

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"{self!r} has no value yet, so it has no attribute {name!r}: pass it on to another "
            "call, write ref[...] for a part of its value, or await it in an `async def` program"
        )

    def _refuse_operator(self, other: Any) -> NoReturn:
        self._refuse("computed with")

    __add__ = __radd__ = __sub__ = __mul__ = __rmul__ = __mod__ = _refuse_operator
    __lt__ = __le__ = __gt__ = __ge__ = _refuse_operator

    def __bool__(self) -> bool:  # noqa: PLE0304 - it refuses
        self._refuse("tested")

    def __iter__(self) -> Iterator[Any]:
        self._refuse("iterated over")

    def __len__(self) -> int:  # noqa: PLE0303 - it refuses
        self._refuse("measured")

    def __contains__(self, value: object) -> bool:
        self._refuse("searched")

    def __str__(self) -> str:  # noqa: PLE0307 - it refuses
        self._refuse("made into text")

    def __format__(self, spec: str) -> str:
        self._refuse("made into text")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Ref cannot be pickled")


_LINES: dict[int, int] = {}
"""One object a line, since there may be millions of refs."""
_ROOT = Branch(None, None)
BRANCH: ContextVar[Branch] = ContextVar("motet_branch", default=_ROOT)
SCOPE: ContextVar[Scope | None] = ContextVar("motet_scope", default=None)
MAKE_ITEM: list[Callable[[Ref[Any], Any], Ref[Any]]] = []
"""What `ref[key]` makes; the combinators, one floor up, put it here."""
RUN: ContextVar[LiveRun | None] = ContextVar("motet_run", default=None)
"""The run that the code is part of, in steps too."""


def snapshot(value: Any, found: list[Ref[Any]]) -> Any:
    """Copy what can be changed, so that later changes by the caller are not seen; list the refs."""
    kind: Any = type(value)
    if kind in PLAIN:
        return value
    if kind is Ref:
        found.append(value)
        return value
    if kind is list:
        return [snapshot(v, found) for v in value]
    if kind is dict:
        if Ref in map(type, value):
            raise UnboundInputError("a ref cannot be a key of a dict: it has no value yet")
        return {k: snapshot(v, found) for k, v in value.items()}
    if kind is tuple:
        return _same_or(value, [v if type(v) in PLAIN else snapshot(v, found) for v in value])
    names = _frozen_fields(kind)
    if names is not None:
        old = [getattr(value, name) for name in names]
        new = [part if type(part) in PLAIN else snapshot(part, found) for part in old]
        return _with_fields(value, names, old, new)
    if isinstance(value, (Iterator, KeysView, ValuesView, ItemsView)):
        return [snapshot(v, found) for v in value]  # it can be read once, or shows what may change
    parts = parts_of(value)
    if parts is None:
        return value
    return rebuilt(value, {key: snapshot(part, found) for key, part in parts.items()})


def parts_of(value: Any) -> Mapping[Any, Any] | None:
    """Parts of a container, a pydantic model or a dataclass; None for other objects."""
    kind = type(value)
    if getattr(kind, "__motet_opaque__", False) or isinstance(value, type):
        return None
    if isinstance(value, (list, tuple, deque)):
        return dict(enumerate(value))
    if isinstance(value, (set, frozenset)):
        return {part: part for part in value}
    if isinstance(value, Mapping):
        return value
    if hasattr(kind, "model_fields") and hasattr(kind, "model_copy"):
        fields: dict[str, Any] = vars(value)
        return fields
    if dataclasses.is_dataclass(kind):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(kind)}
    return None


def rebuilt(value: Any, parts: Mapping[Any, Any]) -> Any:
    """Return a container like `value` with other parts; frozen ones that hold the same stay."""
    kind = type(value)
    if isinstance(value, tuple) and hasattr(kind, "_make"):
        return kind._make(parts.values())
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return kind(parts.values())
    if isinstance(value, defaultdict):
        return defaultdict(value.default_factory, parts)
    if isinstance(value, Mapping):
        try:
            return kind(parts)
        except TypeError:  # a view or the like, which only reads
            return dict(parts)
    if hasattr(kind, "model_copy"):
        return value.model_copy(update=dict(parts))
    frozen = kind.__dataclass_params__.frozen
    if frozen and all(getattr(value, name) is part for name, part in parts.items()):
        return value
    changed = copy.copy(value)
    for name, part in parts.items():
        object.__setattr__(changed, name, part)
    return changed


def _same_or(value: tuple[Any, ...], parts: list[Any]) -> tuple[Any, ...]:
    """Return the tuple of `parts`: `value` itself where it holds the same."""
    return value if all(map(operator.is_, value, parts)) else tuple(parts)


@functools.lru_cache(maxsize=1024)
def _frozen_fields(kind: type) -> tuple[str, ...] | None:
    """Names of the fields of a frozen dataclass, none of an object without parts; None where the
    kind alone does not tell.
    """
    if issubclass(kind, _OF_PARTS) or hasattr(kind, "model_fields") or _is_proxy(kind):
        return None
    if not dataclasses.is_dataclass(kind) or getattr(kind, "__motet_opaque__", False):
        return ()
    is_frozen = kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    is_plain = is_frozen and not hasattr(kind, "model_validate")
    return tuple(field.name for field in dataclasses.fields(kind)) if is_plain else None


_OF_PARTS = (list, tuple, deque, set, frozenset, Mapping, Iterator, KeysView, ValuesView, ItemsView)


def _is_proxy(kind: type) -> bool:
    """Whether objects of this kind pass for objects of another."""
    is_posing = any("__class__" in each.__dict__ for each in kind.__mro__[:-1])
    return is_posing or issubclass(kind, weakref.ProxyTypes)


def _with_fields(value: Any, names: tuple[str, ...], old: list[Any], new: list[Any]) -> Any:
    """Return a frozen dataclass with other parts; one that holds the same stays."""
    if all(map(operator.is_, old, new)):
        return value
    changed = copy.copy(value)
    for name, part in zip(names, new, strict=True):
        object.__setattr__(changed, name, part)
    return changed


def substitute(value: Any, lookup: Callable[[Ref[Any]], Any]) -> Any:
    """Return a copy of `value` with every ref replaced by a copy of what `lookup` gives.

    A pydantic model that held refs is validated with their values.
    """
    kind: Any = type(value)
    if kind in PLAIN:
        return value
    if kind is Ref:
        return substitute(lookup(value), lookup)
    if kind is list:
        return [substitute(v, lookup) for v in value]
    if kind is dict:
        return {k: substitute(v, lookup) for k, v in value.items()}
    if kind is tuple:
        return _same_or(value, [v if type(v) in PLAIN else substitute(v, lookup) for v in value])
    names = _frozen_fields(kind)
    if names is not None:
        old = [getattr(value, name) for name in names]
        new = [part if type(part) in PLAIN else substitute(part, lookup) for part in old]
        return _with_fields(value, names, old, new)
    parts = parts_of(value)
    if parts is None:
        return value
    changed = {key: substitute(part, lookup) for key, part in parts.items()}
    if hasattr(kind, "model_validate"):
        found: list[Ref[Any]] = []
        for part in parts.values():
            snapshot(part, found)
        if found:
            return kind.model_validate(changed, by_alias=False, by_name=True)
    return rebuilt(value, changed)

"""Calls: the refs of a run with their ids, and the checks made on them."""

from __future__ import annotations

import functools
import gc
import inspect
import threading
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

from motet.digest import encode
from motet.engine import Usage
from motet.errors import EdgeTypeError, ReplayMismatchError
from motet.model import Model
from motet.operations import FunctionOperation
from motet.outputs import describe, element_type, fits
from motet.prompts import Prompt, model_of
from motet.refs import PLAIN, UNEXPANDED, Branch, Ref

State: TypeAlias = Literal["waiting", "running", "finished", "failed", "cancelled"]


class Call:
    """A ref's instance in a run: its id, its place in the DAG, and what became of it.

    The id is the call's path: parent, branch, operation, digest of the inputs (a ref counts by
    its id), and a counter among equal ones.
    """

    __slots__ = (
        "awaiting",
        "below",
        "children",
        "cost",
        "dependents",
        "duration_s",
        "error",
        "height",
        "id",
        "is_bare",
        "is_needed",
        "is_noted",
        "number",
        "operation",
        "ordinal",
        "parent",
        "ref",
        "scope",
        "started_s",
        "state",
        "task",
        "unmet",
        "usage",
        "value",
    )

    def __init__(
        self, ref: Ref[Any], call_id: str, parent: Call | None, ordinal: int, number: int
    ) -> None:
        self.ref = ref
        # Here too since calls are gone through as they lie in memory, and their refs are not.
        self.operation = ref.operation
        self.scope = ref.scope
        self.below: tuple[Call, ...] | None = None
        """Calls that it waits for; None where nobody asked `Calls.below`."""
        self.is_bare = False
        """Whether the values of `below` are its arguments."""
        self.id = call_id
        self.parent = parent
        self.ordinal = ordinal
        self.number = number
        """Place among all calls of the run, in the order in which they became known."""
        self.state: State = "waiting"
        self.value: Any = None
        self.error: Any = None
        self.unmet = 0
        """Dependencies without a value."""
        self.dependents: list[Call] | None = None
        self.children: list[Call] | None = None
        """Calls that a running program has made."""
        self.awaiting: Any = None
        """Futures of those that await it."""
        self.height = 0
        """Calls on the longest path from here to the result."""
        self.is_needed = False
        self.is_noted = False
        """Whether its failure is in the journal."""
        self.task: Any = None
        self.started_s = 0.0
        """Monotonic; 0 where nobody asked."""
        self.duration_s: float | None = None
        self.usage: Usage | None = None
        self.cost = 0.0

    @property
    def slot(self) -> str:
        """Place among its parent's calls; its own id where it was made before, and has none."""
        if self.ordinal < 0:
            return self.id
        return f"{self.ref.branch.path}/{self.ordinal}"

    @property
    def is_done(self) -> bool:
        return self.state in ("finished", "failed", "cancelled")

    def __repr__(self) -> str:
        return f"<Call {self.operation.short_name} {self.id[:8]} {self.state}>"


class collecting_nothing:  # noqa: N801 - used as a function
    """Pause the garbage collector where everything that is made stays.

    With a million calls it takes as long as the work itself, and finds nothing.
    """

    __slots__ = ("_was_enabled",)

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *exc: object) -> None:
        if self._was_enabled:
            gc.enable()


class LargeGraph:
    """Keeps the garbage collector from going through the calls of a large graph while it runs.

    They all stay until the run ends, and going through a million of them takes seconds each time.
    The objects of the whole process are set aside meanwhile, hence only for graphs where it pays,
    and never where the application has set objects aside itself.
    """

    _MIN_CALLS = 200_000

    def __init__(self) -> None:
        self._is_frozen = False

    def set_aside(self, calls: int) -> None:
        if calls >= self._MIN_CALLS and gc.get_freeze_count() == 0:
            gc.freeze()
            self._is_frozen = True

    def give_back(self) -> None:
        if self._is_frozen:
            self._is_frozen = False
            gc.unfreeze()


class CallTable:
    """Calls by ref.

    A ref bears its place in the table of the run that named it first, so that finding its call
    takes no dict of millions, whose every look waits for the memory. Where a ref is part of
    several runs, the others keep it in `strays`.
    """

    __slots__ = ("claim", "listed", "strays")

    def __init__(self) -> None:
        self.claim: object = object()
        self.listed: list[Call] = []
        """All calls, in the order in which they were named."""
        self.strays: dict[Ref[Any], Call] = {}

    def add(self, ref: Ref[Any], call: Call) -> None:
        with _CLAIMING:
            is_free = ref.claim is None
            if is_free:
                ref.number = call.number
                ref.claim = self.claim
        if not is_free:
            self.strays[ref] = call
        self.listed.append(call)

    def __getitem__(self, ref: Ref[Any]) -> Call:
        return self.listed[ref.number] if ref.claim is self.claim else self.strays[ref]

    def get(self, ref: Ref[Any]) -> Call | None:
        return self.listed[ref.number] if ref.claim is self.claim else self.strays.get(ref)

    def __contains__(self, ref: Ref[Any]) -> bool:
        return ref.claim is self.claim or ref in self.strays

    def __len__(self) -> int:
        return len(self.listed)


_CLAIMING = threading.Lock()
"""Held while a ref is claimed: runs of several threads may share it."""


class Calls:
    """The calls of one run by ref, with their ids.

    `check` sees every ref just before it is named, and may refuse it; it is asked here since going
    through a million calls once more costs more than the check.
    """

    def __init__(
        self,
        default_model: Model | None = None,
        *,
        check: Callable[[Ref[Any]], None] | None = None,
    ) -> None:
        self._default_model = default_model
        self._check = check
        self.by_ref = CallTable()
        self._ids: set[str] = set()
        self._repeats: dict[str, int] = {}
        self._root_calls = 0
        self.is_running = False
        """Whether the root was named, so that others come as programs reach for them."""
        self.on_identified: Callable[[Call], None] | None = None

    def add(self, root: Ref[Any]) -> list[Call]:
        """Name `root` and all that it needs; return the new calls, inputs before users."""
        with collecting_nothing():
            return self._add(root)

    def _add(self, root: Ref[Any]) -> list[Call]:
        claim, strays = self.by_ref.claim, self.by_ref.strays
        new: list[Call] = []
        # None stands before a ref whose inputs were pushed above it, so that they have names now.
        stack: list[Ref[Any] | None] = [root]
        while stack:
            ref = stack.pop()
            if ref is None:
                ref = stack.pop()
                assert ref is not None
                if ref.claim is claim or ref in strays:
                    continue
            elif ref.claim is claim or ref in strays:
                continue
            else:
                missing = [r for r in ref.inputs if r.claim is not claim and r not in strays]
                parent = ref.branch.parent
                if type(parent) is Ref and parent not in self.by_ref:
                    missing.append(parent)
                if missing:
                    missing.reverse()
                    stack += (ref, None)
                    stack += missing
                    continue
            new.append(self._identify(ref))
            if ref.body is not UNEXPANDED:
                stack.extend(r for r in reversed(ref.dependencies) if r not in self.by_ref)
        return new

    def _identify(self, ref: Ref[Any]) -> Call:
        if self._check is not None:
            self._check(ref)
        branch = ref.branch
        parent = self._parent(branch)
        out: list[bytes] = [
            parent.id.encode() if parent is not None else b"",
            branch.path.encode(),
            b"\0",
            _operation_identity(ref.operation),
        ]
        if type(ref.operation) is Prompt and ref.operation.binding.model is None:
            model = model_of(ref.operation, ref.scope, self._default_model)
            out.append(b"\0" if model is None else model.identity.encode() + b"\0")
        for value in ref.arguments:
            encode(value, out, self._id_of)
        call_id = blake2b(b"".join(out), digest_size=16).hexdigest()
        if call_id in self._ids:
            again = self._repeats.get(call_id, 0) + 1
            self._repeats[call_id] = again
            call_id = blake2b(f"{call_id}+{again}".encode(), digest_size=16).hexdigest()
        number = len(self._ids)
        if branch.live is None and branch.parent is None:
            # Refs made outside that a running program reaches for come in any order.
            ordinal = -1 if self.is_running else self._root_calls
            self._root_calls += 1
        else:
            ordinal = ref.ordinal
        if ordinal == number:
            ordinal = number  # one object instead of two: there may be millions
        call = Call(ref, call_id, parent, ordinal, number)
        if ref.body is UNEXPANDED:
            inputs = ref.inputs
            call.below = tuple([self.by_ref[r] for r in inputs]) if inputs else ()
            call.is_bare = ref.arguments is inputs
        self.by_ref.add(ref, call)
        self._ids.add(call_id)
        if self.on_identified is not None:
            self.on_identified(call)
        return call

    def below(self, call: Call) -> tuple[Call, ...]:
        """Return the calls whose values `call` waits for."""
        if call.below is None:  # a static program, whose body was named after it
            call.below = tuple([self.by_ref[ref] for ref in call.ref.dependencies])
        return call.below

    def _parent(self, branch: Branch) -> Call | None:
        parent = branch.parent
        if parent is None:
            return None
        return self.by_ref[parent] if type(parent) is Ref else parent

    def _id_of(self, ref: Ref[Any]) -> str:
        call = self.by_ref.get(ref)
        if call is None:  # a function among the arguments closes over it
            self._add(ref)
            call = self.by_ref[ref]
        return call.id


def _operation_identity(operation: Any) -> bytes:
    found: bytes | None = operation.__dict__.get("_encoded_identity")
    if found is None:
        found = operation.identity.encode("utf-8", "surrogatepass") + b"\0"
        operation.__dict__["_encoded_identity"] = found
    return found


def set_heights(calls: Calls, new: Iterable[Call]) -> None:
    """Give every call of a fresh static graph its distance to the result, users first."""
    for call in new:
        above = call.height + 1
        for below in call.below if call.below is not None else calls.below(call):
            if below.height < above:  # noqa: PLR1730 - a hot loop, and max() is a call
                below.height = above


_GATHERED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def check_edges(ref: Ref[Any]) -> None:
    """Refuse an argument whose type cannot be what the parameter asks.

    Raises:
        EdgeTypeError: Names the parameter, both types, and the place of the call.
    """
    operation = ref.operation
    if not isinstance(operation, FunctionOperation) or not ref.inputs:
        return
    parameters = operation.parameters
    hints = parameters.hints
    for name, value in zip(parameters.names, ref.arguments, strict=True):
        if type(value) in PLAIN or name not in hints:
            continue
        if type(value) is Ref:
            _check_edge(ref, name, value, hints[name])
        elif parameters.signature.parameters[name].kind in _GATHERED:
            for part in value.values() if type(value) is dict else value:
                if type(part) is Ref:
                    _check_edge(ref, name, part, hints[name])
        elif type(value) in (list, tuple):
            expected = element_type(hints[name])
            for part in value:
                if type(part) is Ref:
                    _check_edge(ref, name, part, expected)


def _check_edge(ref: Ref[Any], name: str, given: Ref[Any], expected: Any) -> None:
    produced = given.output
    if not _fits(produced, expected):
        raise EdgeTypeError(
            f"{ref.operation.short_name} takes {name}: {describe(expected)}, but "
            f"{given.operation.short_name} (made at {given.place}) gives {describe(produced)}",
            place=ref.place,
        )


def _fits(produced: Any, expected: Any) -> bool:
    try:
        return _fits_cached(produced, expected)
    except TypeError:  # an unhashable annotation
        return fits(produced, expected)


@functools.lru_cache(maxsize=4096)
def _fits_cached(produced: Any, expected: Any) -> bool:
    return fits(produced, expected)


def check_slot(call: Call, journaled_id: str | None) -> None:
    """Refuse a call that stands where the journal holds another."""
    if journaled_id is not None and journaled_id != call.id:
        raise ReplayMismatchError(
            f"this run's journal holds another call where {call.ref.operation.short_name} is made "
            f"now (at {call.ref.place}): the program, its inputs or its models have changed since; "
            "undo the change to resume, or start a new run"
        )

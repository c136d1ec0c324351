"""Combinators: calls made of other calls. map, race, settled, successful, item."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from motet.errors import (
    ConfigError,
    StepError,
    TooFewSurvivorsError,
    UnboundInputError,
    describe_error,
    restore_error,
)
from motet.events import CallKind
from motet.operations import Operation, expanded, made
from motet.outputs import dump_value, element_type, load_value
from motet.refs import MAKE_ITEM, Ref, snapshot
from motet.types import Outcome

T = TypeVar("T")


class Map(Operation):
    """A call of one operation for every item of a list."""

    kind: ClassVar[CallKind] = "map"
    name = "motet:map"
    is_async = True
    is_derived = True

    def output_of(self, ref: Ref[Any]) -> Any:
        return _list_of(getattr(ref.arguments[0], "output", Any))

    async def grow(self, values: tuple[Any, ...]) -> Any:
        return self.calls(values)

    def calls(self, values: tuple[Any, ...]) -> Any:
        function, items, args, kwargs, at_least = values
        if isinstance(items, (str, bytes)) or not hasattr(items, "__iter__"):
            raise UnboundInputError(f"map takes a list of items, not {type(items).__name__}")
        refs = [function(item, *args, **kwargs) for item in items]
        for ref in refs:
            found: list[Ref[Any]] = []
            snapshot(ref, found)
            if not found:
                raise UnboundInputError(
                    f"map's function returned a {type(ref).__name__}, which holds no ref; "
                    "decorate it with @motet.step"
                )
        return refs if at_least is None else successful(refs, at_least=at_least)


class Race(Operation):
    """The first of several calls that gives a good value."""

    kind: ClassVar[CallKind] = "race"
    name = "motet:race"
    tolerates_failures = True

    def output_of(self, ref: Ref[Any]) -> Any:
        kinds = [member.output for member in ref.inputs]
        return kinds[0] if all(kind == kinds[0] for kind in kinds) else Any

    def dump(self, ref: Ref[Any], value: Any) -> bytes:
        index, winner = value
        written = dump_value(ref.inputs[index].output, winner).decode()
        return json.dumps([index, written]).encode()

    def load(self, ref: Ref[Any], data: bytes) -> Any:
        index, written = json.loads(data)
        return load_value(ref.inputs[index].output, written.encode())


class Settle(Operation):
    """The outcomes of several calls, failures included."""

    kind: ClassVar[CallKind] = "collect"
    tolerates_failures = True

    def __init__(self, *, only_successful: bool) -> None:
        self.only_successful = only_successful
        self.name = "motet:successful" if only_successful else "motet:settled"

    def output_of(self, ref: Ref[Any]) -> Any:
        if not self.only_successful:
            return list[Outcome[Any]]
        kinds = [m.output if isinstance(m, Ref) else Any for m in ref.arguments[0]]
        is_one = bool(kinds) and all(kind == kinds[0] for kind in kinds)
        return _list_of(kinds[0]) if is_one else list

    def value_of(self, ref: Ref[Any], outcomes: Sequence[Outcome[Any]]) -> Any:
        """Return the outcomes, or the values of those that succeeded.

        Raises:
            TooFewSurvivorsError: Fewer succeeded than `at_least`.
        """
        if not self.only_successful:
            return list(outcomes)
        _, at_least = ref.arguments
        failures = [o.error for o in outcomes if o.error is not None]
        values = [o.value for o in outcomes if o.is_success]
        if len(values) < at_least:
            first = failures[0] if failures else None
            raise TooFewSurvivorsError(
                f"{len(values)} of {len(outcomes)} calls succeeded; at_least is {at_least}"
                + (f"; the first failure: {type(first).__name__}: {first}" if first else ""),
                failures=failures,
            )
        return values

    def dump(self, ref: Ref[Any], value: Any) -> bytes:
        entries: list[Any] = []
        for member, outcome in zip(ref.arguments[0], value, strict=True):
            if outcome.error is not None:
                entries.append({"error": describe_error(outcome.error)})
            else:
                kind = member.output if isinstance(member, Ref) else Any
                entries.append({"value": dump_value(kind, outcome.value).decode()})
        return json.dumps(entries).encode()

    def load(self, ref: Ref[Any], data: bytes) -> Any:
        outcomes: list[Outcome[Any]] = []
        for member, entry in zip(ref.arguments[0], json.loads(data), strict=True):
            if "error" in entry:
                outcomes.append(Outcome(error=restore_error(entry["error"])))
            else:
                kind = member.output if isinstance(member, Ref) else Any
                outcomes.append(Outcome(load_value(kind, entry["value"].encode())))
        return self.value_of(ref, outcomes)


class Item(Operation):
    """One item, key or field of a value."""

    kind: ClassVar[CallKind] = "collect"
    name = "motet:item"
    is_derived = True

    def output_of(self, ref: Ref[Any]) -> Any:
        is_index = isinstance(ref.arguments[1], int)
        return element_type(ref.inputs[0].output) if is_index else Any

    def pick(self, value: Any, key: Any) -> Any:
        try:
            if isinstance(key, str) and not isinstance(value, dict):
                return getattr(value, key)
            return value[key]
        except (LookupError, TypeError, AttributeError) as exc:
            raise StepError(
                f"[{key!r}] of a {type(value).__name__}: {exc}", error_type=type(exc).__name__
            ) from exc


_MAP = Map()
_RACE = Race()
_SETTLED = Settle(only_successful=False)
_SUCCESSFUL = Settle(only_successful=True)
_ITEM = Item()
BUILT_IN: tuple[Operation, ...] = (_MAP, _RACE, _SETTLED, _SUCCESSFUL, _ITEM)


def map(  # noqa: A001 - the field's word; used as motet.map
    function: Callable[..., Any],
    items: Sequence[Any] | Ref[Any],
    *args: Any,
    at_least: int | None = None,
    **kwargs: Any,
) -> Ref[list[Any]]:
    """Call `function(item, *args, **kwargs)` for every item; the value is the list, in order.

    Args:
        function: An operation, or any function that returns a ref.
        items: A list, or a ref of one whose length is known only when it runs.
        at_least: Drop items whose call failed, as long as so many succeed; None: one failure
            fails all.
    """
    if not callable(function):
        raise UnboundInputError(f"map takes an operation, not {type(function).__name__}")
    if at_least is not None:
        _check_at_least(at_least)
    if isinstance(items, Iterator):
        items = list(items)
    frame = sys._getframe(1)
    ref: Ref[list[Any]] = Ref(
        _MAP, (function, items, args, kwargs, at_least), frame.f_code, frame.f_lineno
    )
    return made(ref if isinstance(items, Ref) else expanded(ref, _MAP.calls))


def race(*refs: Ref[T], accept: Callable[[T], bool] | None = None) -> Ref[T]:
    """Return the first good value; the other calls are aborted in the engine.

    Calls that something else waits for go on. Where no call gives a good value, the race fails
    with `TooFewSurvivorsError`.

    Args:
        refs: At least one call.
        accept: Says whether a value is good; None takes any call that succeeds.
    """
    if not refs or not all(isinstance(ref, Ref) for ref in refs):
        raise UnboundInputError("race takes refs, at least one: write race(a, b) or race(*refs)")
    frame = sys._getframe(1)
    return made(Ref(_RACE, (list(refs), accept), frame.f_code, frame.f_lineno))


def settled(refs: Sequence[Ref[T]]) -> Ref[list[Outcome[T]]]:
    """Return what became of every call, in order; a failure is an `Outcome`, not an error."""
    frame = sys._getframe(1)
    return made(Ref(_SETTLED, (_listed(refs), 0), frame.f_code, frame.f_lineno))


def successful(refs: Sequence[Ref[T]], *, at_least: int = 1) -> Ref[list[T]]:
    """Return the values of the calls that succeed, in order; failures are left out.

    Fails with `TooFewSurvivorsError` where fewer than `at_least` succeed.
    """
    _check_at_least(at_least)
    frame = sys._getframe(1)
    return made(Ref(_SUCCESSFUL, (_listed(refs), at_least), frame.f_code, frame.f_lineno))


def item(ref: Ref[Any], key: Any) -> Ref[Any]:
    """Return one item, key or field of a value; written `ref[key]`."""
    frame = sys._getframe(2)
    return made(Ref(_ITEM, (ref, key), frame.f_code, frame.f_lineno))


MAKE_ITEM.append(item)


def _listed(refs: Sequence[Any]) -> list[Any]:
    if isinstance(refs, Ref):
        raise UnboundInputError(
            "settled and successful take a list of refs; for a ref of a list use "
            "motet.map(..., at_least=...)",
            place=refs.place,
        )
    return list(refs)


def _check_at_least(at_least: int) -> None:
    if isinstance(at_least, bool) or not isinstance(at_least, int) or at_least < 0:
        raise ConfigError(f"at_least is {at_least!r}; it must be 0 or more")


def _list_of(kind: Any) -> Any:
    return list if kind is Any else types.GenericAlias(list, (kind,))

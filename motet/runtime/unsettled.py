"""Failures that may pass, and who went on from them: what a resume must, and must not, repeat."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from motet.calls import Call, Calls
from motet.combinators import Map
from motet.errors import StoreError
from motet.refs import UNEXPANDED, Ref
from motet.runtime.journal import Journal
from motet.types import Outcome


class Unsettled:
    """Keeps failures out of the journal until something that was paid for is built on them.

    A resume tries failed calls again. Once a call that came after a failure is journaled, though,
    the failure is part of the path to it, and is journaled before it.
    """

    def __init__(
        self, journal: Journal, calls: Calls, on_committed: Callable[[StoreError | None], None]
    ) -> None:
        self._journal = journal
        self._calls = calls
        self._on_committed = on_committed
        self._outcomes: dict[Call, list[Outcome[Any]]] = {}
        """Of settled and successful calls, where some failed for what may pass."""
        self._seen: dict[Call, deque[tuple[int, Call]]] = {}
        """What running programs have seen, with the number of calls that were known by then."""

    def keep(self, call: Call, outcomes: list[Outcome[Any]]) -> None:
        """Hold back outcomes that a resume may better."""
        self._outcomes[call] = outcomes

    def deliver(self, call: Call, program: Call) -> None:
        """Note that `program` has seen how `call` ended."""
        seen = [call] if call.state == "failed" else list(self._below(call))
        if seen:
            known = len(self._calls.by_ref)
            self._seen.setdefault(program, deque()).extend((known, found) for found in seen)

    def forget(self, program: Call) -> None:
        self._seen.pop(program, None)

    def write_before(self, call: Call) -> None:
        """Journal what `call`, which is about to be journaled, was built on."""
        if self._outcomes and not call.ref.operation.is_derived:
            for below in self._calls.below(call):
                for found in self._below(below):
                    self._write(found)
        if not self._seen:
            return
        self._write_seen(call, len(self._calls.by_ref))
        inner, program = call, _maker(call)
        while program is not None:
            self._write_seen(program, inner.number)
            inner, program = program, _maker(program)

    def _below(self, call: Call) -> Iterator[Call]:
        """Outcomes held back that the value of `call` follows from."""
        stack = [call] if self._outcomes else []
        while stack:
            below = stack.pop()
            if below in self._outcomes:
                yield below
            elif below.ref.operation.is_derived:
                stack.extend(self._calls.below(below))
                if isinstance(below.ref.operation, Map) and below.ref.body is UNEXPANDED:
                    stack.extend(below.children or ())

    def _write_seen(self, program: Call, number: int) -> None:
        """Journal what `program` had seen before it made its call `number`."""
        seen = self._seen.get(program)
        while seen and seen[0][0] <= number:
            self._write(seen.popleft()[1])

    def _write(self, call: Call) -> None:
        outcomes = self._outcomes.pop(call, None)
        if outcomes is not None:
            self._journal.write(call, outcomes, on_committed=self._on_committed)
        elif call.state == "failed" and not call.is_noted:
            call.is_noted = True
            self._journal.write(call, None, on_committed=self._on_committed, error=call.error)


def _maker(call: Call) -> Call | None:
    """The running program that made `call`, through static ones."""
    maker = call.ref.branch.parent
    while isinstance(maker, Ref):
        maker = maker.branch.parent
    return maker if isinstance(maker, Call) else None

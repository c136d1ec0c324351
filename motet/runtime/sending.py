"""Events of a run, on their way to its observers."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from motet.calls import Call
from motet.events import CallEvent, Event, Observer
from motet.refs import BRANCH, Branch

_log = logging.getLogger(__name__)
_OUTSIDE = Branch(None, None)


class EventSender:
    """Tells every observer; what an observer does, or fails to do, does not change the run."""

    def __init__(self, run_id: str, observers: Sequence[Observer]) -> None:
        self._run_id = run_id
        self._observers = tuple(observers)
        self.is_heard = bool(self._observers)
        """Whether anybody observes, so that making events is worth it."""

    def tell(self, event: type[CallEvent], call: Call, /, **fields: Any) -> None:
        """Send an event about `call`."""
        self.send(
            event(
                run_id=self._run_id,
                time_s=time.monotonic(),
                call_id=call.id,
                parent_id=call.parent.id if call.parent is not None else None,
                operation=call.ref.operation.name,
                **fields,
            )
        )

    def send(self, event: Event) -> None:
        token = BRANCH.set(_OUTSIDE)  # tasks that an observer starts are no branches
        try:
            for observer in self._observers:
                try:
                    observer.on_event(event)
                except Exception:
                    _log.exception("observer %r failed on %s", observer, type(event).__name__)
        finally:
            BRANCH.reset(token)

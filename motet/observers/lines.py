"""Events as JSON lines."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from motet.engine import Usage

if TYPE_CHECKING:
    from typing import TextIO

    from motet.events import Event

_log = logging.getLogger(__name__)


class JsonLines:
    """Writes every event as one JSON object on a line of its own, in ASCII, flushed.

    `event` is the name of its class; the other keys are its fields. Where the stream takes no more,
    that is told once, and the run goes on without.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_full = False

    def on_event(self, event: Event) -> None:
        if self._is_full:
            return
        shown: dict[str, Any] = {"event": type(event).__name__}
        for field in fields(event):
            value = getattr(event, field.name)
            shown[field.name] = asdict(value) if isinstance(value, Usage) else value
        try:
            self._stream.write(json.dumps(shown) + "\n")
            self._stream.flush()
        except OSError as exc:
            self._is_full = True
            _log.error("no more events are written: %s", exc)

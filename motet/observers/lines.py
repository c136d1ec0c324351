"""Events as JSON lines."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from motet.engine import Usage

if TYPE_CHECKING:
    from typing import TextIO

    from motet.events import Event


class JsonLines:
    """Writes every event as one JSON object on a line of its own, in ASCII, flushed.

    `event` is the name of its class; the other keys are its fields.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def on_event(self, event: Event) -> None:
        shown: dict[str, Any] = {"event": type(event).__name__}
        for field in fields(event):
            value = getattr(event, field.name)
            shown[field.name] = asdict(value) if isinstance(value, Usage) else value
        self._stream.write(json.dumps(shown) + "\n")
        self._stream.flush()

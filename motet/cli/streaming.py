"""Printing the last stage's text while it is generated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from motet.cli.terminal import encodable, escaped
from motet.events import EngineCalled, Event, TextStreamed
from motet.refs import Ref

if TYPE_CHECKING:
    from motet.graph import Graph


def final_prompt(graph: Graph) -> str | None:
    """Id of the prompt whose text is the program's value; None where no single one is."""
    ref: Any = graph.root
    nodes = {n.id: n for n in graph.nodes}
    node = nodes[graph.root_id]
    while isinstance(ref, Ref) and isinstance(ref.body, Ref):
        ref = ref.body
        node = nodes[node.inputs[0]]
    if node.kind != "prompt" or not isinstance(ref, Ref):
        return None
    return node.id if ref.operation.output is str else None


class StreamedText:
    """Writes the text of one call. After a retry it goes on where the same text was cut."""

    def __init__(
        self,
        call_id: str | None,
        *,
        is_raw: bool,
        stream: TextIO,
        before_first: Callable[[], None] | None = None,
    ) -> None:
        """Write to `stream`; call `before_first` when there is something to write at last."""
        self._before_first = before_first
        self._call_id = call_id
        self._is_escaped = stream.isatty() and not is_raw
        self._stream = stream
        self._attempt = ""
        """Text of the present attempt."""
        self.written = ""

    def on_event(self, event: Event) -> None:
        if isinstance(event, EngineCalled) and event.call_id == self._call_id:
            self._attempt = ""
        elif (
            isinstance(event, TextStreamed) and event.call_id == self._call_id and event.index == 0
        ):
            self._attempt += event.text
            self._catch_up()

    def _catch_up(self) -> None:
        if self.written.startswith(self._attempt):
            return
        if not self._attempt.startswith(self.written):
            self._write("\n")
            self.written = ""
        self._write(self._attempt[len(self.written) :])
        self.written = self._attempt

    def _write(self, text: str) -> None:
        if self._before_first is not None:
            self._before_first()
            self._before_first = None
        shown = escaped(text) if self._is_escaped else text
        self._stream.write(encodable(shown, self._stream))
        self._stream.flush()

    def finish(self, value: Any) -> bool:
        """End the text; say whether it is the value, whole."""
        if self.written:
            self._write("\n")
        return bool(self.written) and self.written == value

"""Server-sent events, parsed as the bytes arrive."""

from __future__ import annotations


class EventParser:
    """Cuts a byte stream into the data of its events.

    Chunks may end anywhere, inside a character or a line end too. An event that is not
    complete when the stream ends is no event: that is the standard's rule.
    """

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._data: list[bytes] = []
        self._is_first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that `chunk` completes."""
        pending = self._pending
        pending.append(chunk)
        if b"\n" not in chunk and b"\r" not in chunk and not pending[0].endswith(b"\r"):
            return []
        text = b"".join(pending)
        if self._is_first:
            self._is_first = False
            text = text.removeprefix(b"\xef\xbb\xbf")
        lines = text.splitlines(keepends=True)
        # A final \r may be the first half of \r\n, so it stays until more is known.
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        self._pending = [rest] if rest else []
        events = []
        for line in lines:
            field = line.rstrip(b"\r\n")
            if not field:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data = []
            elif field.startswith(b"data:"):
                self._data.append(field[5:].removeprefix(b" "))
            elif field == b"data":
                self._data.append(b"")
        return events

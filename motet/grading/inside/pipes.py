"""Messages over a pipe, each with its size before it."""

from __future__ import annotations

import os
from typing import Final

_MOST_BYTES: Final = 64 * 1024 * 1024


def send(fd: int, data: bytes) -> None:
    data = b"%016d" % len(data) + data
    while data:
        data = data[os.write(fd, data[:65_536]) :]


def receive(fd: int) -> bytes:
    """Read a message.

    Raises:
        EOFError: The other end is closed.
        ValueError: A size cannot be.
    """
    size = int(_exactly(fd, 16))
    if not 0 <= size <= _MOST_BYTES:
        raise ValueError(f"a message has {size} bytes")
    return _exactly(fd, size)


def _exactly(fd: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError("the other end is closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

"""Text that others wrote, made safe to show in a terminal."""

from __future__ import annotations

import re
from typing import Final

_UNSEEN = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROL: Final = re.compile(f"[{_UNSEEN}]")


def escaped(text: str) -> str:
    """Write control characters, direction marks and lone surrogates as escapes.

    Line ends and tabs stay. What comes out moves no cursor and sets no colour, title or clipboard.
    """
    return _CONTROL.sub(_escape, text)


def one_line(text: str, most: int = 200) -> str:
    """Return `text` on one line of `most` characters, safe to show."""
    line = escaped(" ".join(text[: most * 4].split()))
    return line if len(line) <= most else f"{line[: most - 3]}..."


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"

"""Hints for a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def hint(name: object, known: Iterable[str]) -> str:
    """Return the known name that is meant, or all there are, as the end of a message."""
    listed = list(known)
    close = difflib.get_close_matches(str(name), listed, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(listed) or 'none'}"

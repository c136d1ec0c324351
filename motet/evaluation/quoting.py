"""Texts that others wrote, as texts of a page."""

from __future__ import annotations

from html import escape
from typing import Final

from motet.observers.escaping import one_line

_MOST: Final = 300
"""Characters of a name that are shown."""


def safe(text: str, most: int = _MOST) -> str:
    """Return a text on one line, in which nothing is an element, a quote or a control character."""
    return escape(one_line(text, most))

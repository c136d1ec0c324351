"""Read replies of a model: what is empty or was cut off says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable

from motet.engine import Completion


def whole_replies(replies: Iterable[Completion]) -> list[str]:
    """Return the texts of the replies that came to their end and are not empty."""
    texts = (each.text.strip() for each in replies if each.finish_reason == "stop")
    return [text for text in texts if text]


def labelled(reply: Completion, label: str) -> list[str]:
    """Return what stands behind each `label:` that begins a line, up to the line's end; nothing of a
    reply that is no whole one.
    """
    line = re.compile(rf"^[ \t*_`]*{label}[*_`]*:[*_`]*[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)
    return [found.rstrip() for text in whole_replies([reply]) for found in line.findall(text)]


def tokens_of(reply: Completion, most: int) -> int:
    """Return the tokens of a reply; where the engine neither names nor counts them, the most there
    can be.
    """
    if reply.token_ids:
        return len(reply.token_ids)
    if reply.num_tokens is not None:
        return min(reply.num_tokens, most)
    return most if reply.text else 0

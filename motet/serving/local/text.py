"""Text of tokens that come one by one: whole characters only, cut before a stop text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_CONTEXT_TOKENS = 5
"""Prompt tokens that are decoded along, as some tokenizers drop a text's leading space."""


class Detokeniser:
    """Turn tokens into text; a character whose bytes are not all there waits."""

    def __init__(self, decode: Callable[[list[int]], str], prompt_ids: Sequence[int]) -> None:
        self._decode = decode
        self._ids = list(prompt_ids[-_CONTEXT_TOKENS:])
        """The tokens that the next piece of text may depend on."""
        self._read = len(self._ids)
        """How many of `_ids` are in text that was returned."""
        self._done = decode(self._ids)
        """The text of the first `_read` tokens."""

    def push(self, token: int) -> str:
        """Return the text that `token` completes; empty while a character lacks bytes."""
        self._ids.append(token)
        text = self._decode(self._ids)
        if text.endswith(_REPLACEMENT):
            return ""
        return self._take(text)

    def finish(self) -> str:
        """Return what is left; bytes that are no character become U+FFFD."""
        return self._take(self._decode(self._ids))

    def _take(self, text: str) -> str:
        if not text.startswith(self._done):
            # The prompt ended within a character, which is whole now.
            self._done = self._done.rstrip(_REPLACEMENT)
        piece = text[len(self._done) :]
        self._ids = self._ids[self._read :]
        self._read = len(self._ids)
        self._done = self._decode(self._ids)
        return piece


class StopScanner:
    """Pass text on until a stop text; hold back what may be the beginning of one.

    Of several stop texts the one that is complete first counts, and of those complete at the same
    character the longest. So the cut does not depend on how the text was divided into pieces.
    """

    def __init__(self, stops: Sequence[str], kept: Collection[str] = ()) -> None:
        self._stops = tuple(stops)
        self._kept = frozenset(kept)
        """Stop texts that are passed on themselves."""
        self._held = ""
        self.found: str | None = None
        """The stop text that ended the text."""

    def push(self, piece: str) -> str:
        """Return the text that is certain to come before a stop text, and the kept stop text."""
        if not self._stops:
            return piece
        if self.found is not None:
            return ""
        held = self._held + piece
        places = [(at + len(s), at, s) for s in self._stops if (at := held.find(s)) >= 0]
        if places:
            end, start, self.found = min(places)
            self._held = ""
            return held[: end if self.found in self._kept else start]
        keep = max(_overlap(held, stop) for stop in self._stops)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def finish(self) -> str:
        """Return what was held back, as no stop text can come any more."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that a proper beginning of `stop` is."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0


def mend_text(text: str) -> str:
    """Replace lone surrogates, which no tokenizer can encode, by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

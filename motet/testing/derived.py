"""Replies derived from their request: the same request always gets the same text."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.engine import TokenLogprob

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT = (
    "amber basil cedar delta ember fjord grove heron iris jade kelp lotus maple north olive pearl"
    " quartz raven sable tidal umber violet willow xenon yarrow zephyr acorn birch coral dune elm"
    " fern"
)
_WORDS = _TEXT.split()
_PIECE = re.compile(r"\S+\s*|\s+")


def derived_text(prompt: str, seed: int | None, index: int) -> str:
    """Return a few words that depend on all three arguments and on nothing else."""
    key = f"{seed}:{index}:{prompt}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(key, digest_size=12).digest()
    words = " ".join(_WORDS[byte % 32] for byte in digest[:7])
    return f"{words} {digest[7:].hex()}"


def derived_vector(text: str) -> tuple[float, ...]:
    """Return 8 numbers that depend on the text: texts that share words are alike."""
    total = [0.0] * 8
    for word in text.casefold().split():
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        total = [sum_ + byte - 127.5 for sum_, byte in zip(total, digest, strict=True)]
    return tuple(total)


def pieces(text: str) -> list[str]:
    """Cut `text` into what these doubles count as tokens: words with the space after them."""
    return _PIECE.findall(text)


@dataclass(frozen=True, slots=True)
class Ended:
    """A text after its stop texts and its length limit were applied."""

    pieces: tuple[str, ...]
    is_cut: bool
    stop_text: str | None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def end(text: str, max_tokens: int, stop: Sequence[str]) -> Ended:
    """End `text` at the first stop text, then after `max_tokens` pieces."""
    found = [(place, stop_text) for stop_text in stop if (place := text.find(stop_text)) >= 0]
    stop_text = None
    if found:
        place, stop_text = min(found)
        text = text[:place]
    cut = pieces(text)
    if len(cut) > max_tokens:
        return Ended(tuple(cut[:max_tokens]), True, None)
    return Ended(tuple(cut), False, stop_text)


def derived_logprobs(cut: Sequence[str], num_top: int) -> tuple[TokenLogprob, ...]:
    """Invent logprobs that depend on the pieces only; the chosen piece is the most likely."""
    return tuple(_derived_logprob(piece, num_top) for piece in cut)


def _derived_logprob(piece: str, num_top: int) -> TokenLogprob:
    digest = hashlib.blake2b(piece.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    probability = 0.5 + digest[0] / 512
    others = (
        (_WORDS[(digest[1] + rank) % 32], math.log((1 - probability) / 2 ** (rank + 1)))
        for rank in range(max(num_top - 1, 0))
    )
    top = ((piece, math.log(probability)), *others) if num_top else ()
    return TokenLogprob(piece, math.log(probability), top=top)

"""Potentials on what tokens say: conditions and weights on the text, not on its tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from motet.search.potentials import Array, Potential, Tokens

INCOMPLETE: Final = "\N{REPLACEMENT CHARACTER}"
"""What the text of a token holds whose bytes are a part of a character."""


@dataclass(frozen=True, slots=True)
class TextCondition:
    """Forbids the texts that a function refuses."""

    accepts: Callable[[str], bool]
    """Of a whole text."""
    allows: Callable[[str], bool] = lambda text: True
    """Of a text that goes on; once it is False it must stay so."""

    def over(self, spoken: Spoken) -> Potential:
        """Return the potential on tokens."""
        return _OnText(self._prefix, self._complete, spoken)

    def _prefix(self, text: str) -> float:
        return 0.0 if self.allows(text) else -math.inf

    def _complete(self, text: str) -> float:
        return 0.0 if self.allows(text) and self.accepts(text) else -math.inf


@dataclass(frozen=True, slots=True)
class TextWeight:
    """Weighs texts by a function, in nats."""

    weigh: Callable[[str], float]
    """Of a whole text; `-inf` forbids it."""
    guess: Callable[[str], float] = lambda text: 0.0
    """Of a text that goes on, the log of the mean weight of what it may become, as well as one
    knows; any guess is right that is `-inf` only where all that follows is forbidden."""

    def over(self, spoken: Spoken) -> Potential:
        """Return the potential on tokens."""
        return _OnText(self.guess, self.weigh, spoken)


TextPotential = TextCondition | TextWeight


class Spoken(Protocol):
    """The texts of tokens."""

    def so_far(self, tokens: Tokens) -> str:
        """Return the text of tokens that go on."""
        ...

    def behind(self, tokens: Tokens, more: Sequence[int]) -> list[str]:
        """Return the text of `tokens` with each one of `more`, as texts that go on."""
        ...

    def whole(self, tokens: Tokens) -> str:
        """Return the text of tokens that end here."""
        ...


@dataclass(slots=True)
class KnownTexts:
    """Texts put together from those of single tokens, and from whole ones that are known.

    The last token of a text that goes on adds nothing where it holds a part of a character, or no
    text; the text before it is then shown up to its last whole character. So the text of tokens
    that go on depends on nothing but them, once that of all but the last is known; and what was
    added stays.
    """

    pieces: dict[int, str] = field(default_factory=dict)
    """What each token adds."""
    exact: dict[Tokens, str] = field(default_factory=dict)

    def note(self, tokens: Tokens, text: str, pieces: Mapping[int, str]) -> None:
        """Remember the exact text of `tokens`, and texts of single ones."""
        self.exact[tokens] = text
        self.pieces |= pieces

    def so_far(self, tokens: Tokens) -> str:
        return self.behind(tokens[:-1], tokens[-1:])[0] if tokens else ""

    def behind(self, tokens: Tokens, more: Sequence[int]) -> list[str]:
        before = self._known(tokens)
        waiting = before.rstrip(INCOMPLETE)
        pieces = [self.pieces.get(token, "") for token in more]
        return [before + piece if _is_whole(piece) else waiting for piece in pieces]

    def whole(self, tokens: Tokens) -> str:
        text = self.exact.get(tokens)
        return self.so_far(tokens) if text is None else text

    def _known(self, tokens: Tokens) -> str:
        """Return the exact text of `tokens`, or of the most that are known and what is whole."""
        size = next((n for n in range(len(tokens), 0, -1) if tokens[:n] in self.exact), 0)
        text = self.exact[tokens[:size]] if size else ""
        later = [self.pieces.get(token, "") for token in tokens[size:]]
        return text + "".join(filter(_is_whole, later))

    def since(self, tokens: Tokens, start: int) -> str:
        """Return what tokens add that go on behind the first `start` of them."""
        return self.so_far(tokens).removeprefix(self.so_far(tokens[:start]))

    def added(self, tokens: Tokens, token: int, *, is_last: bool = False) -> str:
        """Return what a token adds to a text that goes on; the last one, what was still lacking."""
        before = self.so_far(tokens)
        after = self.whole(tokens) if is_last else self.behind(tokens, (token,))[0]
        return after.removeprefix(before)


def _is_whole(piece: str) -> bool:
    return piece != "" and INCOMPLETE not in piece


@dataclass(frozen=True, slots=True)
class _OnText(Potential):
    guess: Callable[[str], float]
    weigh: Callable[[str], float]
    spoken: Spoken

    async def prefix(self, texts: Sequence[Tokens]) -> list[float]:
        return [self.guess(self.spoken.so_far(text)) for text in texts]

    async def complete(self, texts: Sequence[Tokens]) -> list[float]:
        return [self.weigh(self.spoken.whole(text)) for text in texts]

    async def logw_some(
        self, texts: Sequence[Tokens], tokens: Sequence[Sequence[int]], end: int
    ) -> list[Array]:
        return [self._changes(*pair, end) for pair in zip(texts, tokens, strict=True)]

    def _changes(self, text: Tokens, tokens: Sequence[int], end: int) -> Array:
        import numpy as np

        before = self.guess(self.spoken.so_far(text))
        if before == -math.inf:
            return np.full(len(tokens), -np.inf)
        after = [self.guess(each) for each in self.spoken.behind(text, tokens)]
        changes = np.array(after, dtype=np.float64) - before
        for place, token in enumerate(tokens):
            if token == end:
                changes[place] = self.weigh(self.spoken.whole(text)) - before
        return changes

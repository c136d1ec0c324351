"""Score partial solutions by where they lead: a few greedy steps further, which are then dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from motet.errors import ConfigError
from motet.search.partials import Partial
from motet.search.settings import at_once, whole
from motet.search.tools import Ask, Tools


class Widths(Protocol):
    """The settings that searches over beams of steps share."""

    @property
    def n(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def max_steps(self) -> int: ...
    @property
    def lookahead(self) -> int: ...
    @property
    def max_tokens(self) -> int | None: ...


def check_widths(search: Widths) -> None:
    """Refuse settings that are no counts, or an `n` that does not part into `width`s.

    Raises:
        ConfigError: Names the setting and its value.
    """
    at_once("n", search.n)
    at_once("width", search.width)
    whole("max_steps", search.max_steps)
    whole("lookahead", search.lookahead, 0)
    if search.max_tokens is not None:
        whole("max_tokens", search.max_tokens)
    if search.n % search.width:
        raise ConfigError(f"n is {search.n}; it must be a multiple of width, {search.width}")


async def score_ahead(
    tools: Tools, partials: Sequence[Partial], num_steps: int, *, max_tokens: int | None = None
) -> list[float | None]:
    """Return the score of each partial solution after `num_steps` greedy steps more; 0 scores it
    as it is. One that ends before, that reaches `max_tokens` in all, that adds no text or that
    cannot be gone on with, is scored as far as it goes.
    """
    ahead = list(partials)
    open_ones = [i for i, each in enumerate(ahead) if not each.is_finished]
    for _ in range(num_steps):
        found = await tools.propose([_ask(ahead[i], max_tokens) for i in open_ones])
        for i, steps in zip(open_ones, found, strict=True):
            ahead[i] = ahead[i].then(steps[0]) if steps else ahead[i]
        open_ones = [
            i
            for i, steps in zip(open_ones, found, strict=True)
            if steps and steps[0].text and not ahead[i].is_finished
        ]
        if not open_ones:
            break
    return await tools.score(ahead)


def _ask(partial: Partial, max_tokens: int | None) -> Ask:
    left = None if max_tokens is None else max_tokens - partial.num_tokens
    return Ask(partial, temperature=0.0, max_tokens=left)

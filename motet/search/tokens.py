"""Tokens as searches over single tokens see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from pydantic import JsonValue

from motet.errors import SearchError
from motet.search.metering import Meter
from motet.search.partials import Partial, Step
from motet.search.tools import UNPAID, Lost, checked_number

_ROUNDING = 1e-6
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Token:
    """A token that may come next."""

    text: str
    logprob: float
    """In nats, of the whole vocabulary."""
    logit: float | None = None
    is_last: bool = False
    """Whether it ends the text; its own text is that of the ending, mostly none."""
    data: JsonValue = None
    """What the callables want to find again: its id, say."""

    def as_step(self) -> Step:
        return Step(
            self.text, is_last=self.is_last, num_tokens=1, prior=self.logprob, data=self.data
        )


TopTokens: TypeAlias = Callable[
    [Sequence[Partial], int],
    Awaitable[Sequence[Sequence[Token] | Lost]] | Sequence[Sequence[Token] | Lost],
]
"""Takes texts and k, returns for each the k most likely next tokens, at most, in any order."""


def checked_logprob(value: float, name: str) -> float:
    """Return `value` where it is a log probability.

    Raises:
        SearchError: It is no finite number, or above 0.
    """
    return min(checked_number(value, name, most=_ROUNDING), 0.0)


def checked_all(given: Any, kind: type[_T], name: str) -> list[_T]:
    """Return what the callable `name` gave for a member, as a list of `kind`.

    Raises:
        SearchError: It is something else.
    """
    if not isinstance(given, Sequence) or not all(isinstance(each, kind) for each in given):
        raise SearchError(f"{name} gave {given!r}; it must give a sequence of {kind.__name__}")
    return list(given)


def num_paid(found: Sequence[Any]) -> int:
    """Count the members that somebody paid for."""
    return sum(each is not UNPAID for each in found)


async def next_tokens(
    meter: Meter, call: TopTokens, partials: Sequence[Partial], k: int
) -> list[list[Token]] | None:
    """Return the likely next tokens of each text, most likely first, of equals by their text.

    A text whose sample failed has none. A token that is looked at costs a proposal and a token.

    Returns:
        None where the limits do not hold all of them.

    Raises:
        SearchError: The callable breaks its contract.
    """
    if meter.may_propose(len(partials)) < len(partials):
        return None
    found = await meter.call("top_tokens", lambda batch: call(batch, k), list(partials))
    results: list[list[Token]] = []
    for each in found:
        if meter.is_lost(each):
            results.append([])
            continue
        tokens = checked_all(each, Token, "top_tokens")
        if len(tokens) > k:
            raise SearchError(f"top_tokens gave {len(tokens)} tokens where {k} were asked for")
        for token in tokens:
            checked_logprob(token.logprob, "top_tokens")
        results.append(sorted(tokens, key=lambda token: (-token.logprob, token.text)))
    num = num_paid(found)
    meter.count(proposals=num, tokens=num)
    return results

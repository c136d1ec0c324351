"""Potentials: weights on texts of tokens, which steer what a model says."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from motet.errors import SearchError

Tokens: TypeAlias = tuple[int, ...]
"""Ids of tokens, without the one that ends a text."""
Array: TypeAlias = Any
"""A numpy array of float64 `[V]`, V being the number of tokens."""
NextLogprobs: TypeAlias = Callable[[Sequence[Tokens]], Awaitable[Sequence[Any]] | Sequence[Any]]
"""Takes a batch of texts; returns for each the logits `[V]` of the token that follows, or
`SomeTokens`."""


@dataclass(frozen=True, slots=True)
class SomeTokens:
    """Logits of the only tokens that may follow a text."""

    ids: Sequence[int]
    logits: Sequence[float]


@dataclass(frozen=True, slots=True)
class NextRow:
    """Log-probabilities of what follows a text."""

    logprobs: Array
    """`[K]`, of all tokens or of some."""
    ids: tuple[int, ...] | None = None
    """Of those some; None where all are there, by their ids."""

    def token(self, place: int) -> int:
        return place if self.ids is None else self.ids[place]

    def place(self, token: int) -> int | None:
        """Return where `token` stands; None where it cannot follow."""
        if self.ids is None:
            return token
        return self.ids.index(token) if token in self.ids else None

    def of(self, tokens: Sequence[int]) -> list[float]:
        """Return the log-probabilities of tokens; `-inf` of those that cannot follow."""
        places = map(self.place, tokens)
        return [-math.inf if p is None else float(self.logprobs[p]) for p in places]


class Potential(ABC):
    """A weight on texts, in nats; `-inf` forbids one. Multiplied by `*`.

    Where `prefix` is `-inf`, so are `prefix` and `complete` of all that goes on from there. Any
    other `prefix` is right: the closer it is to the log of the mean weight of what will follow, the
    better it steers. `motet.testing.check_potential` checks this.

    Source: the potentials of genlm-control.
    """

    @abstractmethod
    async def prefix(self, texts: Sequence[Tokens]) -> Sequence[float]:
        """Return the log weight of each text as one that goes on."""

    @abstractmethod
    async def complete(self, texts: Sequence[Tokens]) -> Sequence[float]:
        """Return the log weight of each text as one that ends here."""

    async def logw_next(self, texts: Sequence[Tokens], size: int, end: int) -> list[Array]:
        """Return for each text, `[size]`, how its log weight changes with each token behind it.

        At `end` stands what changes where the text ends. Behind a forbidden text all is `-inf`.
        This asks for every token's weight; a potential that knows better overrides it.
        """
        return await self.logw_some(texts, [range(size)] * len(texts), end)

    async def logw_some(
        self, texts: Sequence[Tokens], tokens: Sequence[Sequence[int]], end: int
    ) -> list[Array]:
        """Return what `logw_next` does, for some tokens behind each text, `[K]`."""
        import numpy as np

        pairs = list(zip(texts, tokens, strict=True))
        longer = [(*text, token) for text, some in pairs for token in some if token != end]
        now, ended, then = (
            await self.prefix(texts),
            await self.complete(texts),
            iter(await self.prefix(longer)),
        )
        found = []
        for before, last, some in zip(now, ended, tokens, strict=True):
            after = [last if token == end else next(then) for token in some]
            is_dead = before == -math.inf
            found.append(np.full(len(some), -np.inf) if is_dead else np.array(after) - before)
        return found

    def __mul__(self, other: Potential) -> Potential:
        return Product((*_factors(self), *_factors(other)))


@dataclass(frozen=True, slots=True)
class Product(Potential):
    """The product of potentials: their log weights add up."""

    factors: tuple[Potential, ...]

    async def prefix(self, texts: Sequence[Tokens]) -> list[float]:
        return _added([await each.prefix(texts) for each in self.factors])

    async def complete(self, texts: Sequence[Tokens]) -> list[float]:
        return _added([await each.complete(texts) for each in self.factors])

    async def logw_next(self, texts: Sequence[Tokens], size: int, end: int) -> list[Array]:
        return _summed([await each.logw_next(texts, size, end) for each in self.factors])

    async def logw_some(
        self, texts: Sequence[Tokens], tokens: Sequence[Sequence[int]], end: int
    ) -> list[Array]:
        return _summed([await each.logw_some(texts, tokens, end) for each in self.factors])


@dataclass(frozen=True, slots=True)
class Condition(Potential):
    """Forbids the texts for which a condition does not hold."""

    holds: Callable[[Tokens], bool]
    """Of a whole text."""
    can_hold: Callable[[Tokens], bool] = lambda tokens: True
    """Of a text that goes on; once it is False it stays so."""

    async def prefix(self, texts: Sequence[Tokens]) -> list[float]:
        return [0.0 if self.can_hold(text) else -math.inf for text in texts]

    async def complete(self, texts: Sequence[Tokens]) -> list[float]:
        return [0.0 if self.can_hold(t) and self.holds(t) else -math.inf for t in texts]


@dataclass(frozen=True, slots=True)
class Twist(Potential):
    """A guess of what follows: steers on the way, and is taken back where a text ends."""

    guess: Callable[[Sequence[Tokens]], Awaitable[Sequence[float]] | Sequence[float]]
    """Takes a batch; returns log weights above `-inf`."""

    async def prefix(self, texts: Sequence[Tokens]) -> list[float]:
        found = self.guess(texts)
        return list(await found if inspect.isawaitable(found) else found)

    async def complete(self, texts: Sequence[Tokens]) -> list[float]:
        return [0.0] * len(texts)


@dataclass(frozen=True, slots=True)
class ModelPotential(Potential):
    """The probability of a text under another model or another prompt."""

    next_logprobs: NextLogprobs
    end: int

    async def prefix(self, texts: Sequence[Tokens]) -> list[float]:
        return await self._summed([(text, text) for text in texts])

    async def complete(self, texts: Sequence[Tokens]) -> list[float]:
        return await self._summed([(text, (*text, self.end)) for text in texts])

    async def logw_next(self, texts: Sequence[Tokens], size: int, end: int) -> list[Array]:
        rows = await self._rows(texts)
        if all(row.ids is None for row in rows):
            return [row.logprobs for row in rows]
        return _arrays([row.of(range(size)) for row in rows])

    async def logw_some(
        self, texts: Sequence[Tokens], tokens: Sequence[Sequence[int]], end: int
    ) -> list[Array]:
        rows = await self._rows(texts)
        return _arrays([row.of(some) for row, some in zip(rows, tokens, strict=True)])

    async def _rows(self, texts: Sequence[Tokens]) -> list[NextRow]:
        found = self.next_logprobs(texts) if texts else []
        return [as_row(row) for row in (await found if inspect.isawaitable(found) else found)]

    async def _summed(self, texts: Sequence[tuple[Tokens, Tokens]]) -> list[float]:
        """Return the log-probability of each second one, which may have the end behind it."""
        needed = list({said[:n]: None for _, said in texts for n in range(len(said))})
        rows = await self._rows(needed)
        by_text = dict(zip(needed, rows, strict=True))
        return [
            sum(by_text[said[:n]].of([token])[0] for n, token in enumerate(said))
            for _, said in texts
        ]


def as_row(given: Any) -> NextRow:
    """Return what a model gave for one text as log-probabilities.

    Raises:
        SearchError: They are malformed.
    """
    if not isinstance(given, SomeTokens):
        return NextRow(normalised_row(given))
    ids = tuple(given.ids)
    if len(set(ids)) != len(ids) or len(given.logits) != len(ids):
        raise SearchError(
            f"next_logprobs gave {len(given.logits)} logits for {len(ids)} tokens, "
            f"{len(set(ids))} of them different"
        )
    return NextRow(normalised_row(given.logits), ids)


def normalised_row(row: Any) -> Array:
    """Return logits `[V]` as log-probabilities.

    Raises:
        SearchError: There is a NaN or inf among them, or nothing may follow.
    """
    import numpy as np

    try:
        given = np.asarray(row)
        if given.dtype.kind not in "fiubO":
            raise SearchError(f"next_logprobs gave a row of {given.dtype}; it must be numbers")
        logits = given.astype(np.float64)
    except (TypeError, ValueError) as exc:
        raise SearchError(f"next_logprobs gave a row of no numbers: {exc}") from exc
    top = logits.max() if logits.ndim == 1 and logits.size else math.nan
    if not math.isfinite(top):
        raise SearchError("next_logprobs gave a row with NaN, inf, or nothing that may follow")
    return logits - top - np.log(np.exp(logits - top).sum())


def _factors(potential: Potential) -> tuple[Potential, ...]:
    return potential.factors if isinstance(potential, Product) else (potential,)


def _summed(rows: Sequence[Sequence[Array]]) -> list[Array]:
    return [sum(changes[1:], changes[0]) for changes in zip(*rows, strict=True)]


def _arrays(rows: Sequence[Sequence[float]]) -> list[Array]:
    import numpy as np

    return [np.array(row, dtype=np.float64) for row in rows]


def _added(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(each) for each in zip(*rows, strict=True)]

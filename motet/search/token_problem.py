"""A problem of single tokens: what may follow, what weighs how much; checked, counted, in batches."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from motet.errors import MotetError, SearchError
from motet.search.metering import Meter
from motet.search.potentials import Array, NextLogprobs, NextRow, Potential, Tokens, as_row
from motet.search.settings import one_of
from motet.search.spending import NO_LIMITS, NOTHING, Limits, Spend
from motet.search.tools import checked_number

_CACHED: Final = 256
CriticAt = Literal["end", "token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenProblem:
    """A model's next tokens, and the weights of texts. The texts drawn are the model's, weighed."""

    next_logprobs: NextLogprobs
    end: int
    """The token that ends a text."""
    decode: Callable[[Tokens], str]
    potential: Potential | None = None
    """May choose the tokens."""
    critic: Potential | None = None
    """Weighs texts as well, but only what was drawn: one that is too costly for every token."""
    critic_at: CriticAt = "token"
    """`end`: it is asked of whole texts alone."""

    def __post_init__(self) -> None:
        one_of("critic_at", self.critic_at, ("end", "token"))

    def tools(self, limits: Limits, spend: Spend) -> TokenTools:
        """Return the callables as a search sees them."""
        return TokenTools(self, limits, spend)


class TokenTools(Meter):
    """A problem's callables while a search runs; they keep its limits.

    A text whose next tokens are asked for is a proposal and a token; one that is weighed by a
    potential is a score. A batch that the limits do not hold is not asked for at all.
    """

    def __init__(
        self, problem: TokenProblem, limits: Limits = NO_LIMITS, spend: Spend = NOTHING
    ) -> None:
        super().__init__(limits, spend, step_tokens=1)
        self.problem = problem
        self._known: OrderedDict[Tokens, NextRow] = OrderedDict()
        self._size: int | None = None

    async def next_logprobs(self, texts: Sequence[Tokens]) -> dict[Tokens, NextRow] | None:
        """Return log-probabilities of what follows each text, without those that failed.

        What is still known is not asked for again. None where a limit is reached.

        Raises:
            SearchError: The model breaks its contract, or failed for all.
        """
        unique = list(dict.fromkeys(texts))
        found = {text: self._known[text] for text in unique if text in self._known}
        asked = [text for text in unique if text not in found]
        if self.may_propose(len(asked)) < len(asked):
            return None
        if asked:
            given = await self.call("next_logprobs", self.problem.next_logprobs, asked)
            rows = {t: row for t, row in zip(asked, given, strict=True) if not self.is_lost(row)}
            if self.is_spent:
                return None
            self.count(proposals=len(asked), tokens=len(rows))
            for text, row in rows.items():
                found[text] = self._kept(text, as_row(row))
            if not found:
                raise SearchError(f"next_logprobs failed for all of {len(asked)} texts")
        return found

    def _kept(self, text: Tokens, row: NextRow) -> NextRow:
        if row.ids is None:
            size = len(row.logprobs)
            self._size = self._size or size
            if size != self._size or not 0 <= self.problem.end < size:
                raise SearchError(
                    f"next_logprobs gave {size} logits; there are {self._size} tokens, "
                    f"and the one that ends a text is {self.problem.end}"
                )
        self._known[text] = row
        if len(self._known) > _CACHED:
            self._known.popitem(last=False)
        return row

    async def logw_next(self, rows: Mapping[Tokens, NextRow]) -> dict[Tokens, Array] | None:
        """Return how the potential changes with each token of each row, `[K]`.

        None where a limit is reached.

        Raises:
            SearchError: The potential breaks its contract.
        """
        import numpy as np

        potential, end = self.problem.potential, self.problem.end
        unique = list(rows)
        if potential is None:
            return dict.fromkeys(unique, 0.0)
        if self.may_score(len(unique)) < len(unique):
            return None

        async def call(batch: Sequence[Tokens]) -> Sequence[Array]:
            some = [rows[text].ids for text in batch]
            if not any(some) and self._size is not None:
                return await potential.logw_next(batch, self._size, end)
            tokens = [range(self._size or 0) if ids is None else ids for ids in some]
            return await potential.logw_some(batch, tokens, end)

        found = await self.call("logw_next", call, unique)
        if self._is_any_lost(found):
            return None
        self.count(scores=len(unique))
        try:
            changes = {
                text: np.asarray(row).astype(np.float64, casting="same_kind")
                for text, row in zip(unique, found, strict=True)
            }
        except (TypeError, ValueError) as exc:
            raise SearchError(f"logw_next gave what are no numbers: {exc}") from exc
        for text, row in changes.items():
            if row.shape != rows[text].logprobs.shape or not (row < math.inf).all():
                raise SearchError("logw_next gave NaN, inf, or not one number for each token")
        return changes

    def decoded(self, tokens: Tokens) -> str:
        """Return the text of tokens.

        Raises:
            SearchError: It cannot be told.
        """
        try:
            text = self.problem.decode(tokens)
        except MotetError:
            raise
        except Exception as exc:
            raise SearchError(f"decode failed: {type(exc).__name__}: {exc}") from exc
        if not isinstance(text, str):
            raise SearchError(f"decode gave {text!r}; it must give a text")
        return text

    def _is_any_lost(self, found: Sequence[object]) -> bool:
        """Say whether a limit was reached on the way.

        Raises:
            SearchError: The potential failed at a text, without which no weight is right.
        """
        lost = [each for each in found if self.is_lost(each)]
        if lost and not self.is_spent:
            raise SearchError(f"a potential failed at {len(lost)} of {len(found)} texts")
        return bool(lost)

    async def weigh(
        self, potential: Potential, texts: Sequence[Tokens], *, are_complete: bool
    ) -> list[float] | None:
        """Return the log weights of texts; None where a limit is reached.

        Raises:
            SearchError: The potential breaks its contract.
        """
        unique = list(dict.fromkeys(texts))
        if self.may_score(len(unique)) < len(unique):
            return None
        call = potential.complete if are_complete else potential.prefix
        found = await self.call("a potential", call, unique)
        if self._is_any_lost(found):
            return None
        self.count(scores=len(unique))
        weights = [_log_weight(value) for value in found]
        by_text = dict(zip(unique, weights, strict=True))
        return [by_text[text] for text in texts]


def _log_weight(value: Any) -> float:
    """Return what a potential gave for a text.

    Raises:
        SearchError: It is no number, NaN or inf.
    """
    if value == -math.inf:
        return -math.inf
    try:
        return checked_number(value, "a potential")
    except SearchError as exc:
        raise SearchError(f"a potential gave the log weight {value!r}") from exc

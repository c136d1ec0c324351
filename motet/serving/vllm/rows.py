"""Requests with rules, as rows of an engine's batch; the same for both model runners."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from motet.serving.decoding import wire
from motet.serving.decoding.constraints import ConstraintCompiler
from motet.serving.decoding.lengths import LengthMask
from motet.serving.decoding.trie import TokenTrie, TrieMask
from motet.serving.decoding.wire import Orders


class Mask(Protocol):
    """A rule that forbids tokens, and where one completion stands in it."""

    def advance(self, tokens: Sequence[int]) -> None: ...

    def mask(self, logits: Any) -> None: ...


@dataclass(slots=True)
class Row:
    """One request with rules, and what it has to remember between steps."""

    orders: Orders
    eos_ids: tuple[int, ...]
    masks: list[Mask] = field(default_factory=list)
    weighed: Mask | None = None
    """Mask of the weighted rule; None where there is none, or its weight is lost."""
    num_advanced: int = 0
    """Tokens that the masks have gone on by, the `base` ones among them."""
    weights: list[float] = field(default_factory=list)
    """Log weight of each token that this request has chosen, by place."""
    ending: list[int] = field(default_factory=list)
    """Tokens of a weighted completion's end that are still to be written, the last first."""
    ending_from: int = 0
    """How many tokens there were when `ending` began."""
    choice: tuple[int, int] = (-1, -1)
    """Place and token of the last choice made here; vLLM may know the token a step later."""
    failure: str = ""
    """Why the rules cannot be carried out; then every step ends the request."""

    @property
    def needs_tokens(self) -> bool:
        """Whether the next step depends on which tokens there are, not only on how many."""
        return bool(self.masks) or self.weighed is not None


@dataclass(frozen=True, slots=True)
class Present:
    """A row in this step."""

    index: int
    """Its place in the batch's logits."""
    row: Row
    num_generated: int
    """Tokens that this request has generated."""
    tail: Callable[[int], Sequence[int]]
    """Returns the tokens from a place on, `base` ones first; -1 where one is not known yet."""

    @property
    def position(self) -> int:
        """Place of the next token among all that were generated, by earlier requests too."""
        return self.row.orders.base + self.num_generated


class RowMaker:
    """Makes rows of texts that `wire.write` wrote; what takes long is kept for the next row."""

    def __init__(self, eos_ids: frozenset[int], compiler: ConstraintCompiler) -> None:
        self._eos_ids = eos_ids
        self._compiler = compiler
        self._read = lru_cache(maxsize=64)(wire.read)
        self._trie = lru_cache(maxsize=64)(lambda text: TokenTrie(json.loads(text)))

    def make(self, text: Any, eos_ids: frozenset[int] = frozenset()) -> Row:
        """Return the row of a request that begins; one that cannot be carried out says why.

        Args:
            text: What stands in the request's field.
            eos_ids: The request's own ends of turn, if it has any.
        """
        try:
            orders = self._read(text)
        except Exception as exc:
            return Row(wire.Orders(), tuple(sorted(self._eos_ids)), failure=str(exc))
        row = Row(orders, tuple(sorted((eos_ids | self._eos_ids) - {orders.sync})))
        try:
            row.masks = [self._mask(rule, row) for rule in orders.rules if rule["rule"] != "dola"]
            if orders.weighted is not None:
                row.weighed = self._mask(orders.weighted, row)
        except Exception as exc:
            row.failure = f"{type(exc).__name__}: {exc}"
        return row

    def _mask(self, rule: Mapping[str, Any], row: Row) -> Mask:
        if rule["rule"] == "length":
            return LengthMask(rule.get("min_tokens"), rule.get("max_tokens"), row.eos_ids)
        if rule["rule"] == "constraint":
            return self._compiler.mask(rule)
        return TrieMask(self._trie(json.dumps(rule["members"])), row.eos_ids)

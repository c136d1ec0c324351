"""The rules of a completion that leave tokens out. V is the size of the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch

from motet.serving.decoding.constraints import GrammarMask
from motet.serving.decoding.lengths import LengthMask
from motet.serving.decoding.trie import TokenTrie, TrieMask
from motet.serving.decoding.weights import log_weight
from motet.serving.local.constraint import Grammar


class TokenMask(Protocol):
    """Where one completion stands in one rule."""

    def advance(self, tokens: Sequence[int]) -> None:
        """Go on by generated tokens."""
        ...

    def mask(self, logits: Any) -> None:
        """Set to -inf what may not come next in `logits`, float `[V]`."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """A mask of one completion."""

    mask: TokenMask
    is_complete: Callable[[], bool]
    """Says whether nothing may follow but the end of turn, which then need not be chosen."""
    is_weighted: bool = False


MakeMask: TypeAlias = Callable[[], Held]


def make_trie(trie: TokenTrie, eos_ids: frozenset[int], *, is_weighted: bool = False) -> Held:
    """Hold a trie; it is complete at a member that begins no other."""
    mask = TrieMask(trie, eos_ids)
    return Held(mask, lambda: eos_ids.issuperset(mask.allowed()), is_weighted)


def make_length(low: int | None, high: int | None, eos_ids: frozenset[int]) -> Held:
    """Hold bounds of the length; the end of turn is chosen at the upper one."""
    return Held(LengthMask(low, high, eos_ids), lambda: False)


def make_grammar(grammar: Grammar, *, is_weighted: bool = False) -> Held:
    """Hold a compiled constraint."""
    matcher = grammar.matcher()
    return Held(GrammarMask(matcher), lambda: matcher.is_complete, is_weighted)


class MaskStack:
    """The masks of one completion; all hold."""

    def __init__(self, held: Iterable[Held] = ()) -> None:
        self._held = tuple(held)
        self.log_weight = 0.0 if any(each.is_weighted for each in self._held) else None
        """Log of the weight so far, in nats; None where no rule is weighted."""

    def __len__(self) -> int:
        return len(self._held)

    def apply(self, logits: Any, temperature: float) -> Any:
        """Return `logits` `[V]` with -inf for what is not allowed, and count the weight.

        A token's weight is the probability of what the weighted masks allow among what the plain
        ones allow, by the logits over `temperature`; at 0 by the logits as they are.
        """
        plain = logits.clone()
        for each in self._held:
            if not each.is_weighted:
                each.mask.mask(plain)
        if self.log_weight is None:
            return plain
        kept = plain.clone()
        for each in self._held:
            if each.is_weighted:
                each.mask.mask(kept)
        if bool((kept > float("-inf")).any()):
            self.log_weight += log_weight(plain, kept, temperature)
        return kept

    def advance(self, token: int) -> None:
        """Go on by `token`.

        Raises:
            RequestRejectedError: A constraint became too complex to go on.
        """
        for each in self._held:
            each.mask.advance((token,))

    def is_complete(self, eos_ids: Iterable[int], vocab_size: int) -> bool:
        """Say whether the completion ends here without its end of turn being chosen.

        With a weighted rule it is chosen, as its probability counts.
        """
        if self.log_weight is not None or not any(each.is_complete() for each in self._held):
            return False
        left = torch.zeros(vocab_size)
        for each in self._held:
            if not each.is_complete():
                each.mask.mask(left)
        return bool((left[list(eos_ids)] > float("-inf")).any())

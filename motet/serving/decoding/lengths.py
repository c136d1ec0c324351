"""Bounds of a completion's length, as a mask over the vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class LengthMask:
    """No end of turn before `min_tokens`, and nothing else at `max_tokens`."""

    def __init__(
        self, min_tokens: int | None, max_tokens: int | None, eos_ids: Iterable[int]
    ) -> None:
        """Count from 0; the end of turn is one of `eos_ids` and does not count itself."""
        self._min_tokens = min_tokens or 0
        self._max_tokens = max_tokens
        self._eos_ids = sorted(eos_ids)
        self._num_tokens = 0

    def advance(self, tokens: Sequence[int]) -> None:
        """Go on by generated tokens."""
        self._num_tokens += len(tokens)

    def mask(self, logits: Any) -> None:
        """Set to -inf what may not come next in `logits`, float `[V]`."""
        eos_ids = [token for token in self._eos_ids if token < logits.shape[0]]
        if self._max_tokens is not None and self._num_tokens >= self._max_tokens:
            kept = logits[eos_ids]
            logits.fill_(float("-inf"))
            logits[eos_ids] = kept
        elif self._num_tokens < self._min_tokens:
            logits[eos_ids] = float("-inf")

"""Keys and values of prefixes that rows have left, kept for the next that begin alike."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motet.serving.local.kv import RowBuffer

BLOCK_TOKENS = 16
"""Tokens of a block, the unit that is kept and dropped."""


class PrefixCache:
    """Blocks by the hash of a salt and all tokens up to their end; the least recently used go first.

    Tokens of one salt never match those of another.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._blocks: OrderedDict[bytes, Any] = OrderedDict()
        """float `[L, 2, BLOCK_TOKENS, H, D]` each."""
        self.num_bytes = 0

    def match(self, tokens: Sequence[int], salt: str = "") -> int:
        """Return how many of the first `tokens` are kept; a multiple of `BLOCK_TOKENS`."""
        count = 0
        for key in _keys(tokens, salt):
            if key not in self._blocks:
                break
            count += BLOCK_TOKENS
        return count

    def load(
        self, tokens: Sequence[int], num_tokens: int, buffer: RowBuffer, row: int, salt: str = ""
    ) -> None:
        """Write the first `num_tokens` of `tokens` into `row`; `match` has found them."""
        found = list(_keys(tokens[: -(-num_tokens // BLOCK_TOKENS) * BLOCK_TOKENS], salt))
        for i, key in enumerate(found):
            start = i * BLOCK_TOKENS
            stop = min(start + BLOCK_TOKENS, num_tokens)
            buffer.data[:, :, row, start:stop] = self._blocks[key][:, :, : stop - start]
        self._touch(found)

    def store(self, tokens: Sequence[int], buffer: RowBuffer, row: int, salt: str = "") -> None:
        """Keep the whole blocks of `tokens`, which `row` holds from its beginning."""
        found = list(_keys(tokens, salt))
        for i, key in enumerate(found):
            if key not in self._blocks:
                start = i * BLOCK_TOKENS
                block = buffer.data[:, :, row, start : start + BLOCK_TOKENS].clone()
                self._blocks[key] = block
                self.num_bytes += block.numel() * block.element_size()
        self._touch(found)
        while self.num_bytes > self._max_bytes:
            _, block = self._blocks.popitem(last=False)
            self.num_bytes -= block.numel() * block.element_size()

    def _touch(self, keys: Sequence[bytes]) -> None:
        """Mark as used, the first blocks last: a block is no use without those before it."""
        for key in reversed(keys):
            self._blocks.move_to_end(key)


def _keys(tokens: Sequence[int], salt: str) -> Iterator[bytes]:
    key = hashlib.blake2b(salt.encode(), digest_size=16).digest() if salt else b""
    for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
        block = array("q", tokens[start : start + BLOCK_TOKENS]).tobytes()
        key = hashlib.blake2b(key + block, digest_size=16).digest()
        yield key


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many tokens two sequences of the same type have in common from the beginning."""
    low, high = 0, min(len(left), len(right))
    if left[:high] == right[:high]:
        return high
    while low < high - 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low

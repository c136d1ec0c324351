"""Keys and values of the running rows, in one buffer that rows join and leave."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch


class RowBuffer:
    """Keys and values of R rows, packed at the front of a buffer of larger capacity.

    L is the number of layers, C the rows and T the tokens there is room for, H the number of
    key-value heads and D their width. Row r holds its token at position p in slot p, so nothing
    is padded on the left and a row's keys never move while it runs.
    """

    def __init__(
        self, *, num_layers: int, num_heads: int, head_width: int, dtype: Any, max_slots: int
    ) -> None:
        self._shape = (num_layers, 2, 0, 0, num_heads, head_width)
        self._dtype = dtype
        self.max_slots = max_slots
        self.num_rows = 0
        self._allocate(0, 0)

    @property
    def token_bytes(self) -> int:
        """Bytes of the keys and values of one token in all layers."""
        layers, two, _, _, heads, width = self._shape
        return layers * two * heads * width * int(self._dtype.itemsize)

    @property
    def slot_width(self) -> int:
        """T, the tokens that a row has room for."""
        return self._shape[3]

    def fits(self, num_rows: int, num_tokens: int) -> bool:
        """Say whether `num_rows` rows of up to `num_tokens` tokens stay within the limit."""
        return num_rows * num_tokens <= self.max_slots

    def join(self, num_tokens: int, used: int) -> int:
        """Add a row with room for `num_tokens` tokens and return its index.

        Args:
            num_tokens: Most tokens that the row will ever hold.
            used: The longest of the present rows, in tokens; what growing has to copy.
        """
        rows, width = self._shape[2], self._shape[3]
        if self.num_rows == rows or num_tokens > width:
            self._grow(self.num_rows + 1, max(num_tokens, width), used)
        self.num_rows += 1
        return self.num_rows - 1

    def leave(self, row: int, last_used: int) -> None:
        """Remove `row`; the last row, `last_used` tokens long, takes its index."""
        self.num_rows -= 1
        if row != self.num_rows:
            self.copy(self.num_rows, row, last_used)

    def copy(self, source: int, target: int, num_tokens: int) -> None:
        """Copy the first `num_tokens` tokens of row `source` into row `target`."""
        self.data[:, :, target, :num_tokens] = self.data[:, :, source, :num_tokens]

    def clear(self) -> None:
        """Drop all rows and give the memory back."""
        self.num_rows = 0
        self._allocate(0, 0)

    def _grow(self, rows: int, width: int, used: int) -> None:
        room = max(rows, 2 * self._shape[2]) if rows > self._shape[2] else self._shape[2]
        old, kept = self.data, self.num_rows
        self._allocate(room if self.fits(room, width) else rows, width)
        self.data[:, :, :kept, :used] = old[:, :, :kept, :used]

    def _allocate(self, rows: int, width: int) -> None:
        layers, two, _, _, heads, head_width = self._shape
        shape = (layers, two, rows, width, heads, head_width)
        # Attention reads slots that no row has written, with weight 0, so they must be finite.
        # numpy's zeros come from the system untouched: memory is spent only where a row writes.
        count = math.prod(shape)
        zeros: Any = np.zeros(max(count, 1) * int(self._dtype.itemsize), dtype=np.uint8)
        self.data: Any = torch.from_numpy(zeros).view(self._dtype)[:count].view(shape)
        """float `[L, 2, C, T, H, D]`; keys at 0, values at 1 of the second axis."""
        self._shape = shape
        self.layers: list[tuple[Any, Any]] = [(layer[0], layer[1]) for layer in self.data]
        """For each layer its keys and values, both `[C, T, H, D]`."""

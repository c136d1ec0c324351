"""A prompt whose next tokens are told."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from motet.next_tokens import ALL, NextTokens, whole
from motet.serving.local.rows import Member


@dataclass(slots=True, eq=False, kw_only=True)
class Telling(Member):
    """The only member of a job that tells next tokens instead of choosing one."""

    k: int
    ends: tuple[int, ...]
    found: NextTokens | None = None

    def accept(self, logits: Any) -> None:
        """Take the logits `[1, V]` behind the last token."""
        row = torch.log_softmax(logits[-1], -1)
        self.found = whole(array("f", row.numpy().tobytes()), self.ends)
        if self.k != ALL:
            ids = _likeliest(row, self.k, self.ends)
            self.found = NextTokens(tuple(ids), tuple(row[ids].tolist()), (), self.ends)
        self.is_done = True


def _likeliest(row: Any, k: int, ends: Sequence[int]) -> list[int]:
    """Return the ids of the `k` likeliest tokens, best first, and of the likeliest end."""
    least = row.topk(min(k, len(row))).values[-1]
    likely = (row >= least).nonzero().squeeze(1).tolist()
    values = row[likely].tolist()
    ranked = [token for _, token in sorted(zip(values, likely, strict=True), key=_rank)][:k]
    if ends and not set(ends) & set(ranked):
        last = [(float(row[end]), end) for end in ends]
        ranked.append(min(last, key=_rank)[1])
    return ranked


def _rank(pair: tuple[float, int]) -> tuple[float, int]:
    return -pair[0], pair[1]

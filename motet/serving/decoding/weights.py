"""Importance weights of masked sampling, and how they come back as token ids."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from motet.serving.decoding.wire import WEIGHT_TOKENS

Ending: TypeAlias = Literal["stop", "length", "lost"]
ENDINGS: Final[tuple[Ending, ...]] = ("stop", "length", "lost")
"""The end of turn, `max_tokens`, or a weight that was lost, by the number that travels."""


@dataclass(frozen=True, slots=True)
class WeightedEnd:
    """What the tokens behind a weighted completion say."""

    token_ids: tuple[int, ...]
    """The completion's own, without its end of turn."""
    ending: Ending
    """At `lost` the completion counts for nothing; the same request again gives it whole."""
    log_weight: float


def log_weight(raw: Any, masked: Any, temperature: float = 1.0) -> float:
    """Return the log of the probability that the model gives to what the mask allows, in nats.

    The model is the tempered one: its logits over `temperature`; at 0 they stay as they are.

    Args:
        raw: float `[V]`, before the mask.
        masked: float `[V]`, with -inf where the mask forbids.
        temperature: Of the sampling.

    Source: Lew et al. 2023, https://arxiv.org/abs/2306.03081, section 2.
    """
    scale = temperature if temperature >= 1e-5 else 1.0
    allowed = (masked.float() / scale).logsumexp(-1)
    return float(allowed - (raw.float() / scale).logsumexp(-1))


def write_end(ending: Ending, weight: float, sync: int) -> tuple[int, ...]:
    """Return the tokens that end a weighted completion; `WEIGHT_TOKENS` of them.

    A byte is the token of its number, or from `sync` on the next one, so that none is `sync`.
    """
    numbers = (ENDINGS.index(ending), *struct.pack(">f", weight))
    return (*(n if n < sync else n + 1 for n in numbers), sync)


def read_end(token_ids: Sequence[int], sync: int) -> WeightedEnd | None:
    """Read what `write_end` wrote behind `token_ids`, or return None where nothing is written."""
    tail = token_ids[-WEIGHT_TOKENS:]
    if len(tail) < WEIGHT_TOKENS or tail[-1] != sync or sync in tail[:-1]:
        return None
    ending, *packed = (t if t < sync else t - 1 for t in tail[:-1])
    if ending >= len(ENDINGS) or any(not 0 <= byte < 256 for byte in packed):
        return None
    [weight] = struct.unpack(">f", bytes(packed))
    return WeightedEnd(tuple(token_ids[:-WEIGHT_TOKENS]), ENDINGS[ending], weight)

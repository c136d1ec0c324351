"""Choose one token from logits by numbers that depend on the seed and the place only.

The same seed, position and logits give the same token in every engine, whatever else runs there.
N is the number of rows, V the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import torch

from motet.serving.decoding.wire import Choosing
from motet.serving.local.sampler import _filter

_LEAST_TEMPERATURE: Final = 1e-5
"""Below it the scores would overflow, and the choice is the likeliest token anyway."""
_WORD: Final = 1 << 32


def choose(logits: Any, choosings: Sequence[Choosing], positions: Sequence[int]) -> list[int]:
    """Choose a token for each row.

    The order is temperature, min_p, top_k, top_p. At temperature 0 it is the likeliest token, the
    first of several.

    Args:
        logits: float `[N, V]`; they stay as they are.
        choosings: N of them.
        positions: Place of each row's token among the generated ones, from 0.
    """
    chosen = logits.argmax(-1)
    for i, (choosing, position) in enumerate(zip(choosings, positions, strict=True)):
        if choosing.temperature >= _LEAST_TEMPERATURE:
            chosen[i] = _drawn(logits[i], choosing, position)
    return [int(token) for token in chosen.tolist()]


def _drawn(logits: Any, choosing: Choosing, position: int) -> Any:
    """Draw a token by an exponential race: the least E / p wins, E ~ Exp(1) a token.

    The race ties each random number to a token, so that a difference of 1e-6 in the logits, as
    other batch sizes cause, hardly ever changes the winner.
    """
    scores = logits.float() / choosing.temperature
    if choosing.top_k > 0 or choosing.top_p < 1 or choosing.min_p:
        _filter(scores, choosing)  # type: ignore[arg-type]
    return scores.sub_(_log_exponentials(choosing.seed, position, scores)).argmax()


def _log_exponentials(seed: int, position: int, like: Any) -> Any:
    """Return log E, E ~ Exp(1), float32 `[V]`, a hash of seed, position and token."""
    first, second = _keys(seed, position)
    words = _scrambled((_spread(like.shape[0], like.device) ^ first) + second)
    # Half a step off 0, whose log is -inf; log1p keeps the small numbers apart, which win.
    share = words.double().add_(_WORD // 2 + 0.5).div_(-_WORD).float()
    return share.log1p_().neg_().log_()


@lru_cache(maxsize=8)
def _spread(size: int, device: Any) -> Any:
    """Return int32 `[size]`: a number of its own for each token, far from its neighbours'."""
    return torch.arange(size, dtype=torch.int32, device=device) * _signed(0x9E3779B1)


def _scrambled(x: Any) -> Any:
    """Mix the bits of int32 `x` in place.

    Source: the finaliser of MurmurHash3 by Austin Appleby, in the public domain.
    """
    x ^= (x >> 16) & 0xFFFF
    x *= _signed(0x85EBCA6B)
    x ^= (x >> 13) & 0x7FFFF
    x *= _signed(0xC2B2AE35)
    x ^= (x >> 16) & 0xFFFF
    return x


def _keys(seed: int, position: int) -> tuple[int, int]:
    """Return two int32 words of a seed and a position, by two rounds of splitmix64.

    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
    """
    word = _mixed64(_mixed64(seed) + position)
    return _signed(word % _WORD), _signed(word >> 32)


def _mixed64(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def _signed(word: int) -> int:
    """Return the 32-bit `word` as two's complement."""
    return word - _WORD if word >= _WORD // 2 else word

"""Choose one token from logits by numbers that depend on the seed and the place only.

The same seed, position and logits give the same token in every engine, whatever else runs there.
N is the number of rows, V the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    drawn = [i for i, c in enumerate(choosings) if c.temperature >= _LEAST_TEMPERATURE]
    if drawn:
        temperatures = [[choosings[i].temperature] for i in drawn]
        scores = logits[drawn].float() / torch.tensor(temperatures, device=logits.device)
        for line, i in zip(scores, drawn, strict=True):
            c = choosings[i]
            if c.top_k > 0 or c.top_p < 1 or c.min_p:
                _filter(line, c)  # type: ignore[arg-type]
        places = [(choosings[i].seed, positions[i]) for i in drawn]
        chosen[drawn] = scores.sub_(_log_race(places, scores)).argmax(-1)
    return [int(token) for token in chosen.tolist()]


def _log_race(places: Sequence[tuple[int, int]], like: Any) -> Any:
    """Return log E, E ~ Exp(1), for each token of each row; the least E / p wins the race.

    The race ties each random number to a token, so that a difference of 1e-6 in the logits, as
    other batch sizes cause, hardly ever changes the winner.
    """
    keys = torch.tensor([_keys(*place) for place in places], dtype=torch.int32, device=like.device)
    tokens = torch.arange(like.shape[1], dtype=torch.int32, device=like.device)
    mixed = _scrambled(tokens * _signed(0x9E3779B1) + keys[:, :1])
    mixed = _scrambled(mixed ^ keys[:, 1:])
    # log1p keeps the small numbers apart that win; half a step off 0, which would give -inf.
    share = (mixed.double() + (_WORD // 2 + 0.5)).float() / _WORD
    return share.neg_().log1p_().neg_().log_()


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

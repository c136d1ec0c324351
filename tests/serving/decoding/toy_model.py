"""A language of fifteen strings, whose every number is known."""

from __future__ import annotations

import itertools
import math

A, B, END = 0, 1, 2
LETTERS = "ab"
FIRST = (0.6, 0.3, 0.1)
AFTER = {A: (0.5, 0.2, 0.3), B: (0.4, 0.1, 0.5)}
POSTERIOR = {
    "": 0.15625,
    "a": 0.28125,
    "b": 0.234375,
    "ab": 0.09375,
    "ba": 0.05625,
    "bb": 0.0234375,
    "aba": 0.075,
    "abb": 0.01875,
    "bab": 0.0375,
    "bba": 0.01875,
    "bbb": 0.0046875,
}
"""Of the strings that hold no `aa`."""
Z = 0.64
"""Probability that a string holds no `aa`."""


def ids(text: str) -> tuple[int, ...]:
    return tuple(LETTERS.index(letter) for letter in text)


def text(tokens: tuple[int, ...]) -> str:
    return "".join(LETTERS[token] for token in tokens)


def logits(tokens: tuple[int, ...]):
    """Return float32 `[3]`: log-probabilities of what follows `tokens`."""
    import torch

    if len(tokens) == 3:
        shares = (0.0, 0.0, 1.0)
    else:
        shares = AFTER[tokens[-1]] if tokens else FIRST
    return torch.tensor([math.log(p) if p else -math.inf for p in shares])


def strings() -> list[str]:
    return ["".join(letters) for n in range(4) for letters in itertools.product(LETTERS, repeat=n)]

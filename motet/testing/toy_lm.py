"""A language model of fifteen strings whose every number is known, for tests of samplers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from motet.next_tokens import NextTokens
from motet.search.partials import Partial, Step

if TYPE_CHECKING:
    from motet.search.tools import Ask

_BITS = 2**64 - 1

A, B, END = 0, 1, 2
LETTERS = "ab"
MAX_LETTERS = 3
"""Behind them the end is forced."""
FIRST = (0.6, 0.3, 0.1)
AFTER = {A: (0.5, 0.2, 0.3), B: (0.4, 0.1, 0.5)}
Z = 0.64
"""Probability that a string holds no `aa`."""
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
Z_WITH_B = 0.48
"""Probability that a string holds a `b`."""
MEAN_LENGTH = 1.839
MEAN_LENGTH_WITH_B = 2.14375
"""Of the strings that hold a `b`."""


def ids(text: str) -> tuple[int, ...]:
    return tuple(LETTERS.index(letter) for letter in text)


def text(tokens: Sequence[int]) -> str:
    return "".join(LETTERS[token] for token in tokens if token != END)


def shares(tokens: Sequence[int]) -> tuple[float, float, float]:
    """Return the probabilities of `a`, `b` and the end behind `tokens`."""
    if len(tokens) == MAX_LETTERS:
        return (0.0, 0.0, 1.0)
    return AFTER[tokens[-1]] if tokens else FIRST


def next_logprobs(prefixes: Sequence[Sequence[int]]) -> list[list[float]]:
    """Return log-probabilities `[3]` of what follows each prefix."""
    return [[math.log(p) if p else -math.inf for p in shares(prefix)] for prefix in prefixes]


def next_tokens(written: Sequence[int]) -> NextTokens:
    """Return all that may follow, as an engine's reply; what cannot follow has -9999."""
    logprobs = [math.log(p) if p else -9999.0 for p in shares(written)]
    return NextTokens((A, B, END), logprobs, (*LETTERS, ""), (END,), text(written))


def strings() -> list[str]:
    """Return all that the model can say."""
    return [
        "".join(letters)
        for n in range(MAX_LETTERS + 1)
        for letters in itertools.product(LETTERS, repeat=n)
    ]


def probability(said: str) -> float:
    """Return the probability of a whole string."""
    tokens = ids(said)
    return math.prod(shares(tokens[:n])[token] for n, token in enumerate((*tokens, END)))


def mass_behind(prefix: str, is_wanted: Callable[[str], bool]) -> float:
    """Return the probability that what begins with `prefix` ends as wanted; 0 if none begins so."""
    said = [each for each in strings() if each.startswith(prefix)]
    total = sum(probability(each) for each in said)
    wanted = sum(probability(each) for each in said if is_wanted(each))
    return wanted / total if total else 0.0


class ToyProposer:
    """Proposes a letter a step, or a whole string; the last step is empty.

    What it says depends on the asks' seeds alone; an ask without one is seeded by its text, so
    that it always gets the same.
    """

    def __init__(self) -> None:
        self.batches: list[list[Ask]] = []
        """What each call asked for."""

    def __call__(self, asks: Sequence[Ask]) -> list[list[Step]]:
        self.batches.append(list(asks))
        return [[self._step(ask, i) for i in range(ask.n)] for ask in asks]

    def _step(self, ask: Ask, place: int) -> Step:
        said, added = ask.partial.text, ""
        seed = (sum(map(ord, said)) if ask.seed is None else ask.seed) + place
        while True:
            p_a, p_b, _ = shares(ids(said + added))
            u = uniform(seed, len(added))
            if u >= p_a + p_b:
                return Step(added, is_last=True, num_tokens=len(added) + 1)
            added += "a" if u < p_a else "b"
            if not ask.is_whole:
                return Step(added, num_tokens=1)


def uniform(seed: int, place: int) -> float:
    """Return a number in [0, 1) that is as good as random, faster than a generator is made.

    Source: splitmix64, Steele et al. 2014.
    """
    z = (seed + (place + 1) * 0x9E3779B97F4A7C15) & _BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _BITS
    return (z ^ (z >> 31)) / 2**64


def has_no_aa(partial: Partial) -> float:
    """Score 1 where there is no `aa`, else 0."""
    return float("aa" not in partial.text)

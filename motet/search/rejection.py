"""Tokens drawn by rejection: a condition is asked of those alone that the model would say."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from motet.errors import SearchError
from motet.search.potentials import Array, NextRow, Tokens
from motet.search.token_problem import TokenTools

Choose: TypeAlias = Callable[[Any], int]
"""Takes weights `[K]`, returns a place drawn by them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a token is to be drawn."""

    tokens: Tokens
    row: NextRow
    choose: Choose
    is_last: bool = False
    """Whether it must be the end."""


def chooser(point: float) -> Choose:
    """Return what draws by numbers of a generator that `point` seeds."""
    draw = random.Random(point)

    def choose(weights: Array) -> int:
        sums = weights.cumsum()
        place = int(sums.searchsorted(draw.random() * sums[-1], side="right"))
        return min(place, int(sums.searchsorted(sums[-1], side="left")))

    return choose


async def draw_allowed(
    tools: TokenTools, places: Sequence[Place], *, extra_draws: int
) -> list[tuple[int, float]] | None:
    """Draw a token that the potential allows at each place, and return it with its log weight.

    Tokens are drawn from the model, each once at most, until one is allowed: that one is
    distributed as the model among what is allowed. Its weight is an unbiased estimate of how much
    is allowed: its own probability, and of the tokens that were not drawn the part that
    `extra_draws` of them find allowed. So weight and token are proper together. Where nothing is
    allowed the log weight is `-inf`.

    Source: adaptive weighted rejection sampling, Lipkin et al. 2025, arXiv:2504.05410. The
    estimate of the weight is ours.

    Returns:
        None where a limit is reached.

    Raises:
        SearchError: The potential does more than to allow or forbid.
    """
    known: dict[tuple[Tokens, int], bool] = {}
    rests = [_Rest(each.row.logprobs) for each in places]
    found: list[tuple[int, float]] = [(tools.problem.end, -math.inf)] * len(places)
    masses = [0.0] * len(places)
    open_places = list(range(len(places)))
    while open_places:
        drawn = {}
        for i in open_places:
            end = places[i].row.place(tools.problem.end)
            drawn[i] = end if places[i].is_last else rests[i].drawn(places[i].choose)
        asked = [_token(places[i], place) for i, place in drawn.items() if place is not None]
        if not await _learn(tools, known, asked):
            return None
        # Many rounds of a condition that never waits must not keep others from the loop.
        await asyncio.sleep(0)
        still = []
        for i, place in drawn.items():
            if place is None:
                continue
            masses[i] = rests[i].taken(place)
            key = _token(places[i], place)
            if known[key]:
                found[i] = key[1], math.log(masses[i]) if masses[i] else -math.inf
            elif not places[i].is_last and rests[i].total:
                still.append(i)
        open_places = still
    lucky = [i for i, (_, log_weight) in enumerate(found) if log_weight > -math.inf]
    extra = {
        i: [_token(places[i], rests[i].drawn(places[i].choose)) for _ in range(extra_draws)]
        for i in lucky
        if not places[i].is_last and rests[i].total
    }
    if not await _learn(tools, known, [key for keys in extra.values() for key in keys]):
        return None
    for i, keys in extra.items():
        allowed = sum(known[key] for key in keys) / extra_draws
        weight = masses[i] + rests[i].total * allowed
        found[i] = found[i][0], math.log(weight)
    return found


class _Rest:
    """What was not drawn of a row, in blocks: a draw looks at their sums, and into one of them."""

    def __init__(self, logprobs: Array) -> None:
        import numpy as np

        self._size = max(math.isqrt(len(logprobs)), 1)
        weights = np.zeros(-(-len(logprobs) // self._size) * self._size)
        weights[: len(logprobs)] = np.exp(logprobs)
        self._blocks = weights.reshape(-1, self._size)
        self._sums = self._blocks.sum(axis=1)

    @property
    def total(self) -> float:
        return float(self._sums.sum())

    def drawn(self, choose: Choose) -> int:
        """Return a place that is drawn, and stays."""
        block = choose(self._sums)
        return block * self._size + choose(self._blocks[block])

    def taken(self, place: int) -> float:
        """Take a place away, and return its weight."""
        block, at = divmod(place, self._size)
        weight = float(self._blocks[block, at])
        self._blocks[block, at] = 0.0
        # Summed anew: a difference would leave rounding where nothing is left.
        self._sums[block] = self._blocks[block].sum()
        return weight


def _token(place: Place, at: int) -> tuple[Tokens, int]:
    return place.tokens, place.row.token(at)


async def _learn(
    tools: TokenTools,
    known: dict[tuple[Tokens, int], bool],
    asked: Sequence[tuple[Tokens, int]],
) -> bool:
    """Find out which tokens are allowed; False where a limit is reached."""
    potential, end = tools.problem.potential, tools.problem.end
    missing = [key for key in dict.fromkeys(asked) if key not in known]
    if potential is None:
        known |= dict.fromkeys(missing, True)
        return True
    for are_last in (False, True):
        keys = [key for key in missing if (key[1] == end) == are_last]
        texts = [tokens if are_last else (*tokens, token) for tokens, token in keys]
        if not texts:
            continue
        weights = await tools.weigh(potential, texts, are_complete=are_last)
        if weights is None:
            return False
        for key, weight in zip(keys, weights, strict=True):
            if weight not in (0.0, -math.inf):
                raise SearchError(
                    f"proposal is 'rejection', and the potential gave the log weight {weight}; "
                    "it must be 0 or -inf"
                )
            known[key] = weight == 0.0
    return True

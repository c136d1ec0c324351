"""How a reward enters the statistics of arms, and how long it counts."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Final

from motet.routing.bandits.arms import GRAIN, Arms, grained
from motet.routing.bandits.bandit import check_arm, check_step
from motet.search.settings import number, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How long rewards count, for where they drift. As given here: for ever.

    Source: Garivier and Moulines 2008, arXiv:0805.3415: discounted and sliding-window counts.
    Unlike there, age is counted in the numbers of the steps, so that late rewards count as old.
    """

    discount: float = 1.0
    """Factor on all counts and sums at each new step, above 0, to 1."""
    window: int | None = None
    """Only the last so many steps count; at most 2000, as each update copies them. For a longer
    memory there is the discount."""

    def __post_init__(self) -> None:
        number("discount", self.discount, GRAIN, 1.0)
        if self.window is not None:
            whole("window", self.window, 1, 2000)
            if self.discount < 1:
                number("discount, where a window is set,", self.discount, 1.0, 1.0)


FOR_EVER: Final = Memory()


def observe(
    state: Arms, arm: int, reward: float, memory: Memory = FOR_EVER, step: int | None = None
) -> Arms:
    """Return the statistics with one reward more; see `Bandit` for `step`.

    Raises:
        DataError: There is no such arm or step.
    """
    arm = check_arm(arm, len(state.counts))
    now = check_step(step, state.step)
    new = grained(reward)
    if memory.window is not None:
        return _in_window(state, (now, arm, new), memory.window)
    if memory.discount == 1.0:
        return _added(state, arm, new, 1.0, max(state.step, now + 1))
    age = state.step - 1 - now
    if age < 0:
        state = _faded(state, memory.discount**-age)
    weight = memory.discount ** max(age, 0)
    return _added(state, arm, new, weight, max(state.step, now + 1)) if weight >= GRAIN else state


def _added(state: Arms, arm: int, reward: float, weight: float, step: int) -> Arms:
    counts, sums, squares = state.counts, state.sums, state.squares
    square = grained(reward * reward)
    return Arms(
        (*counts[:arm], counts[arm] + weight, *counts[arm + 1 :]),
        (*sums[:arm], sums[arm] + weight * reward, *sums[arm + 1 :]),
        (*squares[:arm], squares[arm] + weight * square, *squares[arm + 1 :]),
        step,
        state.recent,
    )


def _faded(state: Arms, factor: float) -> Arms:
    """Age all by `factor`; what has all but faded goes: its mean would be of rounded rests."""
    counts = tuple([count * factor for count in state.counts])
    sums = tuple([total * factor for total in state.sums])
    squares = tuple([square * factor for square in state.squares])
    if min(counts) < GRAIN:
        kept = [count >= GRAIN for count in counts]
        counts, sums, squares = (
            tuple(value if keep else 0.0 for value, keep in zip(values, kept, strict=True))
            for values in (counts, sums, squares)
        )
    return Arms(counts, sums, squares, state.step, state.recent)


def _in_window(state: Arms, entry: tuple[int, int, float], window: int) -> Arms:
    end = max(state.step, entry[0] + 1)
    if entry[0] < end - window:
        return state
    recent = state.recent
    cut = bisect.bisect_left(recent, (end - window,))
    place = bisect.bisect(recent, entry, cut)
    kept = (*recent[cut:place], entry, *recent[place:])
    state = _added(state, entry[1], entry[2], 1.0, end)
    for _, arm, reward in recent[:cut]:
        gone = grained(reward * reward)
        state = Arms(
            _less(state.counts, arm, 1.0),
            _less(state.sums, arm, reward),
            _less(state.squares, arm, gone),
            end,
        )
    return Arms(state.counts, state.sums, state.squares, end, kept)


def _less(values: tuple[float, ...], arm: int, by: float) -> tuple[float, ...]:
    return (*values[:arm], values[arm] - by, *values[arm + 1 :])

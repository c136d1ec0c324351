"""The scores by which a tree search descends: UCT and PUCT."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt


def uct(
    values: Sequence[float],
    visits: Sequence[int],
    parent_visits: int,
    *,
    exploration: float = 1.0,
    added: int = 0,
) -> list[float]:
    """Return Q + w * sqrt(ln N_parent / max(1, N)) of each child; Q, N in `values`, `visits`.

    Args:
        values: What each child is worth.
        visits: Rollouts through each child.
        parent_visits: Rollouts through their parent; 0 counts as 1.
        exploration: The weight w; larger explores more.
        added: What each child's N is raised by.

    Source: Kocsis and Szepesvari 2006. Departure: unvisited children have a finite score.
    """
    spread = exploration * sqrt(log(parent_visits or 1))
    if added:
        visits = [num + added for num in visits]
    return [
        value + spread / sqrt(num) if num else value + spread
        for value, num in zip(values, visits, strict=True)
    ]


def puct(
    values: Sequence[float],
    visits: Sequence[int],
    parent_visits: int,
    *,
    priors: Sequence[float] | None = None,
    c_init: float = 1.25,
    c_base: float = 19652.0,
) -> list[float]:
    """Return Q + c * P * sqrt(N_parent) / (1 + N) of each child; c grows slowly with N_parent.

    Args:
        values: What each child is worth, Q.
        visits: Rollouts through each child, N.
        parent_visits: Rollouts through their parent.
        priors: The probability P of each child; None is 1 for all.
        c_init: The part of c that is constant.
        c_base: Visits at which c has grown by ln 2.

    Source: Silver et al. 2018 (AlphaZero).
    """
    rate = log((parent_visits + c_base + 1) / c_base) + c_init
    rate *= sqrt(parent_visits)
    if priors is None:
        return [value + rate / (1 + num) for value, num in zip(values, visits, strict=True)]
    return [
        value + rate * prior / (1 + num)
        for value, num, prior in zip(values, visits, priors, strict=True)
    ]

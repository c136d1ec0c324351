"""What both orders of many pairs say of a judge: is it steady, and is it right.

Source: Li et al. 2023 (Auto-J), arXiv:2310.05470: agreement and consistency; Zheng et al. 2023,
arXiv:2306.05685: position bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from motet.errors import DataError
from motet.judging.verdicts import PairVerdict, Winner, reconcile


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """What showing each pair in both orders says of a judge."""

    num_pairs: int
    num_errors: int
    """Pairs of which an order could not be read; the shares leave them out."""
    consistency: float
    """Share of pairs whose orders say the same, ties included."""
    first_position_preference: float
    """Share of wins by whoever was shown first, less a half; ties left out, 0 if all are."""
    agreement: float | None
    """Share of pairs that are right in both orders; None without labels."""


def report_orders(
    pairs: Sequence[tuple[PairVerdict, PairVerdict]], labels: Sequence[Winner] | None = None
) -> OrderReport:
    """Measure how a judge depends on the order, and how often it is right in both.

    Agreement and consistency are of the same pairs, so agreement is never the larger.

    Args:
        labels: The right winner of each pair, in the caller's names.

    Raises:
        DataError: No pair could be read, the labels are not as many, or one is an error.
    """
    labels = None if labels is None else list(labels)
    _check_labels(labels, len(pairs))
    results = [reconcile(*pair) for pair in pairs]
    read = [place for place, result in enumerate(results) if result.winner != "error"]
    if not read:
        raise DataError(f"of {len(pairs)} pairs none could be read in both orders")
    said = [verdict.winner for place in read for verdict in pairs[place]]
    decided = [winner for winner in said if winner != "tie"]
    right = None
    if labels is not None:
        right = sum(
            results[place].is_consistent and results[place].winner == labels[place]
            for place in read
        )
    return OrderReport(
        num_pairs=len(pairs),
        num_errors=len(pairs) - len(read),
        consistency=sum(results[place].is_consistent for place in read) / len(read),
        first_position_preference=decided.count("A") / len(decided) - 0.5 if decided else 0.0,
        agreement=None if right is None else right / len(read),
    )


def accuracy(chosen: Sequence[Winner], labels: Sequence[Winner]) -> float:
    """Return the share of winners that are right; what could not be read is wrong.

    Source: for LLMBar, arXiv:2310.07641, the mean over both orders of a pair; its tables count
    some unreadable replies otherwise.

    Raises:
        DataError: There are none, the labels are not as many, or one is an error.
    """
    _check_labels(list(labels), len(chosen))
    if not chosen:
        raise DataError("there are no verdicts to be right or wrong")
    return sum(a == b for a, b in zip(chosen, labels, strict=True)) / len(chosen)


def _check_labels(labels: list[Any] | None, number_of_pairs: int) -> None:
    if labels is None:
        return
    if len(labels) != number_of_pairs:
        raise DataError(f"{len(labels)} labels for {number_of_pairs} pairs; one for each is needed")
    for place, label in enumerate(labels):
        if label not in ("A", "B", "tie"):
            raise DataError(f"label {place} is {label!r}; it must be A, B or tie")

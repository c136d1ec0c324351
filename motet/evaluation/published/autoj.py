"""Auto-J's agreement with people and its consistency (Li et al. 2023, arXiv:2310.05470)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.judging.datasets import read_autoj
from motet.judging.orders import report_orders

SOURCE = "autoj"


def figures(*folders: Path) -> list[Published]:
    """Agreement and consistency over both orders, in percent, and the counts of the labels.

    The README of GAIR-NLP/auto-j has 54.96 and 83.41 of all 1,392 pairs.

    Raises:
        DataError: The set is absent or cannot be read, or its statistics do not fit.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places)
    pairs = [pair for place in places for pair in read_autoj(place)]
    stated.count(len(pairs), int(stated.number(WHOLE, "n")))
    judged: list[Any] = [pair.verdicts["autoj-13b"] for pair in pairs]
    labels = [pair.majority for pair in pairs]
    report = report_orders(judged, labels)
    assert report.agreement is not None  # there are labels
    counts = {"0": labels.count("A"), "1": labels.count("B"), "2": labels.count("tie")}
    return [
        stated.figure("pairs", "all", len(pairs), ("n",), 0),
        stated.figure(
            "agreement", "Auto-J 13B", 100 * report.agreement,
            ("autoj13b_agreement_pct",), rounded(2),
        ),
        stated.figure(
            "consistency", "Auto-J 13B", 100 * report.consistency,
            ("autoj13b_consistency_pct",), rounded(2),
        ),
        *(
            stated.figure("labels", f"label {name}", number, ("labels", name), 0)
            for name, number in counts.items()
        ),
    ]  # fmt: skip

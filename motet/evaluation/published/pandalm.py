"""PandaLM's test set: agreement of people and accuracy of two judges (arXiv:2306.05087)."""

from __future__ import annotations

from pathlib import Path

from motet.errors import DataError
from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.judging.agreement import cohen_kappa, percent_agreement
from motet.judging.datasets import read_pandalm

SOURCE = "pandalm"


def figures(*folders: Path) -> list[Published]:
    """Cohen's kappa of each two people, and how often judges say what the majority does.

    The README of WeOpenML/PandaLM has kappas of 0.85, 0.88 and 0.86 of all 999 pairs.

    Raises:
        DataError: The set is absent or cannot be read, or its statistics do not fit.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places)
    pairs = [pair for place in places for pair in read_pandalm(place)]
    stated.count(len(pairs), int(stated.number(WHOLE, "n")))
    if {len(pair.labels) for pair in pairs} != {3}:
        raise DataError(f"a pair of {SOURCE} was not judged by three people")
    people = list(zip(*(pair.labels for pair in pairs), strict=True))
    majority = [pair.majority for pair in pairs]
    found = [stated.figure("pairs", "all", len(pairs), ("n",), 0)]
    for name, first, second in (("1-2", 0, 1), ("1-3", 0, 2), ("2-3", 1, 2)):
        kappa = cohen_kappa(people[first], people[second])
        title = f"people {name}"
        found.append(stated.figure("kappa", title, kappa, ("kappa", name), rounded(4)))
    for judge in ("gpt35", "pandalm7b"):
        chosen = [pair.verdicts[judge][0].chosen for pair in pairs]
        share = 100 * percent_agreement(chosen, majority)
        keys = (f"{judge}_accuracy_vs_majority_pct",)
        found.append(stated.figure("accuracy", judge, share, keys, rounded(3)))
    unanimous = 100 * sum(len(set(pair.labels)) == 1 for pair in pairs) / len(pairs)
    found.append(
        stated.figure("unanimous", "three people", unanimous, ("unanimous_pct",), rounded(2))
    )
    counts = {"1": majority.count("A"), "2": majority.count("B"), "0": majority.count("tie")}
    for name, number in counts.items():
        title = f"label {name}"
        found.append(stated.figure("labels", title, number, ("label_counts", name), 0))
    return found

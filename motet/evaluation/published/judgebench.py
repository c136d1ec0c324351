"""JudgeBench's accuracies of judges and reward models (Tan et al. 2024, arXiv:2410.12784)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.judging.datasets import read_judgebench
from motet.judging.orders import accuracy
from motet.judging.verdicts import reconcile

SOURCE = "judgebench"
_SOURCES: Final = {
    "overall": "",
    "knowledge": "mmlu-pro",
    "reasoning": "livebench-reasoning",
    "math": "livebench-math",
    "coding": "livecodebench",
}
"""How the names of the sources of a kind begin."""


def figures(*folders: Path) -> list[Published]:
    """Accuracy of each judge by the majority of both orders, in percent, for each kind of pair.

    Raises:
        DataError: The set is absent or cannot be read.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places)
    pairs = [pair for place in places for pair in read_judgebench(place)]
    models = [name for name in stated.names() if name != WHOLE]
    stated.count(len(pairs), sum(int(stated.number(WHOLE, name, "n")) for name in models))
    found = []
    for model in models:
        for judge in stated.names(model, "accuracy_pct"):
            for kind in stated.names(model, "accuracy_pct", judge):
                beginning = f"{model}/{_SOURCES.get(kind, kind)}"
                rows = [
                    pair
                    for pair in pairs
                    if pair.group.startswith(beginning) and judge in pair.verdicts
                ]
                share = None
                if rows:
                    said = [
                        reconcile(*pair.verdicts[judge], rule="majority").winner for pair in rows
                    ]
                    share = 100 * accuracy(said, [pair.majority for pair in rows])
                keys = (model, "accuracy_pct", judge, kind)
                title = f"{judge}, {kind}, of {model}"
                found.append(stated.figure("accuracy", title, share, keys, rounded(2)))
    return found

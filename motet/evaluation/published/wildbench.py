"""WildBench's mean scores of each model by each judge (Lin et al. 2024, arXiv:2406.04770)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean

from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.judging.datasets import read_wildbench

SOURCE = "wildbench"
_JUDGES = ("gpt-4o", "gpt-4-turbo")


def figures(*folders: Path) -> list[Published]:
    """Mean over tasks of the scores, 1 to 10; tasks without a score are left out.

    Raises:
        DataError: The set is absent or cannot be read.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places)
    tasks = [task for place in places for task in read_wildbench(place)]
    stated.count(len(tasks), int(stated.number(WHOLE, "n")))
    scores: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for task in tasks:
        for judge, judged in task.scores.items():
            for model, verdict in judged.items():
                if verdict.score is not None:
                    scores[judge, model].append(verdict.score)
    found = [stated.figure("tasks", "all", len(tasks), ("n",), 0)]
    for judge in _JUDGES:
        for model in stated.names(judge):
            given = scores[judge, model]
            mean = fmean(given) if given else None
            title = f"{model}, by {judge}"
            found.append(stated.figure("mean score", title, mean, (judge, model), rounded(4)))
    return found

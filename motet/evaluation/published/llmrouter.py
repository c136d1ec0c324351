"""LLMRouter's example data: mean scores of nine open models on fourteen tasks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.evaluation.published.tables import mean_best, mean_scores, num_prompts
from motet.routing.datasets import read_llmrouter

SOURCE = "llmrouter"


def figures(*folders: Path) -> list[Published]:
    """Mean score of each model and of the best of each query, 0 to 1, and queries of each task.

    Raises:
        DataError: The set is absent or cannot be read.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places, is_published=False)
    tables = [read_llmrouter(place) for place in places]
    stated.count(num_prompts(tables), int(stated.number(WHOLE, "n")))
    means = mean_scores(tables)
    asked = Counter(group for table in tables for group in table.groups or ())
    return [
        *(
            stated.figure("rows", task, asked[task], ("by_task_n", task), 0)
            for task in stated.names("by_task_n")
        ),
        *(
            stated.figure("mean score", model, means.get(model), ("mean_score", model), rounded(4))
            for model in stated.names("mean_score")
        ),
        stated.figure("best of each query", "all", mean_best(tables), ("oracle",), rounded(4)),
    ]

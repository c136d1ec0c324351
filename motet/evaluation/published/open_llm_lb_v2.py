"""Open LLM Leaderboard v2: right answers of nineteen models on six groups of tasks."""

from __future__ import annotations

from pathlib import Path

from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import Stated, places_of
from motet.evaluation.published.tables import mean_scores, num_prompts
from motet.routing.datasets import read_open_llm

SOURCE = "open_llm_lb_v2"


def figures(*folders: Path) -> list[Published]:
    """Accuracy of each model on each group, in percent; nobody has published it of this selection.

    Raises:
        DataError: The set is absent or cannot be read, or stands in several folders.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places)
    tables = [read_open_llm(place) for place in places]
    stated.count(num_prompts(tables), None)
    [table] = tables
    groups = table.groups or ()
    found = [stated.figure("rows", "all", num_prompts(tables), ("n",), 0)]
    for group in stated.names("accuracy_pct"):
        rows = [place for place, name in enumerate(groups) if name.startswith(group)]
        means = mean_scores([table.take(rows)]) if rows else {}
        for model in stated.names("accuracy_pct", group):
            share = 100 * means[model] if model in means else None
            keys = ("accuracy_pct", group, model)
            found.append(stated.figure("accuracy", f"{group}, {model}", share, keys, rounded(2)))
    return found

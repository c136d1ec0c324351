"""RouterArena's cached results: scores and dollars of two models."""

from __future__ import annotations

from pathlib import Path

from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.evaluation.published.tables import mean_best, mean_scores, num_prompts
from motet.routing.datasets import read_routerarena

SOURCE = "routerarena"
_NOTE = "a METEOR score below 0 counts as 0 here, which may lift a mean by 0.00005"


def figures(*folders: Path) -> list[Published]:
    """Mean score of each model, 0 to 1, its dollars in all, and the best of each query.

    Raises:
        DataError: The set is absent or cannot be read.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places, is_published=False)
    tables = [read_routerarena(place) for place in places]
    stated.count(num_prompts(tables), int(stated.number(WHOLE, "n")))
    means = mean_scores(tables)
    dollars: dict[str, float] = {}
    for table in tables:
        for place, model in enumerate(table.models):
            dollars[model] = dollars.get(model, 0.0) + float(table.costs[:, place].sum())
    models = [name for name in stated.names() if isinstance(stated.find(name), dict)]
    found = [stated.figure("rows", "all", num_prompts(tables), ("n",), 0)]
    for model in models:
        if model == WHOLE:
            continue
        keys = (model, "mean_score")
        mean = means.get(model)
        allowed = rounded(4) + 5e-5
        found.append(stated.figure("mean score", model, mean, keys, allowed, note=_NOTE))
        keys = (model, "total_cost_usd")
        found.append(stated.figure("dollars", model, dollars.get(model), keys, rounded(6)))
    best = mean_best(tables)
    return [
        *found,
        stated.figure("best of each query", "all", best, ("oracle_mean",), rounded(4)),
    ]

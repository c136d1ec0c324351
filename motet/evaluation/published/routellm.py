"""RouteLLM's tables: accuracy of a weak and a strong model (Ong et al. 2024, arXiv:2406.18665)."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.evaluation.published.tables import mean_best, mean_scores, num_prompts
from motet.routing.datasets import STRONG, WEAK, read_routellm

SOURCE = "routellm"
_PARTS: Final[tuple[Literal["gsm8k", "mmlu"], ...]] = ("gsm8k", "mmlu")


def figures(*folders: Path) -> list[Published]:
    """Accuracy of both models and of either, in percent, with and without contaminated items.

    Raises:
        DataError: The set is absent or cannot be read.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places, is_published=False)
    found = []
    for part in _PARTS:
        for subset in ("all", "decontaminated"):
            tables = [
                read_routellm(place, part, drop_contaminated=subset == "decontaminated")
                for place in places
            ]
            stated.count(num_prompts(tables), int(stated.number(WHOLE, part, subset, "n")))
            means = mean_scores(tables)
            rows = (part, subset, "n")
            found.append(stated.figure("rows", f"{part}, {subset}", num_prompts(tables), rows, 0))
            shares = {
                "weak_acc": means[WEAK], "strong_acc": means[STRONG],
                "either_acc": mean_best(tables),
            }  # fmt: skip
            for name, share in shares.items():
                title = f"{part}, {subset}, {name.removesuffix('_acc')}"
                keys = (part, subset, name)
                found.append(stated.figure("accuracy", title, 100 * share, keys, rounded(3)))
    return found

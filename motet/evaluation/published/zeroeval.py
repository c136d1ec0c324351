"""ZeroEval's accuracies of some forty models on GSM8K, MATH level 5 and CRUXEval."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Final

from motet.errors import DataError
from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import Stated, places_of
from motet.grading.datasets import read_rows

SOURCES: Final = {"zeroeval_gsm8k": 1319, "zeroeval_math_l5": 721, "zeroeval_crux": 800}
"""Rows of the whole sets."""
_PUBLISHED = "full_set_published_acc"
_PARTLY = "of all rows it was asked, within four standard errors of the part"


def figures(*folders: Path, source: str) -> list[Published]:
    """Share of right answers of each model, in percent, by the grades that are stored.

    Of a model that was asked only some of the rows nothing is stated for a part of the set: what
    the source says of all is compared, within four standard errors of drawing that part.

    Args:
        source: A name of `SOURCES`.

    Raises:
        DataError: The set is absent or cannot be read.
    """
    places = places_of(source, folders)
    stated = Stated(source, places)
    rows = [row for place in places for row in read_rows(place.parent, source)]
    stated.count(len(rows), SOURCES[source])
    grades: defaultdict[str, list[bool]] = defaultdict(list)
    for row in rows:
        for model, answer in row.answers.items():
            grades[model].append(bool(answer.is_right))
    known = set(stated.names("accuracy_pct"))
    found = []
    for model in stated.names(_PUBLISHED):
        whole = _published(stated, model)
        given = grades[model]
        share = 100 * sum(given) / len(given) if given else math.nan
        kind, published, tolerance, note = "accuracy", whole, rounded(2), ""
        if not stated.is_whole and model in known:
            published = stated.number("accuracy_pct", model)
        elif not stated.is_whole:
            left = 1 - len(rows) / SOURCES[source]
            error = math.sqrt(whole * (100 - whole) / max(1, len(given)) * left)
            kind, tolerance, note = "accuracy, partly asked", 4 * error, _PARTLY
        is_published = stated.is_whole or model not in known
        found.append(
            Published(
                source=source,
                kind=kind,
                name=model,
                published=published,
                computed=share,
                tolerance=tolerance,
                stated_by="source" if is_published else "data",
                whole=None if stated.is_whole else whole,
                note=note,
            )
        )
    if not stated.is_whole:
        seen = [any(a.is_right for m, a in row.answers.items() if m in known) for row in rows]
        found += [
            stated.figure("rows", "all", len(rows), ("n_items",), 0),
            stated.figure(
                "any model right", "all", 100 * sum(seen) / len(seen),
                ("oracle_any_model_pct",), rounded(2),
            ),
        ]  # fmt: skip
    return found


def _published(stated: Stated, model: str) -> float:
    pair = stated.find(_PUBLISHED, model)
    try:
        share = float(pair[1])
        if not 0 <= share <= 100:
            raise ValueError(f"{share} is no percentage")
        return share
    except (IndexError, KeyError, TypeError, ValueError) as exc:
        raise DataError(f"{_PUBLISHED} of {model} is {pair!r:.60}: {exc}") from exc


gsm8k, math_l5, crux = (partial(figures, source=source) for source in SOURCES)

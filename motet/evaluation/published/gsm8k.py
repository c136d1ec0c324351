"""GSM8K: stored solutions of four models, graded anew (Cobbe et al. 2021, arXiv:2110.14168)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.grading.datasets import read_rows
from motet.grading.rows import grade_row

SOURCE = "gsm8k"


def figures(*folders: Path) -> list[Published]:
    """Share of right solutions of each model, and of rows that any solves, in percent.

    Raises:
        DataError: The set is absent or cannot be read.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places, is_published=False)
    rows = [row for place in places for row in read_rows(place.parent, SOURCE)]
    stated.count(len(rows), int(stated.number(WHOLE, "n")))
    right: Counter[str] = Counter()
    num_solved = 0
    for row in rows:
        solved = [
            model
            for model, stored in row.answers.items()
            if grade_row(row, stored.text).verdict == "right"
        ]
        right.update(solved)
        num_solved += bool(solved)
    share = 100 / len(rows)
    return [
        stated.figure("rows", "all", len(rows), ("n",), 0),
        *(
            stated.figure(
                "accuracy", model, share * right[model], ("accuracy_pct", model), rounded(2)
            )
            for model in stated.names("accuracy_pct")
        ),
        stated.figure("any model right", "all", share * num_solved, ("oracle_pct",), rounded(2)),
    ]

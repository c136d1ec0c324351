"""BIG-Bench Hard: Codex with and without chains of thought (Suzgun et al. 2022, arXiv:2210.09261)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Final

from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.grading.datasets import bbh_average, read_rows
from motet.grading.rows import grade_row

SOURCE = "bbh"
PAPER: Final = {"direct": 56.6, "cot": 73.9}
"""Table 2, of all rows: the average of 23 tasks, in percent."""


def figures(*folders: Path) -> list[Published]:
    """Share of right answers of each task and prompt, graded anew, and the paper's averages.

    Raises:
        DataError: The set is absent or cannot be read, or tasks are missing.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places)
    rows = [row for place in places for row in read_rows(place.parent, SOURCE)]
    tasks = stated.names(WHOLE)
    stated.count(len(rows), sum(int(stated.number(WHOLE, task, "n")) for task in tasks))
    asked = Counter(row.task for row in rows)
    right = Counter(
        (row.task, way)
        for row in rows
        for way, stored in row.answers.items()
        if grade_row(row, stored.text).verdict == "right"
    )
    found = [stated.figure("rows", task, asked[task] or None, (task, "n"), 0) for task in tasks]
    for way, paper in PAPER.items():
        shares = {task: 100 * right[task, way] / asked[task] for task in asked}
        for task in tasks:
            keys = (task, way)
            title = f"{task}, {way}"
            found.append(stated.figure("accuracy", title, shares.get(task), keys, rounded(2)))
        whole = shares
        note = ""
        if not stated.is_whole:
            keys = ("average_23_groups", way)
            average = bbh_average(shares)
            found.append(stated.figure("average", f"{way}, of the part", average, keys, rounded(2)))
            keys = ("macro_average", way)
            mean = fmean(shares.values())
            found.append(stated.figure("average", f"{way}, of 27 tasks", mean, keys, rounded(2)))
            whole = {task: stated.number(WHOLE, task, way) for task in tasks}
            note = "from the stated shares of all rows"
        found.append(
            Published(
                source=SOURCE,
                kind="average",
                name=f"{way}, of 23 tasks, paper",
                published=paper,
                computed=bbh_average(whole),
                tolerance=rounded(1),
                stated_by="source",
                note=note,
            )
        )
    return found

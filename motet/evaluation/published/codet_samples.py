"""A hundred CodeGen samples a HumanEval problem, executed: pass@k (Chen et al. 2022, arXiv:2207.10397)."""

from __future__ import annotations

from pathlib import Path

from motet.errors import DataError
from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.recordings import read_objects
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.search.coverage import coverage

SOURCE = "codet_samples"


def figures(*folders: Path) -> list[Published]:
    """pass@k by the unbiased estimate, in percent.

    The paper has 50.3 and 73.7 for k = 10 and 100, by another execution of the same samples.

    Raises:
        DataError: The set is absent, or a row is malformed.
        ConfigError: The file cannot be read, or a problem has fewer samples than k.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places, is_published=False)
    rows = list(read_objects(place / "samples.jsonl.gz" for place in places))
    stated.count(len(rows), int(stated.number(WHOLE, "n")))
    try:
        counts = [
            (
                len(row["sample_index"]),
                sum(row["gold_pass"][place] for place in row["sample_index"]),
            )
            for row in rows
        ]
    except (LookupError, TypeError) as exc:
        raise DataError(f"a row of {SOURCE} is malformed: {type(exc).__name__}: {exc}") from exc
    found = [stated.figure("rows", "all", len(rows), ("n",), 0)]
    for k in (1, 2, 10, 100):
        share = 100 * coverage(k, counts)
        found.append(stated.figure("pass@k", f"k = {k}", share, (f"pass@{k}",), rounded(2)))
    return found

"""LLMBar's accuracies of judges and prompts (Zeng et al. 2023, arXiv:2310.07641)."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from motet.errors import DataError
from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import Stated, places_of
from motet.judging.datasets import JudgedPair, read_llmbar
from motet.judging.orders import accuracy

SOURCE = "llmbar"
_WHOLE = "full_set_from_statistics_json"
_NUM_PAIRS = 419
_NOTE = "the source counts some ties and unparsed replies otherwise, by up to 0.11 points"


def figures(*folders: Path) -> list[Published]:
    """Accuracy over both orders of each judge with each prompt on each subset, in percent.

    Raises:
        DataError: The set is absent or cannot be read.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places)
    pairs = [pair for place in places for pair in read_llmbar(place)]
    stated.count(len(pairs), _NUM_PAIRS)
    groups: defaultdict[tuple[str, str], list[JudgedPair]] = defaultdict(list)
    for pair in pairs:
        for judge in pair.verdicts:
            groups[pair.group, judge].append(pair)
    found = []
    for name in stated.names(_WHOLE):
        subset, _, judge = name.partition("|")
        whole = _percent(stated.find(_WHOLE, name))
        computed = _accuracy(groups[subset, judge], judge)
        if stated.is_whole:
            published, tolerance = whole, 0.11 + rounded(2)
        else:
            published, tolerance = stated.number(subset, "accuracy_pct", judge), rounded(2)
        found.append(
            Published(
                source=SOURCE,
                kind="accuracy",
                name=f"{subset}, {judge}",
                published=published,
                computed=computed,
                tolerance=tolerance,
                stated_by="source" if stated.is_whole else "data",
                whole=None if stated.is_whole else whole,
                note=_NOTE if stated.is_whole else "",
            )
        )
    return found


def _accuracy(pairs: list[JudgedPair], judge: str) -> float:
    if not pairs:
        return math.nan
    chosen = [verdict.chosen for pair in pairs for verdict in pair.verdicts[judge]]
    return 100 * accuracy(chosen, [pair.majority for pair in pairs for _ in range(2)])


def _percent(statistics: object) -> float:
    text = statistics.get("correct_average") if isinstance(statistics, dict) else None
    try:
        return float(str(text).rstrip("%"))
    except ValueError as exc:
        raise DataError(f"correct_average of {_WHOLE} is {text!r:.40}, no percentage") from exc

"""Logs of Trees of Thoughts: the Game of 24 and crosswords (Yao et al. 2023, arXiv:2305.10601)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from motet.errors import DataError
from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.recordings import percent, read_all, read_objects
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.programs.frontier.recorded import DIRECT, SAMPLED, TREE, Given

SOURCE = "tot_logs"
_CROSSWORDS: Final = ("dfs_prune", "dfs_no_prune")


def figures(*folders: Path) -> list[Published]:
    """Games won by the search, which runs again over the logged values, and by samples; words,
    letters and puzzles of the best crossword state that was visited.

    Raises:
        DataError: The set is absent, or a row is malformed.
        ConfigError: A file cannot be read.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places)
    return [*_games(places, stated), *_crosswords(places, stated)]


def _games(places: Sequence[Path], stated: Stated) -> list[Published]:
    problems = read_all(place / "game24.jsonl.gz" for place in places)
    stated.count(len(problems), int(stated.number(WHOLE, "game24", "n")))

    def of(kind: str) -> list[Sequence[Given]]:
        return [problem.solutions.get(kind, ()) for problem in problems]

    def mean(kind: str) -> float:
        return percent(fmean(s.is_right for s in given) if given else 0.0 for given in of(kind))

    def any_of(kind: str, most: int = 100) -> float:
        return percent(any(s.is_right for s in given[:most]) for given in of(kind))

    found = {
        "n": float(len(problems)),
        "tot_b5_any_of_5_pct": any_of(TREE, 5),
        "tot_b5_first_pct": any_of(TREE, 1),
        "tot_b5_mean_pct": mean(TREE),
        "cot_mean_pct": mean(SAMPLED),
        "cot_best_of_100_pct": any_of(SAMPLED),
        "standard_mean_pct": mean(DIRECT),
        "standard_best_of_100_pct": any_of(DIRECT),
    }
    return [
        stated.figure("Game of 24", name.removesuffix("_pct"), share, ("game24", name), rounded(3))
        for name, share in found.items()
    ]


def _crosswords(places: Sequence[Path], stated: Stated) -> list[Published]:
    rows = list(read_objects(place / "crosswords.jsonl.gz" for place in places))
    stated.count(len(rows), int(stated.number(WHOLE, "crosswords", "n")))
    found = [stated.figure("crosswords", "n", len(rows), ("crosswords", "n"), 0)]
    for log in _CROSSWORDS:
        words, letters = _best(rows, log, "r_word"), _best(rows, log, "r_letter")
        shares = {
            "oracle_best_state_word_pct": (percent(words), rounded(2)),
            "oracle_best_state_letter_pct": (percent(letters), rounded(2)),
            "solved": (float(sum(share == 1 for share in words)), 0.0),
        }
        for name, (computed, tolerance) in shares.items():
            keys = ("crosswords", log, name)
            title = f"{log}, {name.removesuffix('_pct')}"
            found.append(stated.figure("crosswords", title, computed, keys, tolerance))
    return found


def _best(rows: Sequence[dict[str, Any]], log: str, name: str) -> list[float]:
    """Return the highest share of any state that was visited, of each puzzle."""
    try:
        return [max((float(s["info"][name]) for s in row[log]), default=0.0) for row in rows]
    except (LookupError, TypeError, ValueError) as exc:
        raise DataError(f"a crossword of {SOURCE} is malformed: {exc!r}") from exc

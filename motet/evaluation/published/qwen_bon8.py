"""Eight sampled Qwen2.5-Math answers a problem: the best-scored, the majority and the verified."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Final

from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.recordings import percent, read_all
from motet.evaluation.published.stated import WHOLE, Stated, places_of
from motet.programs.frontier.points import points_of
from motet.programs.frontier.recorded import SAMPLED
from motet.programs.frontier.replay import ONE, replayed

SOURCE = "qwen_bon8"
_METHODS: Final = {"best": "rm@8", "majority": "maj@8_string", "verified": "pass@8"}


def figures(*folders: Path) -> list[Published]:
    """Share of problems that are right, in percent, by each way to choose among eight answers.

    Raises:
        DataError: The set is absent, or a row is none.
        ConfigError: The file cannot be read.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places, is_published=False)
    problems = read_all(place / "samples.jsonl.gz" for place in places)
    stated.count(len(problems), int(stated.number(WHOLE, "n")))
    points = points_of(replayed(problems, budgets=[8], num_seeds=1), base=ONE)
    shares = {point.method: 100 * point.accuracy.mean for point in points}
    mean = percent(
        fmean(each.is_right for each in problem.solutions[SAMPLED]) for problem in problems
    )
    return [
        stated.figure("rows", "all", len(problems), ("n",), 0),
        stated.figure("accuracy", "mean of the samples", mean, ("pass@1_mean",), rounded(3)),
        *(
            stated.figure("accuracy", method, shares.get(method), (key,), rounded(3))
            for method, key in _METHODS.items()
        ),
    ]

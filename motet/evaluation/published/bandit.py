"""Regret of UCB on the configurations of EVOLvE (Nie et al. 2024, arXiv:2410.06238)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from motet.errors import DataError
from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import Stated, places_of
from motet.routing.bandits.regret import Configuration, read_configuration, run_trials
from motet.routing.bandits.ucb import UCB

SOURCE = "bandit"
_NUM_GAMES: Final = 20
_STATED: Final = "ucb_alpha0.5_mean_regret_and_se_20_trials"


def figures(*folders: Path) -> list[Published]:
    """Mean regret of UCB with alpha 0.5 over twenty games, and its error, played again.

    The authors state no regrets; these were worked out apart when the data were collected, with an
    error that divides by the number of games rather than by one less.

    Raises:
        DataError: The set is absent or cannot be read, or stands in several folders.
    """
    places = places_of(SOURCE, folders)
    stated = Stated(SOURCE, places)
    stated.count(len(places), None)
    played: dict[tuple[Configuration, int], tuple[float, float]] = {}
    found = []
    for bench, records in _benches(places[0] / "benches.json").items():
        said = stated.find(bench)
        if not isinstance(said, list) or len(said) != len(records):
            raise DataError(
                f"{SOURCE}: the regrets of {bench} are not stated, one for each configuration"
            )
        for record, entry in zip(records, said, strict=True):
            world, horizon = read_configuration(record), record.get("horizon")
            if not isinstance(horizon, int):
                raise DataError(f"{bench} of {SOURCE} has a horizon of {horizon!r:.40}")
            if (world, horizon) not in played:
                played[world, horizon] = _regret(world, horizon)
            try:
                name = f"{bench}, {entry['env']}, {horizon} steps"
                mean, error = map(float, entry[_STATED])
            except (LookupError, TypeError, ValueError) as exc:
                raise DataError(f"{bench} of {SOURCE} states {entry!r:.80}: {exc!r}") from exc
            for kind, value, published in zip(
                ("regret", "regret, error"), played[world, horizon], (mean, error), strict=True
            ):
                found.append(
                    Published(
                        source=SOURCE,
                        kind=kind,
                        name=name,
                        published=published,
                        computed=value,
                        tolerance=rounded(2),
                        stated_by="data",
                    )
                )
    return found


def _regret(world: Configuration, horizon: int) -> tuple[float, float]:
    trials = run_trials(
        lambda _seed: UCB(rewards=None), world, horizon=horizon, seeds=range(_NUM_GAMES)
    )
    error = (trials.standard_error or 0.0) * ((_NUM_GAMES - 1) / _NUM_GAMES) ** 0.5
    return trials.mean_regret, error


def _benches(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DataError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(read, dict) or not all(
        isinstance(records, list) and all(isinstance(each, dict) for each in records)
        for records in read.values()
    ):
        raise DataError(f"{path} holds no lists of configurations")
    return read

"""Bradley-Terry ratings of models from verdicts on pairs of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from motet.errors import DataError
from motet.judging.verdicts import WINNERS, Winner
from motet.packages import imported
from motet.search.settings import number, one_of, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """One comparison of two models.

    Raises:
        ConfigError: The winner is unknown.
        DataError: A model plays itself.
    """

    first: str
    second: str
    winner: Winner
    """`A` is the first model; orders are reconciled before."""

    def __post_init__(self) -> None:
        one_of("winner", self.winner, WINNERS)
        if self.first == self.second:
            raise DataError(f"{self.first!r} plays itself; a game is of two models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A model's strength; 400 points (with the default scale) are odds of ten to one."""

    value: float
    low: float
    high: float
    """Bounds of the bootstrap interval; both are `value` where there were no resamples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Ratings of all models, best first."""

    ratings: Mapping[str, Rating]
    anchor: str
    scale: float
    num_games: int
    num_errors: int
    """Games without a readable verdict, left out."""
    num_unbounded: int
    """Resamples that have no finite ratings, left out of the intervals."""

    def win_probability(self, first: str, second: str) -> float:
        """Return how probably `first` beats `second`, a tie being half.

        Raises:
            DataError: One of them was not rated.
        """
        for name in (first, second):
            if name not in self.ratings:
                raise DataError(f"{name!r} has no rating; known are {sorted(self.ratings)}")
        points = self.ratings[first].value - self.ratings[second].value
        # tanh cannot overflow, whatever the gap.
        return 0.5 + 0.5 * math.tanh(points * math.log(10) / self.scale / 2)


def bradley_terry(
    games: Sequence[Game],
    *,
    anchor: str,
    anchor_rating: float = 1000.0,
    scale: float = 400.0,
    prior_deviation: float | None = None,
    num_resamples: int = 0,
    level: float = 0.95,
    seed: int = 0,
) -> Ranking:
    """Fit ratings by logistic regression of who won on who played; a tie is half a win of each.

    Args:
        anchor: The model whose rating is set to `anchor_rating`.
        prior_deviation: In points: ratings are taken to be normal about a common mean, with this
            standard deviation. It bounds those who always win, and relates models that never met.
            With None nothing is assumed, and such games are an error.
        num_resamples: Bootstrap resamples of the games for the intervals.
        level: Share of resamples inside an interval.

    Raises:
        DataError: No game, an anchor that did not play, or without a prior: models who never met,
            not even through others, or a group that won or lost all games with the rest.
        ConfigError: A setting is out of range, or scikit-learn is not installed.

    Source: Bradley and Terry 1952, Biometrika 39; ratings as in the Chatbot Arena, Chiang et al.
    2024, arXiv:2403.04132. There ties are dropped or halved; here they are halved.
    """
    import numpy as np

    number("anchor_rating", anchor_rating)
    number("scale", scale, 1e-9)
    number("level", level, 0, 1)
    whole("num_resamples", num_resamples, 0)
    whole("seed", seed, 0)
    if prior_deviation is not None:
        number("prior_deviation", prior_deviation, 1e-9)
    read = [game for game in games if game.winner != "error"]
    names = sorted({name for game in read for name in (game.first, game.second)})
    if anchor not in names:
        raise DataError(f"anchor {anchor!r} has no readable game; models that have: {names}")
    outcomes, halves = _outcomes(read, names)
    points = scale / math.log(10)
    strength = math.inf if prior_deviation is None else (prior_deviation / points) ** 2
    won = _wins(outcomes, halves, len(names))
    if prior_deviation is None:
        _check_bounded(won, names)
    base = names.index(anchor)
    values = _fit(won, strength, base)
    draws: list[Floats] = []
    chances = np.random.default_rng(seed)
    for _ in range(num_resamples):
        picked = chances.integers(len(read), size=len(read))
        again = _wins(outcomes[picked], halves[picked], len(names))
        if prior_deviation is not None or len(_strong_parts(again)) == 1:
            draws.append(_fit(again, strength, base))
    if num_resamples and not draws:
        raise DataError(
            f"none of {num_resamples} resamples has finite ratings: too few games; "
            "give prior_deviation"
        )
    tail = (1 - level) / 2
    bounds = np.quantile(np.array(draws or [values]), [tail, 1 - tail], axis=0)
    rated = anchor_rating + points * np.vstack([values, bounds])
    best_first = sorted(range(len(names)), key=lambda place: (-rated[0, place], names[place]))
    return Ranking(
        ratings={names[m]: Rating(**_rating(rated[:, m])) for m in best_first},
        anchor=anchor,
        scale=scale,
        num_games=len(read),
        num_errors=len(games) - len(read),
        num_unbounded=num_resamples - len(draws),
    )


def _rating(column: Floats) -> dict[str, float]:
    return {name: float(v) for name, v in zip(("value", "low", "high"), column, strict=True)}


def _outcomes(games: Sequence[Game], names: list[str]) -> tuple[Any, Floats]:
    """Return winner and loser of each game [G, 2], and what the loser takes [G]: 0 or a half."""
    import numpy as np

    places = {name: place for place, name in enumerate(names)}
    pairs = [(g.second, g.first) if g.winner == "B" else (g.first, g.second) for g in games]
    outcomes = np.array([(places[a], places[b]) for a, b in pairs], dtype=np.intp).reshape(-1, 2)
    return outcomes, np.array([0.5 * (game.winner == "tie") for game in games])


def _wins(outcomes: Any, halves: Floats, size: int) -> Floats:
    """Return wins [M, M] of the row's model over the column's."""
    import numpy as np

    won = np.zeros((size, size))
    np.add.at(won, (outcomes[:, 0], outcomes[:, 1]), 1 - halves)
    np.add.at(won, (outcomes[:, 1], outcomes[:, 0]), halves)
    return won


def _fit(won: Floats, strength: float, base: int) -> Floats:
    """Return log odds [M] over the model `base`."""
    import numpy as np

    better, worse = np.nonzero(won)
    rows = np.arange(len(better))
    design = np.zeros((len(better), len(won)))
    design[rows, better], design[rows, worse] = 1.0, -1.0
    regression = imported("sklearn.linear_model").LogisticRegression(
        C=strength, fit_intercept=False, tol=1e-8, max_iter=10_000
    )
    # Each win stands as a win of one and as a loss of the other: a fit needs both classes.
    weight = won[better, worse] / 2
    regression.fit(
        np.vstack([design, -design]),
        np.repeat([1, 0], len(rows)),
        sample_weight=np.concatenate([weight, weight]),
    )
    values: Floats = regression.coef_[0]
    return values - values[base]


def _check_bounded(won: Floats, names: list[str]) -> None:
    import numpy as np

    met = _parts((won + won.T) > 0)
    if len(met) > 1:
        groups = "; ".join(", ".join(names[m] for m in part) for part in met)
        raise DataError(f"these groups of models never met: {groups}; give prior_deviation")
    strong = _strong_parts(won)
    if len(strong) > 1:
        for part in strong:
            rest = np.setdiff1d(np.arange(len(names)), part)
            outside = won[np.ix_(part, rest)].sum(), won[np.ix_(rest, part)].sum()
            if not all(outside):
                result = "won" if outside[0] else "lost"
                raise DataError(
                    f"{', '.join(names[m] for m in part)} {result} every game with the others, "
                    "so that no finite rating fits; give prior_deviation"
                )


def _strong_parts(won: Floats) -> list[list[int]]:
    return _parts(won > 0, "strong")


def _parts(edges: Any, connection: str = "weak") -> list[list[int]]:
    graphs = imported("scipy.sparse.csgraph")
    count, labels = graphs.connected_components(edges, directed=True, connection=connection)
    return [[m for m, label in enumerate(labels) if label == part] for part in range(count)]

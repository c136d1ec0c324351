"""Fitting a cascade: which models, in which order, with which thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import perm
from typing import TYPE_CHECKING, Any, Final

from motet.errors import ConfigError, DataError
from motet.routing.cascade import (
    NEVER,
    Cascade,
    check_confidences,
    check_models,
    columns_of,
    tried,
)
from motet.search.settings import number, several, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats, Outcomes

ROUNDING: Final = 1e-9
"""Share by which a mean may miss a bound, for sums differ with their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCascade:
    """A cascade, and what it gave on the prompts that it was fitted to."""

    cascade: Cascade
    mean_score: float
    """On the calibration prompts; expect less on others, for the thresholds were chosen on them."""
    mean_cost: float
    num_prompts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeFit:
    """Find the cascade with the best mean score under a mean cost, or the cheapest with a score.

    Every chain of up to `max_models` models is tried. Thresholds come from a grid of survival:
    the share of all prompts that is passed on past each model, which cannot grow along a chain.
    Then each threshold of the best chains is moved alone, over the confidences between its
    neighbours on the grid, as long as that helps. Single models are chains too, so the result is
    never worse on the calibration prompts than the best one that is affordable.

    Source: FrugalGPT, Chen et al. 2023, arXiv:2305.05176, and its code. Departures: the local
    search is exact along one threshold at a time, in place of a simplex; confidences that are
    equal are never parted.

    Raises:
        ConfigError: A setting is out of range; names it.
    """

    max_mean_cost: float | None = None
    """Bound of the mean cost of a prompt; the score is maximised."""
    min_mean_score: float | None = None
    """Bound of the mean score; the cost is minimised. Exactly one of the two is set."""
    max_models: int = 3
    num_quantiles: int = 40
    """Steps of the survival grid of each threshold."""
    num_refined: int = 8
    """Best chains of the grid whose thresholds are refined."""
    chains: tuple[tuple[str, ...], ...] | None = None
    """The chains to try, in place of all; single models are tried in any case."""
    max_chains: int = 5000

    def __post_init__(self) -> None:
        if (self.max_mean_cost is None) == (self.min_mean_score is None):
            raise ConfigError(
                f"max_mean_cost is {self.max_mean_cost!r} and min_mean_score is "
                f"{self.min_mean_score!r}; exactly one of the two must be set"
            )
        if self.max_mean_cost is not None:
            number("max_mean_cost", self.max_mean_cost, 0)
        if self.min_mean_score is not None:
            number("min_mean_score", self.min_mean_score, 0, 1)
        whole("max_models", self.max_models)
        whole("num_quantiles", self.num_quantiles, 2, 1000)
        whole("num_refined", self.num_refined, 0)
        whole("max_chains", self.max_chains)
        if self.chains is not None:
            several("chains", self.chains)
            for chain in self.chains:
                check_models(chain)

    def fit(self, outcomes: Outcomes, confidences: Floats) -> FittedCascade:
        """Return the best cascade for these prompts; the same each time.

        Args:
            confidences: [P, M], 0 to 1, NaN where unknown. A scorer that was trained on these
                prompts is surer of them than of others, and thresholds fitted to that are too
                low: score each prompt by a scorer that did not see it (`cross_fitted`).

        Raises:
            ConfigError: There are more chains than `max_chains`.
            DataError: No cascade keeps the bound, and says which comes closest; a model was not
                tried on a prompt; the confidences do not fit.
        """
        table = tried(outcomes, outcomes.models)
        sure = check_confidences(confidences, outcomes)
        points = [
            point
            for chain in self._chains(table)
            if (point := self._best_on_grid(_Chain(table, sure, chain))) is not None
        ]
        best = sorted(points, key=self._rank)
        best += [self._refined(point) for point in best[: self.num_refined]]
        kept = [point for point in best if self._keeps(point.score, point.cost)]
        if not kept:
            raise DataError(self._closest(table, best))
        winner = min(kept, key=self._rank)
        winner = winner.chain.at(winner.thresholds)
        return FittedCascade(
            cascade=Cascade(models=winner.chain.models, thresholds=winner.thresholds),
            mean_score=winner.score,
            mean_cost=winner.cost,
            num_prompts=len(table.prompts),
        )

    def _chains(self, table: Outcomes) -> list[tuple[str, ...]]:
        singles = [(model,) for model in table.models]
        if self.chains is not None:
            return [*singles, *(chain for chain in self.chains if len(chain) > 1)]
        longest = min(self.max_models, len(table.models))
        count = sum(perm(len(table.models), length) for length in range(1, longest + 1))
        if count > self.max_chains:
            raise ConfigError(
                f"max_chains is {self.max_chains}; {len(table.models)} models in chains of up to "
                f"{longest} make {count}: name `chains`, lower `max_models`, or take fewer models"
            )
        longer = [
            chain
            for length in range(2, longest + 1)
            for chain in permutations(table.models, length)
        ]
        return singles + longer

    def _best_on_grid(self, chain: _Chain) -> _Point | None:
        """Return the chain's best point that keeps the bound, else the one closest to it."""
        limit = self.max_mean_cost
        if limit is not None and len(chain.models) > 1 and chain.costs[:, 0].mean() > limit:
            return None
        return min(chain.grid(self.num_quantiles), key=self._rank)

    def _refined(self, point: _Point) -> _Point:
        """Move one threshold at a time for as long as that helps."""
        best = point
        for _ in range(10):
            before = best
            for place in range(len(best.thresholds)):
                options = best.chain.near(best.thresholds, place, self.num_quantiles)
                best = min([best, *options], key=self._rank)
            if best is before:
                break
        return best

    def _keeps(self, score: float, cost: float) -> bool:
        if self.max_mean_cost is not None:
            return cost <= self.max_mean_cost * (1 + ROUNDING)
        return score >= (self.min_mean_score or 0) * (1 - ROUNDING)

    def _rank(self, point: _Point) -> tuple[float, ...]:
        """Sort those that keep the bound first, by what is sought; then those closest to it."""
        score, cost, length = -round(point.score, 12), point.cost, len(point.thresholds)
        keeps = self._keeps(point.score, point.cost)
        if self.max_mean_cost is not None:
            return (0, score, cost, length) if keeps else (1, cost, score, length)
        return (0, cost, score, length) if keeps else (1, score, cost, length)

    def _closest(self, table: Outcomes, best: Sequence[_Point]) -> str:
        if self.max_mean_cost is not None:
            means = table.costs.mean(axis=0)
            cheapest = int(means.argmin())
            return (
                f"max_mean_cost is {self.max_mean_cost!r}; the cheapest model, "
                f"{table.models[cheapest]!r}, costs {float(means[cheapest]):.6g} a prompt"
            )
        point = min(best, key=self._rank)
        return (
            f"min_mean_score is {self.min_mean_score!r}; the best that was reached is "
            f"{point.score:.6g}, by {' -> '.join(point.chain.models)} at {point.cost:.6g} a prompt"
        )


@dataclass(frozen=True, slots=True)
class _Point:
    chain: _Chain
    thresholds: tuple[float, ...]
    score: float
    cost: float


class _Chain:
    """One order of models over the calibration prompts."""

    def __init__(self, table: Outcomes, sure: Floats, models: tuple[str, ...]) -> None:
        columns = columns_of(table, models)
        self.models = models
        self.scores: Any = table.scores[:, columns]
        self.costs: Any = table.costs[:, columns]
        self.sure: Any = sure[:, columns]

    def at(self, thresholds: tuple[float, ...]) -> _Point:
        """Return the means of one choice of thresholds."""
        import numpy as np

        rows = np.arange(len(self.scores))
        score = cost = 0.0
        for place in range(len(self.models)):
            cost += float(self.costs[rows, place].sum())
            if place == len(thresholds):
                score += float(self.scores[rows, place].sum())
                break
            accepted = self.sure[rows, place] >= thresholds[place]
            score += float(self.scores[rows[accepted], place].sum())
            rows = rows[~accepted]
        return _Point(self, thresholds, score / len(self.scores), cost / len(self.scores))

    def grid(self, num_quantiles: int) -> Iterator[_Point]:
        """Yield a point for each choice of survival shares that do not grow along the chain."""
        import numpy as np

        num_rows, num_cuts = len(self.scores), len(self.models) - 1
        if not num_cuts:
            yield self.at(())
            return

        shares = [round(i / num_quantiles * num_rows) for i in range(num_quantiles + 1)]

        def cuts(place: int, rows: Any) -> list[float]:
            return sorted({*_survival(self.sure[rows, place], shares)})

        def below(
            chosen: tuple[float, ...], rows: Any, score: float, cost: float
        ) -> Iterator[_Point]:
            place = len(chosen)
            spent = cost + float(self.costs[rows, place].sum())
            if place == num_cuts - 1:
                sums = _LastCut(self, place, rows)
                for threshold in cuts(place, rows):
                    gained, paid = sums.beyond(threshold)
                    means = (score + gained) / num_rows, (spent + paid) / num_rows
                    yield _Point(self, (*chosen, threshold), *means)
                return
            for threshold in cuts(place, rows):
                accepted = self.sure[rows, place] >= threshold
                gained = score + float(self.scores[rows[accepted], place].sum())
                yield from below((*chosen, threshold), rows[~accepted], gained, spent)

        yield from below((), np.arange(num_rows), 0.0, 0.0)

    def near(
        self, thresholds: tuple[float, ...], place: int, num_quantiles: int
    ) -> Iterator[_Point]:
        """Yield the points where one threshold moves between its neighbours on the grid."""
        import numpy as np

        known = self.sure[:, place]
        values = np.append(np.unique(known[~np.isnan(known)]), NEVER)
        middle = int(np.searchsorted(values, thresholds[place]))
        reach = -(-len(values) // num_quantiles)
        for value in values[max(middle - reach, 0) : middle + reach + 1]:
            moved = (*thresholds[:place], float(value), *thresholds[place + 1 :])
            yield self.at(moved)


class _LastCut:
    """Sums of what the last two models give, for each threshold of the first of them."""

    def __init__(self, chain: _Chain, place: int, rows: Any) -> None:
        import numpy as np

        known = np.where(np.isnan(chain.sure[rows, place]), -np.inf, chain.sure[rows, place])
        order = np.argsort(known, kind="stable")
        rows = rows[order]
        own = np.append(0.0, chain.scores[rows, place].cumsum())
        self.sorted = known[order]
        self.gained = own[-1] - own + np.append(0.0, chain.scores[rows, place + 1].cumsum())
        self.paid = np.append(0.0, chain.costs[rows, place + 1].cumsum())

    def beyond(self, threshold: float) -> tuple[float, float]:
        """Return the sum of scores of both models, and of the costs of the second."""
        num_passed = int(self.sorted.searchsorted(threshold, side="left"))
        return float(self.gained[num_passed]), float(self.paid[num_passed])


def survival_threshold(confidences: Floats, num_survivors: int) -> float:
    """Return the threshold that passes on the least confident answers, as many as asked for.

    The result does not fall as `num_survivors` grows. Equal confidences go one way together, so
    fewer may survive; an unknown one always does.

    Args:
        confidences: [N], NaN where unknown.
        num_survivors: As many as N or more pass on all.

    Returns:
        One of the confidences, or `NEVER`.
    """
    return _survival(confidences, [num_survivors])[0]


def _survival(confidences: Floats, nums_survivors: Sequence[int]) -> list[float]:
    import numpy as np

    ordered = np.sort(np.where(np.isnan(confidences), -np.inf, confidences))
    ordered = np.append(ordered, NEVER)
    first_known = int(np.searchsorted(ordered, -np.inf, side="right"))
    thresholds: list[float] = ordered[
        np.clip(nums_survivors, first_known, len(confidences))
    ].tolist()
    return thresholds

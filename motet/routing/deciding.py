"""From estimated scores and prices to the model that is to answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from motet.errors import ConfigError, DataError
from motet.routing.curves import choose
from motet.routing.router import Decision
from motet.search.settings import number, some_text

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats

Prices = Mapping[str, float | None]
"""Expected cost of an answer of each model, in one unit; None where unknown."""

ROUNDING: Final = 1e-9
"""Share by which a mean of many prices may pass a limit: it is no more exact than that."""


class Rule(Protocol):
    """How to choose among models; a frozen dataclass of settings."""

    def decide(self, estimates: Mapping[str, float], prices: Prices) -> Decision:
        """Choose a model.

        Raises:
            DataError: No model, an estimate that is no number, an unknown price that counts, or
                no model that the rule allows.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorthItsPrice:
    """The model of greatest `willingness` * score - price; of equal ones the cheaper.

    Source: Hu et al. 2024 (RouterBench), arXiv:2403.12031, where the factor is lambda.
    """

    willingness: float
    """What a score of 1 is worth, in the unit of the prices. With 0 the cheapest model answers."""

    def __post_init__(self) -> None:
        number("willingness", self.willingness, 0)

    def decide(self, estimates: Mapping[str, float], prices: Prices) -> Decision:
        """Choose a model.

        Raises:
            DataError: No model, an estimate that is no number, or an unknown price.
        """
        _check(estimates)
        known = _known_prices(estimates, prices)
        worth = {model: self.willingness * score for model, score in estimates.items()}
        best = min(estimates, key=lambda model: (known[model] - worth[model], known[model]))
        reason = (
            f"{best}: a score of {estimates[best]:.3g} at {self.willingness:g} for a score of 1 "
            f"is worth most beyond its price of {known[best]:g}"
        )
        return Decision(model=best, reason=reason, price=known[best], estimates=estimates)


@dataclass(frozen=True, slots=True, kw_only=True)
class BestWithin:
    """The model of highest score among those of at most `max_price`; of equal ones the cheaper."""

    max_price: float

    def __post_init__(self) -> None:
        number("max_price", self.max_price, 0)

    def decide(self, estimates: Mapping[str, float], prices: Prices) -> Decision:
        """Choose a model.

        Raises:
            DataError: No model, an estimate that is no number, an unknown price, or none so cheap.
        """
        _check(estimates)
        known = _known_prices(estimates, prices)
        cheapest = min(estimates, key=lambda model: known[model])
        if known[cheapest] > self.max_price:
            raise DataError(
                f"no model costs at most {self.max_price:g}; {cheapest!r}, the cheapest, costs "
                f"{known[cheapest]:g}"
            )
        allowed = [model for model in estimates if known[model] <= self.max_price]
        best = min(allowed, key=lambda model: (-estimates[model], known[model]))
        reason = (
            f"{best}: a score of {estimates[best]:.3g} is the highest of the {len(allowed)} "
            f"models of a price up to {self.max_price:g}"
        )
        return Decision(model=best, reason=reason, price=known[best], estimates=estimates)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheapestReaching:
    """The cheapest model whose score reaches `min_score`; where none does, the highest score."""

    min_score: float

    def __post_init__(self) -> None:
        number("min_score", self.min_score, 0, 1)

    def decide(self, estimates: Mapping[str, float], prices: Prices) -> Decision:
        """Choose a model.

        Raises:
            DataError: No model, an estimate that is no number, or an unknown price.
        """
        _check(estimates)
        known = _known_prices(estimates, prices)
        allowed = [model for model in estimates if estimates[model] >= self.min_score]
        if allowed:
            best = min(allowed, key=lambda model: (known[model], -estimates[model]))
            reason = (
                f"{best}: the cheapest of the {len(allowed)} models that reach {self.min_score:g}"
            )
        else:
            best = min(estimates, key=lambda model: (-estimates[model], known[model]))
            reason = f"{best}: the highest score, as no model reaches {self.min_score:g}"
        return Decision(model=best, reason=reason, price=known[best], estimates=estimates)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrongFrom:
    """The strong of two models where its win rate reaches `threshold`, else the weak one.

    Source: Ong et al. 2024 (RouteLLM), arXiv:2406.18665.
    """

    strong: str
    weak: str
    threshold: float
    """0 sends everything to `strong`, more than 1 everything to `weak`."""

    def __post_init__(self) -> None:
        some_text("strong", self.strong)
        some_text("weak", self.weak)
        if self.strong == self.weak:
            raise ConfigError(f"strong and weak are both {self.weak!r}; they must be two models")
        number("threshold", self.threshold, 0)

    def decide(self, estimates: Mapping[str, float], prices: Prices) -> Decision:
        """Choose between the two; prices do not count.

        Raises:
            DataError: A model without an estimate, or an estimate that is no number.
        """
        _check(estimates)
        for model in (self.strong, self.weak):
            if model not in estimates:
                raise DataError(f"model {model!r} has no estimate; there are {list(estimates)}")
        rate = win_rate(estimates[self.strong], estimates[self.weak])
        chosen, comparison = self.weak, "is below"
        if rate >= self.threshold:
            chosen, comparison = self.strong, "reaches"
        reason = (
            f"{chosen}: the win rate {rate:.3g} of {self.strong} {comparison} {self.threshold:g}"
        )
        return Decision(
            model=chosen, reason=reason, price=_price(chosen, prices), estimates=estimates
        )


def win_rate(strong: Any, weak: Any) -> Any:
    """Return how often the strong model is expected to win, from scores, or arrays of them.

    Of two models whose estimates are win rates (they sum to 1) it is the strong one's; of scores
    from 0 to 1 it is the half of 1 + their difference.
    """
    return (1 + strong - weak) / 2


def willingness_for_cost(estimates: Floats, prices: Floats, mean_cost: float) -> float:
    """Return the greatest willingness to pay that spends at most `mean_cost` a prompt.

    Args:
        estimates: [Q, M], of prompts like those to come.
        prices: [M]

    Raises:
        DataError: Even the cheapest model costs more, a price or an estimate is no number, or
            sizes differ.
        ConfigError: `mean_cost` is negative.
    """
    import numpy as np

    number("mean_cost", mean_cost, 0)
    scores, known = (np.asarray(each, dtype=np.float64) for each in (estimates, prices))
    if scores.ndim != 2 or not scores.size or known.shape != scores.shape[1:]:
        raise DataError(f"estimates {scores.shape} and prices {known.shape} do not fit")
    if not np.isfinite(scores).all() or not np.isfinite(known).all() or known.min() < 0:
        raise DataError(f"estimates and prices must be finite, and prices from 0; they are {known}")
    if known.min() > mean_cost:
        raise DataError(f"mean_cost is {mean_cost:g}; the cheapest model costs {known.min():g}")

    def fits(willingness: float) -> bool:
        spent = float(known[choose(scores, known, willingness)].mean())
        return spent <= mean_cost * (1 + ROUNDING)

    steps = _turning_points(scores, known)
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(steps[middle]) else (low, middle)
    return float(steps[low])


def _turning_points(scores: Floats, prices: Floats) -> Floats:
    """Return a willingness between each two at which some prompt changes its model, sorted."""
    import numpy as np

    points = [np.zeros(1)]
    for dear in range(len(prices)):
        for cheap in range(len(prices)):
            gains = scores[:, dear] - scores[:, cheap]
            if prices[dear] > prices[cheap]:
                points.append((prices[dear] - prices[cheap]) / gains[gains > 1e-12])
    turns = np.unique(np.concatenate(points))
    between = (turns[:-1] + turns[1:]) / 2
    return np.concatenate([np.zeros(1), between, [2 * turns[-1]]])


def _check(estimates: Mapping[str, float]) -> None:
    if not estimates:
        raise DataError("there are no estimates; a decision needs at least one model")
    for model, score in estimates.items():
        if not math.isfinite(score):
            raise DataError(f"the estimate of model {model!r} is {score!r}; it must be finite")


def _price(model: str, prices: Prices) -> float | None:
    price = prices.get(model)
    if price is None or math.isnan(price):
        return None
    if not 0 <= price < math.inf:
        raise DataError(f"the price of model {model!r} is {price!r}; it must be finite, from 0")
    return float(price)


def _known_prices(estimates: Mapping[str, float], prices: Prices) -> dict[str, float]:
    known = {}
    for model in estimates:
        price = _price(model, prices)
        if price is None:
            raise DataError(f"the price of model {model!r} is unknown, and prices count here")
        known[model] = price
    return known

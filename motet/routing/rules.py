"""Rules by name: `worth-its-price(willingness=40)`, `best-within(max_price=3)`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from motet.errors import DataError
from motet.routing.router import Decision
from motet.search.registry import find_algorithm

if TYPE_CHECKING:
    from motet.routing.deciding import Prices, Rule

RULES: Final[dict[str, str]] = {
    "best-within": "motet.routing.deciding:BestWithin",
    "cheapest-reaching": "motet.routing.deciding:CheapestReaching",
    "highest-score": "motet.routing.rules:HighestScore",
    "strong-from": "motet.routing.deciding:StrongFrom",
    "worth-its-price": "motet.routing.deciding:WorthItsPrice",
}
"""Name -> module and class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HighestScore:
    """The model of highest score, whatever it costs; of equal ones the cheaper, as far as known."""

    def decide(self, estimates: Mapping[str, float], prices: Prices) -> Decision:
        """Choose a model; prices need not be known.

        Raises:
            DataError: No model, or an estimate that is no number.
        """
        if not estimates:
            raise DataError("there are no estimates; a decision needs at least one model")
        for model, score in estimates.items():
            if not math.isfinite(score):
                raise DataError(f"the estimate of model {model!r} is {score!r}; it must be finite")

        def worth(model: str) -> tuple[float, float]:
            price = prices.get(model)
            return -estimates[model], math.inf if price is None else price

        best = min(estimates, key=worth)
        return Decision(
            model=best,
            reason=f"{best}: a score of {estimates[best]:.3g} is the highest",
            price=prices.get(best),
            estimates=estimates,
        )


def find_rule(text: str) -> Rule:
    """Return the rule that `text` names; its settings are Python literals.

    Raises:
        ConfigError: There is no such rule or setting, one is missing, or a value is wrong.
    """
    return cast("Rule", cast(Any, find_algorithm(text, RULES, what="rule")))

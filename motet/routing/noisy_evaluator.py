"""The cascading router of RouterBench: an evaluator that errs stops or passes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.routing.cascade import Played, check_models, played, tried
from motet.search.settings import number, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyEvaluator:
    """Ask from the cheapest model up until an evaluator, who sees the true score, accepts.

    A score is good where it reaches the `quantile` of all scores in the table, and the verdict is
    flipped with probability `epsilon`. It is a bound on what a cascade can reach, not a cascade
    that can be served: the true score is not known there.

    Before each call but the first that costs something it stops where the call would use up
    what is left of `max_cost`.

    Source: RouterBench, Hu et al. 2024, arXiv:2403.12031, and its code. Departures: the order is
    by mean cost on the table, not by a price list; ties keep the order of the table; the flips of
    a row and a model do not depend on the other settings.
    """

    epsilon: float = 0.0
    """Probability that the verdict on an answer is the wrong one."""
    max_cost: float | None = None
    """Most that one prompt may cost, in the unit of the table."""
    quantile: float = 0.95
    models: tuple[str, ...] | None = None
    """In the order in which they are asked; all, from the cheapest, where None."""
    seed: int = 0

    def __post_init__(self) -> None:
        number("epsilon", self.epsilon, 0, 1)
        number("quantile", self.quantile, 0, 1)
        whole("seed", self.seed, 0)
        if self.max_cost is not None:
            number("max_cost", self.max_cost, 0)
        if self.models is not None:
            check_models(self.models)

    def play(self, outcomes: Outcomes) -> Played:
        """Return what this router would have given on each prompt of a table.

        Raises:
            DataError: A model is not in the table, or was not tried on a prompt.
        """
        import numpy as np

        table = tried(outcomes, self.models or cheapest_first(outcomes))
        num_rows, num_models = table.scores.shape
        is_good = table.scores >= np.quantile(table.scores, self.quantile)
        is_flipped = np.random.default_rng(self.seed).random((num_rows, num_models)) < self.epsilon
        accepts = is_good != is_flipped
        called = np.zeros((num_rows, num_models), dtype=bool)
        answer = np.full(num_rows, -1)
        spent = np.zeros(num_rows)
        is_open = np.ones(num_rows, dtype=bool)
        for place in range(num_models):
            if self.max_cost is not None:
                is_open &= (spent == 0) | (table.costs[:, place] < self.max_cost - spent)
            called[is_open, place] = True
            answer[is_open] = place
            spent[is_open] += table.costs[is_open, place]
            is_open &= ~accepts[:, place]
        return played(table, called, answer)


def cheapest_first(outcomes: Outcomes) -> tuple[str, ...]:
    """Return the models by mean cost; of equals, in the order of the table.

    Raises:
        DataError: A model was not tried on a prompt.
    """
    table = tried(outcomes, outcomes.models)
    order = table.costs.mean(axis=0).argsort(kind="stable")
    return tuple(table.models[i] for i in order)

"""Cascade routing: after each answer, choose anew among all the models not yet asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

from motet.errors import ConfigError, DataError
from motet.routing.cascade import Played, played, tried
from motet.search.settings import flag, number, one_of, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Floats, Outcomes

MOST_MODELS: Final = 16
"""The sets of more are too many."""
ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beliefs:
    """What is expected of each of M models on each of P prompts, in the order of the table.

    Raises:
        DataError: Shapes do not agree, or a value is not finite, or a deviation or price negative.
    """

    before: Floats
    """[P, M], expected score of the answer, before it is there."""
    after: Floats
    """[P, M], expected score of the answer, once it was read: what a scorer says of it."""
    prices: Floats
    """[P, M], expected cost of the call."""
    before_deviation: Floats
    """[M], standard deviation of the error of `before`."""
    after_deviation: Floats
    """[M], of the error of `after`."""

    def __post_init__(self) -> None:
        import numpy as np

        shape = np.shape(self.before)
        if len(shape) != 2 or not all(shape):
            raise DataError(f"before has the shape {shape}; it must be [prompts, models]")
        for name in ("before", "after", "prices", "before_deviation", "after_deviation"):
            values = np.array(getattr(self, name), dtype=np.float64)
            wanted = shape[1:] if name.endswith("deviation") else shape
            if values.shape != wanted:
                raise DataError(f"{name} has the shape {values.shape}; it must be {wanted}")
            least = -np.inf if name in {"before", "after"} else 0.0
            if not (np.isfinite(values) & (values >= least)).all():
                raise DataError(f"{name} holds a value that is not finite, or negative")
            values.flags.writeable = False
            object.__setattr__(self, name, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeRouting:
    """Ask the model with which the best set of models begins; stop where the best set is asked.

    The worth of a set of models is the expected greatest score of its answers, less `cost_weight`
    times its price. What was asked is paid, and its price changes nothing. Of the best set the
    cheapest model that was not asked comes next. The answer that is expected to be best stands.

    With `max_calls=1` it is routing: the model of the greatest expected score less weighted
    price. With `kind="cascade"` the sets are the beginnings of the order of the models, worth what
    their last model is expected to give, and the last answer stands: a cascade.

    Expected greatest scores are means over `num_samples` normal draws, the same for all sets. Over
    fixed draws the gain of one more model does not grow with the set, so a set is extended only
    by models that pay for themselves, and no best set is missed.

    Source: Dekoninck et al. 2024, arXiv:2410.10347, and its code (eth-sri/cascade-routing).
    Departures: one weight for all steps; errors of different models are independent; between
    equal sets the smaller price is chosen, without mixing; the cheapest model of a set comes
    first, where the code takes the first by order.

    Raises:
        ConfigError: A setting is out of range; names it.
    """

    cost_weight: float
    """Score that one unit of cost is worth."""
    max_calls: int | None = None
    """Most calls for one prompt; None for all models."""
    kind: Literal["any", "cascade"] = "any"
    num_samples: int = 256
    """Draws of each expected greatest score; even, for each comes with its mirror image."""
    prune: bool = True
    """False tries every set; the result is the same."""
    seed: int = 0

    def __post_init__(self) -> None:
        number("cost_weight", self.cost_weight, 0)
        if self.max_calls is not None:
            whole("max_calls", self.max_calls)
        one_of("kind", self.kind, ("any", "cascade"))
        whole("num_samples", self.num_samples, 2, 100_000)
        if self.num_samples % 2:
            raise ConfigError(f"num_samples is {self.num_samples}; it must be even")
        flag("prune", self.prune)
        whole("seed", self.seed, 0)

    def next_model(self, beliefs: Beliefs, row: int, asked: Sequence[int]) -> int | None:
        """Return the column of the model to ask next for one prompt, None to stop.

        Args:
            asked: Columns of the models that were asked already.

        Raises:
            ConfigError: There are more than 16 models.
            DataError: There is no such row or column.
        """
        num_rows, num_models = beliefs.before.shape
        if num_models > MOST_MODELS:
            raise ConfigError(f"{num_models} models; cascade routing takes {MOST_MODELS} at most")
        if not 0 <= row < num_rows or any(not 0 <= m < num_models for m in asked):
            raise DataError(f"row {row} or models {asked!r} are not in {num_rows} x {num_models}")
        most = num_models if self.max_calls is None else min(self.max_calls, num_models)
        if len(asked) >= most:
            return None
        if self.kind == "cascade":
            return self._next_in_order(beliefs, row, len(asked), most)
        return self._next_of_best_set(beliefs, row, frozenset(asked), most)

    def _next_in_order(self, beliefs: Beliefs, row: int, num_asked: int, most: int) -> int | None:
        price = self.cost_weight * beliefs.prices[row, num_asked:most].cumsum()
        worth = beliefs.before[row, num_asked:most] - price
        is_enough = num_asked > 0 and beliefs.after[row, num_asked - 1] >= worth.max() - ROUNDING
        return None if is_enough else num_asked

    def _next_of_best_set(
        self, beliefs: Beliefs, row: int, asked: frozenset[int], most: int
    ) -> int | None:
        """Search the sets that contain what was asked, each once, by growing column numbers."""
        draws = self._draws(beliefs, row, asked)
        prices = beliefs.prices[row]
        means = _means(beliefs, row, asked)
        rest = [m for m in range(len(prices)) if m not in asked]

        def worth(chosen: frozenset[int], greatest: Any) -> float:
            return float(means[next(iter(chosen))] if len(chosen) == 1 else greatest.mean())

        start = draws[:, sorted(asked)].max(axis=1) if asked else None
        best_value = -float("inf") if start is None else worth(asked, start)
        best_price, best = 0.0, frozenset[int]()
        open_sets = [(frozenset[int](), start, best_value, 0.0)]
        while open_sets:
            added, greatest, gained, price = open_sets.pop()
            if len(asked) + len(added) >= most:
                continue
            for model in rest:
                if added and model <= max(added):
                    continue
                column = draws[:, model]
                union = column if greatest is None else _greater(greatest, column)
                new_worth = worth(asked | added | {model}, union)
                if (
                    self.prune
                    and greatest is not None
                    and self._is_dear(new_worth - gained, prices[model])
                ):
                    continue
                new = added | {model}
                new_price = price + float(prices[model])
                value = new_worth - self.cost_weight * new_price
                if (round(value, 12), -new_price) > (round(best_value, 12), -best_price):
                    best_value, best_price, best = value, new_price, new
                open_sets.append((new, union, new_worth, new_price))
        if not best:
            return None
        return min(best, key=lambda m: (float(beliefs.prices[row, m]), m))

    def _is_dear(self, gain: float, price: float) -> bool:
        """Say whether a model costs more than it adds; not where the two differ by rounding."""
        return gain < self.cost_weight * price - ROUNDING

    def _draws(self, beliefs: Beliefs, row: int, asked: frozenset[int]) -> Any:
        """Return scores that could be, [num_samples, M]."""
        import numpy as np

        num_models = beliefs.before.shape[1]
        half = np.random.default_rng(self.seed).standard_normal((self.num_samples // 2, num_models))
        deviations = beliefs.before_deviation.copy()
        deviations[list(asked)] = beliefs.after_deviation[list(asked)]
        return _means(beliefs, row, asked) + np.concatenate([half, -half]) * deviations

    def play(self, outcomes: Outcomes, beliefs: Beliefs) -> Played:
        """Return what this would have given on each prompt of a table.

        Args:
            beliefs: Of the same prompts and models. Estimates `after` an answer must not come
                from a scorer that was trained on these prompts.

        Raises:
            DataError: A model was not tried on a prompt, or the beliefs are of another table.
            ConfigError: There are more than 16 models.
        """
        import numpy as np

        table = tried(outcomes, outcomes.models)
        if beliefs.before.shape != table.scores.shape:
            raise DataError(
                f"beliefs have the shape {beliefs.before.shape}, the table {table.scores.shape}"
            )
        called = np.zeros(table.scores.shape, dtype=bool)
        answer: NDArray[np.int64] = np.full(len(table.prompts), -1)
        for row in range(len(table.prompts)):
            asked: list[int] = []
            while (model := self.next_model(beliefs, row, asked)) is not None:
                asked.append(model)
            called[row, asked] = True
            answer[row] = self.chosen(beliefs, row, asked)
        return played(table, called, answer)

    def chosen(self, beliefs: Beliefs, row: int, asked: Sequence[int]) -> int:
        """Return which of the models that were asked answers; of equals the one asked first.

        Raises:
            DataError: None was asked.
        """
        if not asked:
            raise DataError("no model was asked, so none can answer")
        if self.kind == "cascade":
            return asked[-1]
        return max(asked, key=lambda m: float(beliefs.after[row, m]))


def cost_weight_within(
    routing: CascadeRouting,
    outcomes: Outcomes,
    beliefs: Beliefs,
    max_mean_cost: float,
    num_steps: int = 20,
) -> CascadeRouting:
    """Return the routing with the least cost weight found whose mean cost keeps a bound.

    The weight is first doubled until the bound holds, then bisected.

    Raises:
        DataError: Even a weight at which only price counts costs more; says how much.
    """
    number("max_mean_cost", max_mean_cost, 0)
    whole("num_steps", num_steps)

    def cost(weight: float) -> float:
        return replace(routing, cost_weight=weight).play(outcomes, beliefs).mean_cost

    if cost(0.0) <= max_mean_cost:
        return replace(routing, cost_weight=0.0)
    low, high = 0.0, _dearest(beliefs)
    least = cost(high)
    if least > max_mean_cost:
        raise DataError(
            f"max_mean_cost is {max_mean_cost!r}; asking the cheapest model only costs {least:.6g}"
        )
    for _ in range(num_steps):
        middle = (low * high) ** 0.5 if low else high / 1000
        low, high = (middle, high) if cost(middle) > max_mean_cost else (low, middle)
    return replace(routing, cost_weight=high)


def _dearest(beliefs: Beliefs) -> float:
    """Return a weight at which no difference in score makes up for one in price."""
    import numpy as np

    gap = float(np.ptp(np.concatenate([beliefs.before, beliefs.after])))
    gap += 10 * float(beliefs.before_deviation.max() + beliefs.after_deviation.max())
    steps = [b - a for row in beliefs.prices for a, b in pairwise(sorted({0.0, *map(float, row)}))]
    least = float(beliefs.prices.max()) * ROUNDING
    return (gap + 1.0) / (max(min(steps), least) if steps else 1.0)


def _means(beliefs: Beliefs, row: int, asked: frozenset[int]) -> Any:
    means = beliefs.before[row].copy()
    means[list(asked)] = beliefs.after[row, list(asked)]
    return means


def _greater(first: Any, second: Any) -> Any:
    import numpy as np

    return np.maximum(first, second)

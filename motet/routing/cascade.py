"""Cascades: models in a fixed order, each of whose answers is accepted or passed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from motet.errors import ConfigError, DataError
from motet.search.settings import number, several, some_text, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Floats, Outcomes

    Bools: TypeAlias = NDArray[np.bool_]

NEVER: Final = 2.0
"""A threshold above each confidence: no answer is accepted."""

Verdict: TypeAlias = Literal["accepted", "passed on"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that was made for one prompt."""

    model: str
    confidence: float
    """NaN where unknown."""
    cost: float
    verdict: Verdict
    """"accepted" of the answer that stands, also where only the budget ended the chain."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Played:
    """What calling several models in turn gave on each of P prompts."""

    models: tuple[str, ...]
    """[L], those that could be called."""
    called: Bools
    """[P, L], whether the model was called."""
    answer: NDArray[np.int64]
    """[P], the place in `models` of the one whose answer stands; -1 where none was called."""
    scores: Floats
    """[P], of that answer; 0 where there is none."""
    costs: Floats
    """[P], the sum over the models called."""

    @property
    def mean_score(self) -> float:
        return float(self.scores.mean())

    @property
    def mean_cost(self) -> float:
        return float(self.costs.mean())

    @property
    def num_unanswered(self) -> int:
        """Prompts for which the budget let no model be called."""
        return int((self.answer < 0).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Ask the models in order until one answers with confidence enough.

    An answer is accepted where its confidence is at least the threshold of its model; the last
    model's is always accepted. A confidence that is not known is below every threshold. A model
    whose price would take the prompt above `max_cost` is skipped, and the last one that was
    called answers.

    Source: FrugalGPT, Chen et al. 2023, arXiv:2305.05176, and its code (llmchain). Departure: the
    code stops where g > 1 - thr; here the threshold is on g itself and includes its own value.

    Raises:
        ConfigError: A setting is out of range; names it.
    """

    models: tuple[str, ...]
    """[L], in the order in which they are asked."""
    thresholds: tuple[float, ...]
    """[L - 1], of all models but the last. 0 accepts each known confidence, `NEVER` none."""
    max_cost: float | None = None
    """Most that one prompt may cost, in the unit of the table."""

    def __post_init__(self) -> None:
        check_models(self.models)
        several("thresholds", self.thresholds)
        if len(self.thresholds) != len(self.models) - 1:
            raise ConfigError(
                f"thresholds are {self.thresholds!r}; {len(self.models)} models need "
                f"{len(self.models) - 1}, for the last one's answer is always accepted"
            )
        for place, threshold in enumerate(self.thresholds):
            number(f"thresholds[{place}]", threshold)
        if self.max_cost is not None:
            number("max_cost", self.max_cost, 0)

    def accepts(self, place: int, confidence: float | None) -> bool:
        """Say whether the answer of the model at `place` stands.

        Raises:
            ConfigError: There is no such place.
        """
        whole("place", place, 0, len(self.models) - 1)
        if place == len(self.models) - 1:
            return True
        return confidence is not None and confidence >= self.thresholds[place]

    def play(self, outcomes: Outcomes, confidences: Floats, prices: Floats | None = None) -> Played:
        """Return what this cascade would have given on each prompt of a table.

        Args:
            confidences: [P, M], 0 to 1, of each model's answer; NaN where unknown. They must not
                come from a scorer that was trained on these prompts: see `cross_fitted`.
            prices: [P, M], what each call is expected to cost, known before it is made; the costs
                of the table where None. `max_cost` skips by the price, what is paid is the cost.

        Raises:
            DataError: A model is not in the table or was not tried on a prompt, or an array does
                not fit.
        """
        import numpy as np

        table = tried(outcomes, self.models)
        columns = columns_of(outcomes, self.models)
        sure = check_confidences(confidences, outcomes)[:, columns]
        price = table.costs if prices is None else _prices(prices, outcomes)[:, columns]
        num_rows, num_models = table.scores.shape
        called = np.zeros((num_rows, num_models), dtype=bool)
        answer = np.full(num_rows, -1)
        spent = np.zeros(num_rows)
        is_open = np.ones(num_rows, dtype=bool)
        for place in range(num_models):
            is_called = is_open.copy()
            if self.max_cost is not None:
                is_called &= spent + price[:, place] <= self.max_cost
            called[is_called, place] = True
            answer[is_called] = place
            spent[is_called] += table.costs[is_called, place]
            if place < len(self.thresholds):
                is_open &= ~(is_called & (sure[:, place] >= self.thresholds[place]))
        return played(table, called, answer)

    def trace(self, run: Played, row: int, confidences: Floats, outcomes: Outcomes) -> list[Call]:
        """Return the calls that a played table made for one prompt, in order.

        Raises:
            DataError: There is no such row, or the run is of another cascade or table.
        """
        if run.models != self.models or len(run.scores) != len(outcomes.prompts):
            raise DataError("the run is of another cascade or another table than the trace")
        if not 0 <= row < len(run.scores):
            raise DataError(f"row {row} is not in a run of {len(run.scores)} prompts")
        columns = columns_of(outcomes, self.models)
        sure = check_confidences(confidences, outcomes)
        return [
            Call(
                model=model,
                confidence=float(sure[row, column]),
                cost=float(outcomes.costs[row, column]),
                verdict="accepted" if run.answer[row] == place else "passed on",
            )
            for place, (model, column) in enumerate(zip(self.models, columns, strict=True))
            if run.called[row, place]
        ]


def played(table: Outcomes, called: Bools, answer: NDArray[np.int64]) -> Played:
    """Return the outcome of calling models [P, L] of which one [P] answers; -1 for none."""
    import numpy as np

    rows = np.arange(len(table.prompts))
    scores = np.where(answer >= 0, table.scores[rows, np.maximum(answer, 0)], 0.0)
    costs = np.where(called, table.costs, 0.0).sum(axis=1)
    return Played(models=table.models, called=called, answer=answer, scores=scores, costs=costs)


def check_models(models: Any) -> None:
    """Refuse what is no tuple of distinct names, at least one.

    Raises:
        ConfigError: Names the setting and its value.
    """
    several("models", models)
    for place, model in enumerate(models):
        some_text(f"models[{place}]", model)
    if not models or len(set(models)) < len(models):
        raise ConfigError(f"models are {models!r}; they must be distinct, at least one")


def tried(outcomes: Outcomes, models: Sequence[str]) -> Outcomes:
    """Return the table of these models, each of which has a score and a cost on each prompt.

    Raises:
        DataError: A model is not in the table, or a score or cost is missing; says how many.
    """
    import numpy as np

    table = outcomes.only(models)
    missing = np.isnan(table.scores) | np.isnan(table.costs)
    if missing.any():
        row, column = (int(i) for i in np.argwhere(missing)[0])
        what = "score" if np.isnan(table.scores[row, column]) else "cost"
        raise DataError(
            f"model {table.models[column]!r} has no {what} on prompt {table.prompts[row][:80]!r} "
            f"(row {row}); {int(missing.any(axis=1).sum())} of {len(missing)} prompts lack one, "
            "and models in turn can be played only where all were tried: take the others out"
        )
    return table


def columns_of(outcomes: Outcomes, models: Sequence[str]) -> list[int]:
    """Return the columns of models.

    Raises:
        DataError: A model is not in the table.
    """
    unknown = [model for model in models if model not in outcomes.models]
    if unknown:
        raise DataError(f"model {unknown[0]!r} is not in the table of {len(outcomes.models)}")
    return [outcomes.models.index(model) for model in models]


def check_confidences(confidences: Any, outcomes: Outcomes) -> Floats:
    """Return confidences as floats [P, M].

    Raises:
        DataError: Another shape than the table's, or a value outside 0 to 1 that is not NaN.
    """
    import numpy as np

    floats = _shaped("confidences", confidences, outcomes)
    wrong = ~(np.isnan(floats) | ((floats >= 0) & (floats <= 1)))
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise DataError(
            f"the confidence of model {outcomes.models[column]!r} in row {row} is "
            f"{float(floats[row, column])!r}; it must be from 0 to 1, or NaN where unknown"
        )
    return floats


def _prices(prices: Any, outcomes: Outcomes) -> Floats:
    import numpy as np

    floats = _shaped("prices", prices, outcomes)
    if not (np.isfinite(floats) & (floats >= 0)).all():
        raise DataError("prices hold a value that is no finite number from 0")
    return floats


def _shaped(name: str, values: Any, outcomes: Outcomes) -> Floats:
    import numpy as np

    try:
        floats: Floats = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise DataError(f"{name} are no array of numbers: {exc}") from exc
    if floats.shape != outcomes.scores.shape:
        raise DataError(
            f"{name} have the shape {floats.shape}; the table has {len(outcomes.prompts)} prompts "
            f"and {len(outcomes.models)} models"
        )
    return floats

"""Model-SAT: a model reads what each candidate got right of an aptitude test, and says whether it
can answer; calibrated on outcomes where there are any.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from motet.combinators import settled
from motet.engine import Capability
from motet.errors import ConfigError, DataError, EngineError, TooFewSurvivorsError
from motet.judging.calibration import Isotonic, Temperature, fit_isotonic, fit_temperature
from motet.model import Model
from motet.operations import program, step
from motet.programs.capabilities import Need
from motet.programs.choices import can_answer, capability_chat, digest_of, without_system
from motet.programs.mistakes import OF_ALL
from motet.programs.quoting import question_text
from motet.programs.verifier import probability_of
from motet.refs import Ref
from motet.routing.aptitudes import Results, capability_text, draw_orders
from motet.routing.deciding import Prices, Rule
from motet.routing.router import Decision
from motet.search.settings import flag, number, one_of
from motet.types import Chat, Outcome

if TYPE_CHECKING:
    from motet.routing.capability_rows import CapabilityRow
    from motet.routing.outcomes import Floats, Outcomes

Calibrator: TypeAlias = Isotonic | Temperature

LEAST = 1e-6
"""Probabilities nearer to 0 or 1 than this count as this, where their log-odds are taken."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """From a reader's probability of Yes to how often the model is right."""

    pooled: Calibrator
    """For every model, so also for one that was not there."""
    by_model: Mapping[str, Calibrator] = field(default_factory=dict)
    """Of models that have their own, which evens out what the reader thinks of them."""

    @property
    def identity(self) -> str:
        known = sorted(self.by_model.items())
        return " ".join([digest_of(self.pooled), *(f"{m}={digest_of(c)}" for m, c in known)])

    def apply(self, model: str, probability: float) -> float:
        """Return the calibrated probability, 0 to 1."""
        return _applied(self.by_model.get(model, self.pooled), probability)


def fit_calibration(
    probabilities: Floats,
    outcomes: Outcomes,
    *,
    how: Literal["isotonic", "temperature"] = "isotonic",
    is_by_model: bool = False,
    right_from: float = 0.5,
) -> Calibration:
    """Fit what a reader said of each model on each prompt to what came true.

    Args:
        probabilities: [P, M], of Yes, as `capability_score` gives them; NaN where it was not asked.
        outcomes: Of the same prompts and models, none of which the capability texts tell of.
        how: `isotonic` keeps the order only; `temperature` divides the log-odds by one number.
        is_by_model: Whether each model has its own where its answers are not all right or all
            wrong. All models together never turn the reader's choice among them round; isotonic may
            make near probabilities equal, and leave it to the rule.
        right_from: A score from which an answer counts as right.

    Raises:
        ConfigError: A setting is wrong, or scikit-learn or SciPy is not installed.
        DataError: Shapes differ, a probability is outside 0 to 1, nothing is known of both, or
            all answers are right, or all wrong.
    """
    import numpy as np

    one_of("how", how, ("isotonic", "temperature"))
    flag("is_by_model", is_by_model)
    number("right_from", right_from, 0, 1)
    try:
        values = np.asarray(probabilities, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise DataError(f"probabilities are no array of numbers: {exc}") from exc
    if values.shape != outcomes.scores.shape:
        raise DataError(
            f"probabilities have the shape {values.shape}, the table {outcomes.scores.shape}"
        )
    if ((values < 0) | (values > 1)).any():
        raise DataError("probabilities hold a value outside 0 to 1")
    known = ~np.isnan(values) & ~np.isnan(outcomes.scores)
    right = (outcomes.scores >= right_from).astype(np.int64)
    if not known.any():
        raise DataError("no prompt has a probability and a score of the same model")
    if len(np.unique(right[known])) < 2:
        word = "right" if right[known][0] else "wrong"
        raise DataError(f"all {int(known.sum())} answers are {word}; there is nothing to fit")
    own: dict[str, Calibrator] = {}
    for column, model in enumerate(outcomes.models if is_by_model else ()):
        rows = known[:, column]
        if len(np.unique(right[rows, column])) == 2:
            own[model] = _fitted(values[rows, column], right[rows, column], how)
    return Calibration(pooled=_fitted(values[known], right[known], how), by_model=own)


@program
def capability_score(question: str | Chat, *, model: Model, abilities: Sequence[str]) -> Ref[float]:
    """Return how likely a reader says that a model can answer a question, from 0 to 1.

    Args:
        question: A text or a chat, whose system turn is left out.
        model: The reader; its engine needs `Capability.SCORE`.
        abilities: What the model can do, the same in several orders; the mean is taken.

    Raises:
        ConfigError: `abilities` holds no text.

    Source: Zhang et al. 2025 (Model-SAT), the score and its mean over shuffled results.
    """
    texts = [abilities] if isinstance(abilities, str) else list(abilities)
    if not texts or not all(isinstance(each, str) and each for each in texts):
        raise ConfigError(f"abilities is {abilities!r:.80}; it must hold a text, none empty")
    asked = question_text(without_system(question))
    bound = can_answer.on(model).scores(["Yes", "No"])
    return mean_probability([probability_of(bound(text, asked), "Yes") for text in texts])


@step
def mean_probability(values: Sequence[float]) -> float:
    """The mean over the orders."""
    return math.fsum(values) / len(values)


class ModelSat:
    """A choice for `route` by what a reader makes of each candidate's aptitude test.

    A candidate whose score cannot be had is passed over.

    Source: Zhang et al. 2025 (Model-SAT). Departures: one causal model reads the text as words,
    with no encoder and connector of its own; any rule instead of the largest score alone; the
    calibration is ours.

    Args:
        judge: The reader; has to give log-probabilities of its answers.
        results: Of each candidate, by category; see `motet.routing.aptitudes`.
        rule: Of `motet.routing.deciding`, on the probability that the candidate can.
        prices: Of an answer of each model, in one unit; where the rule counts them.
        keywords: Words that describe a category.
        num_orders: Orders of the categories over which the score is averaged.
        calibration: Of `fit_calibration`; None takes the reader at its word.
        seed: Of the orders.
    """

    __motet_opaque__: ClassVar[bool] = True

    def __init__(
        self,
        judge: Model,
        results: Mapping[str, Results],
        *,
        rule: Rule,
        prices: Prices | None = None,
        keywords: Mapping[str, Sequence[str]] | None = None,
        num_orders: int = 2,
        calibration: Calibration | None = None,
        seed: int = 0,
    ) -> None:
        self._judge = judge
        self.texts = capability_texts(results, keywords=keywords, num_orders=num_orders, seed=seed)
        self._rule = rule
        self._prices = dict(prices or {})
        self._calibration = calibration
        named = f"{rule!r} {sorted(self._prices.items())!r} {sorted(self.texts.items())!r}"
        fitted = "" if calibration is None else calibration.identity
        self.identity = f"model_sat:{judge.identity} {named} {fitted}"

    def check(self, names: Sequence[str]) -> list[Need]:
        for name in names:
            if name not in self.texts:
                known = ", ".join(self.texts)
                raise ConfigError(f"among has {name!r}; there are results of {known}")
        return [Need("judge", self._judge, Capability.SCORE)]

    async def __call__(self, question: str | Chat, names: Sequence[str]) -> Decision:
        outcomes: list[Outcome[float]] = await settled(
            [
                capability_score(question, model=self._judge, abilities=self.texts[name])
                for name in names
            ]
        )
        errors = [each.error for each in outcomes if each.error is not None]
        for error in errors:
            if isinstance(error, OF_ALL):
                raise error
        told = {n: o.value for n, o in zip(names, outcomes, strict=True) if o.is_success}
        if not told:
            if isinstance(errors[0], EngineError):
                raise errors[0]
            raise TooFewSurvivorsError("no model could be judged", failures=errors)
        if self._calibration is not None:
            told = {name: self._calibration.apply(name, value) for name, value in told.items()}
        return self._rule.decide(told, self._prices)


def capability_texts(
    results: Mapping[str, Results],
    *,
    keywords: Mapping[str, Sequence[str]] | None = None,
    num_orders: int = 2,
    seed: int = 0,
) -> dict[str, tuple[str, ...]]:
    """Return each model's results in words, in several orders, for `capability_score`.

    A model's texts depend on its own results alone.

    Raises:
        ConfigError: A setting is wrong, or a model has no results.
    """
    if not results:
        raise ConfigError("results is empty; there must be those of a model")
    found = {}
    for model, own in results.items():
        orders = draw_orders(tuple(own), num_orders, seed)
        found[model] = tuple(
            capability_text(own, keywords=keywords, order=order) for order in orders
        )
    return found


def capability_training_rows(rows: Iterable[CapabilityRow]) -> Iterator[Mapping[str, Any]]:
    """Yield what a reader is to be trained on: the turns that it will be shown, Yes or No, and the
    group within which one Yes stands against several No.

    `motet.routing.row_files.write_json_lines` writes them.
    """
    for row in rows:
        chat = capability_chat(row.abilities, row.query)
        turns = [{"role": m.role, "content": m.content} for m in chat]
        label = "Yes" if row.is_right else "No"
        yield {"prompt": turns, "label": label, "group": row.group, "model": row.model}


def _fitted(values: Any, right: Any, how: str) -> Calibrator:
    if how == "isotonic":
        return fit_isotonic(values, right)
    return fit_temperature(_log_odds(values), right)


def _applied(calibrator: Calibrator, probability: float) -> float:
    if isinstance(calibrator, Isotonic):
        return float(calibrator.apply([probability])[0])
    return float(calibrator.apply(_log_odds([probability]))[0, 1])


def _log_odds(values: Any) -> Floats:
    """Return logits [N, 2] of No and Yes."""
    import numpy as np

    yes = np.clip(np.asarray(values, dtype=np.float64), LEAST, 1 - LEAST)
    return np.stack([np.log1p(-yes), np.log(yes)], axis=1)

"""Rows to train a reader of capability texts on: groups of one query that a model gets right and
several that it gets wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.errors import DataError
from motet.routing.aptitudes import AptitudeTest, capability_text
from motet.search.settings import number, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityRow:
    """A model's abilities, a query, and whether it gets that right."""

    group: int
    """Rows of one group compete: exactly one of them is right."""
    model: str
    abilities: str
    query: str
    is_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityRows:
    """Rows to train on, those of a group side by side, the right one first."""

    rows: tuple[CapabilityRow, ...]
    left_out: tuple[str, ...]
    """Models with too few right or wrong queries to make a group of."""


def capability_rows(
    outcomes: Outcomes,
    test: AptitudeTest,
    *,
    num_groups: int,
    size: int = 4,
    right_from: float = 0.5,
    favour: float = 1.0,
    keywords: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
) -> CapabilityRows:
    """Draw groups of rows, each of one model, with its abilities in an order of its own.

    Prompts of the aptitude test are not among the queries: the text tells them already.

    Args:
        test: Of the same table, or of one with the same models.
        num_groups: Of all models together.
        size: Of a group, its right query included.
        right_from: A score from which an answer counts as right.
        favour: A model is drawn by its mean score to this power; 0 draws all alike.
        keywords: As of `capability_text`.
        seed: Of all draws.

    Raises:
        ConfigError: A setting is wrong.
        DataError: The test does not fit, or no model has queries enough.

    Source: Zhang et al. 2025 (Model-SAT): one right and three wrong queries of the same model,
    stronger models oversampled. Departures: stronger by a power of the mean score; wrong answers
    are not tested again with rotated options.
    """
    import numpy as np

    whole("num_groups", num_groups)
    whole("size", size, 2)
    number("right_from", right_from, 0, 1)
    number("favour", favour, 0)
    whole("seed", seed, 0)
    results = test.results(outcomes)
    held = test.prompts
    right: dict[str, list[str]] = {}
    wrong: dict[str, list[str]] = {}
    for column, model in enumerate(outcomes.models):
        scores: dict[str, list[float]] = {}
        for prompt, score in zip(outcomes.prompts, outcomes.scores[:, column], strict=True):
            if prompt not in held and not np.isnan(score):
                scores.setdefault(prompt, []).append(float(score))
        for prompt, values in scores.items():
            is_right = sum(values) / len(values) >= right_from
            (right if is_right else wrong).setdefault(model, []).append(prompt)
    able = [m for m in outcomes.models if m in right and len(wrong.get(m, ())) >= size - 1]
    if not able:
        raise DataError(
            f"no model has a right and {size - 1} wrong queries outside of the aptitude test"
        )
    means = np.array([_mean_score(outcomes, model) for model in able])
    weights = (means / (means.max() or 1.0)) ** favour  # the largest is 1, so that some is left
    rng = np.random.default_rng(seed)
    rows: list[CapabilityRow] = []
    for group in range(num_groups):
        model = able[int(rng.choice(len(able), p=weights / weights.sum()))]
        order = [test.categories[i] for i in rng.permutation(len(test.categories))]
        abilities = capability_text(results[model], keywords=keywords, order=order)
        chosen = rng.choice(len(wrong[model]), size=size - 1, replace=False)
        queries = [right[model][int(rng.integers(len(right[model])))]]
        queries += [wrong[model][int(place)] for place in chosen]
        rows += [
            CapabilityRow(
                group=group, model=model, abilities=abilities, query=query, is_right=not place
            )
            for place, query in enumerate(queries)
        ]
    left_out = tuple(model for model in outcomes.models if model not in able)
    return CapabilityRows(rows=tuple(rows), left_out=left_out)


def _mean_score(outcomes: Outcomes, model: str) -> float:
    import numpy as np

    return float(np.nanmean(outcomes.scores[:, outcomes.models.index(model)]))

"""Rows for a classifier of queries: what score the weak model's answer got, as a label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from motet.errors import ConfigError, DataError
from motet.search.settings import several, some_text, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Outcomes

SCORES: Final = ("1", "2", "3", "4", "5")
"""Labels of RouteLLM's classifier, from the worst answer to the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """A query, and how well the weak model answered it."""

    query: str
    label: str
    score: float
    """From 0 to 1, of the outcomes table."""


def label_rows(
    outcomes: Outcomes, weak: str, labels: Sequence[str] = SCORES
) -> tuple[LabelRow, ...]:
    """Return a row for each distinct prompt that the weak model was tried on, in their order.

    A score from 0 to 1 becomes the nearest of the labels, which lie at equal distances, the higher
    of two; a prompt in several rows has their mean.

    Args:
        weak: The cheap model of the table.
        labels: From the worst answer to the best, at least 2.

    Raises:
        ConfigError: Labels are too few or repeat.
        DataError: The table lacks the model, or it was never tried.

    Source: Ong et al. 2024 (RouteLLM), arXiv:2406.18665, its causal-LM classifier, where a judge
    scores the weak model's answers from 1 to 5. Here any score of a table is put onto the labels.
    """
    names = check_score_labels(labels)
    scores = outcomes.only([weak]).scores[:, 0]
    found: dict[str, list[float]] = {}
    for query, score in zip(outcomes.prompts, map(float, scores), strict=True):
        if not math.isnan(score):
            found.setdefault(query, []).append(score)
    if not found:
        raise DataError(f"model {weak!r} was tried on no prompt; there is nothing to learn")
    rows = []
    for query, values in found.items():
        score = sum(values) / len(values)
        label = names[int(score * (len(names) - 1) + 0.5)]
        rows.append(LabelRow(query=query, label=label, score=score))
    return tuple(rows)


def pick_examples(rows: Sequence[LabelRow], num: int, seed: int = 0) -> tuple[LabelRow, ...]:
    """Draw rows to show a model, of each label about as many, in a random order.

    Raises:
        ConfigError: A number is wrong.
        DataError: There are fewer rows.
    """
    import numpy as np

    whole("num", num, 0)
    whole("seed", seed, 0)
    if num > len(rows):
        raise DataError(f"{num} examples are to be drawn from {len(rows)} rows")
    rng = np.random.default_rng(seed)
    piles: dict[str, list[LabelRow]] = {}
    for place in rng.permutation(len(rows)):
        piles.setdefault(rows[place].label, []).append(rows[place])
    names = sorted(piles)
    drawn: list[LabelRow] = []
    while len(drawn) < num:
        for place in rng.permutation(len(names)):
            if piles[names[place]] and len(drawn) < num:
                drawn.append(piles[names[place]].pop())
    return tuple(drawn[place] for place in rng.permutation(num))


def check_score_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return labels as a tuple of different texts, at least two.

    Raises:
        ConfigError: They are none.
    """
    names = tuple(labels)
    several("labels", names)
    for name in names:
        some_text("labels", name)
    if isinstance(labels, str) or len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(f"labels is {labels!r}; at least 2 different texts are needed")
    return names

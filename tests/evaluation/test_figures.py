"""Figures: what an attempt counts as."""

from __future__ import annotations

import math
from typing import Any

import pytest

from motet.errors import ConfigError
from motet.evaluation.figures import Figure


def figure(**changes: Any) -> Figure:
    fields: dict[str, Any] = {
        "contender": "a", "is_matched": False, "row": "r", "part": "", "seed": 0, "text": None,
        "answer": None, "value": 1.0, "missing": None, "error": None, "tokens": 1, "calls": 1,
        "cost": 0.0, "wall_s": None,
    }  # fmt: skip
    return Figure(**{**fields, **changes})


@pytest.mark.parametrize(
    ("value", "missing", "counted"),
    [
        (1.0, None, 1.0),
        (0.25, None, 0.25),
        (None, "empty", 0.0),
        (None, "cut off", 0.0),
        (None, "unreadable", 0.0),
        (None, "failed", 0.0),
        (None, "not judged", None),
    ],
)
def test_what_has_no_answer_counts_as_wrong_and_what_was_not_judged_as_nothing(
    value: float | None, missing: str | None, counted: float | None
) -> None:
    """A value counts as it is."""
    assert figure(value=value, missing=missing).counted == counted


@pytest.mark.parametrize(
    "changes",
    [
        {"value": None},
        {"missing": "empty"},
        {"value": None, "missing": "lost"},
        {"value": 1.5},
        {"value": math.nan},
    ],
)
def test_a_figure_has_a_value_or_says_why_there_is_none(changes: dict[str, Any]) -> None:
    """Anything else is no figure."""
    with pytest.raises(ConfigError):
        figure(**changes)

"""Metrics as files write them: names, tables, functions, and what stands for none."""

from __future__ import annotations

import re
from typing import Any

import pytest

from motet import Model
from motet.errors import ConfigError
from motet.evaluation.judge_metrics import Judged, Preferred
from motet.evaluation.metric_files import NAMES, metric_of
from motet.evaluation.metrics import GRADERS, Graded, Scored
from motet.grading.rows import Row

MODEL = Model("local:x")


def mine(text: str, row: Row) -> float:
    return 1.0


@pytest.mark.parametrize("name", GRADERS)
def test_a_graders_name_is_its_metric(name: str) -> None:
    """As a text, and as a table with nothing else."""
    assert metric_of(name) == metric_of({"name": name}) == Graded(name=name)


def test_judges_are_made_of_tables() -> None:
    """Their models by the caller's own rules, where they are texts."""
    made: list[str] = []

    def make(text: str) -> Model:
        made.append(text)
        return MODEL

    compared = metric_of({"name": "pairwise", "model": "a", "by": "prefer"}, make_model=make)
    rated = metric_of(
        {"name": "judge", "model": MODEL, "anchors": ["bad", "good"]}, make_model=make
    )

    assert compared == Preferred(model=MODEL, by="prefer")
    assert rated == Judged(model=MODEL, anchors=("bad", "good"))
    assert made == ["a"]


def test_a_metric_or_a_function_that_is_found_stands_for_itself() -> None:
    """A function is known by the name behind its file."""
    metric = Graded(name="maths")

    assert metric_of(metric) is metric
    assert metric_of("f.py:mine", find_function=lambda text: mine) == Scored(
        function=mine, name="mine"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "metric is None; it must be a name, a table or a Metric"),
        ("jugde", "did you mean 'judge'?"),
        ({"name": 3}, "it must have a name"),
        ({"name": "f1", "n": 1}, "metric f1 has 'n', which is no setting"),
        ({"name": "judge", "model": ""}, "metric judge has model = ''"),
        ({"name": "judge", "model": MODEL, "anchors": 3}, "anchors = 3; it must be a list"),
        ({"name": "judge", "model": MODEL, "criteria": [1]}, "one of criteria is 1"),
        ({"name": "judge", "model": MODEL, "max_tokens": "9"}, "max_tokens is '9'"),
        ({"name": "f.py:mine", "n": 1}, "a function has no settings"),
    ],
)
def test_what_stands_for_no_metric_is_named(given: Any, said: str) -> None:
    """With the setting and its value."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        metric_of(given, find_function=lambda text: mine)


def test_every_name_is_known() -> None:
    """Those of judges too."""
    assert set(NAMES) == {*GRADERS, "judge", "pairwise"}

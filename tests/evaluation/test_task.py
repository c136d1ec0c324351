"""Tasks: what they must hold, and the digest that tells them apart."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from motet import Ref
from motet.errors import ConfigError
from motet.evaluation.metrics import Graded
from motet.evaluation.task import Score, Task
from motet.grading.rows import Row

ROW = Row(id="r", prompt="p", golds=("1",), kind="number", task="")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "name of a task is ''"),
        ({"rows": ()}, "rows is ()"),
        ({"rows": [ROW]}, "must be a tuple"),
        ({"rows": (ROW, ROW)}, "rows has the id 'r' twice"),
        ({"instruction": None}, "instruction is None"),
    ],
)
def test_what_is_no_task_is_refused(changes: dict[str, Any], said: str) -> None:
    """By the field that is wrong."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        Task(**{"name": "t", "rows": (ROW,), "metric": Graded(), **changes})


def test_a_digest_tells_rows_and_metrics_apart_and_nothing_else() -> None:
    """One that is given is kept."""
    other = replace(ROW, id="s")
    task = Task(name="t", rows=(ROW, other), metric=Graded())

    turned = replace(task, rows=(other, ROW), name="u", instruction="i", digest="")
    changed = replace(task, rows=(ROW, replace(other, golds=("2",))), digest="")

    assert task.digest == turned.digest
    assert (
        len(
            {
                task.digest,
                changed.digest,
                replace(task, metric=Graded(name="maths"), digest="").digest,
            }
        )
        == 3
    )
    assert replace(task, digest="mine").digest == "mine"


def test_a_metric_without_an_identity_is_refused() -> None:
    """Since its figures could not be told from those of another."""

    class Mine:
        name = "mine"

        def score(self, row: Row, text: str) -> Ref[Score]:
            raise NotImplementedError

        def vote_of(self, row: Row, text: str) -> str | None:
            return None

    with pytest.raises(ConfigError, match="metric 'mine' cannot be told from others"):
        Task(name="t", rows=(ROW,), metric=Mine())

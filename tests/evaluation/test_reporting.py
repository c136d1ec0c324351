"""Reports: planted accuracies, paired gains, what is counted and what is not."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import motet
from motet import Completion, Model, prompt
from motet.engine import Request
from motet.errors import DataError
from motet.evaluation.figures import Figure
from motet.evaluation.metrics import Graded
from motet.evaluation.report import Standing
from motet.evaluation.reporting import interval_of, line_of, report_of, standing_of
from motet.evaluation.study import study_call
from motet.evaluation.task import Contender, Task
from motet.grading.rows import Row
from motet.programs.frontier.points import Interval, wilson
from motet.testing import ScriptedEngine


def figure(row: int, value: float | None = 1.0, **changes: Any) -> Figure:
    fields: dict[str, Any] = {
        "contender": "a", "is_matched": False, "row": str(row), "part": "", "seed": 0,
        "text": "t", "answer": None, "value": value, "missing": None, "error": None,
        "tokens": 10, "calls": 2, "cost": 0.5, "wall_s": 1.0,
    }  # fmt: skip
    return Figure(**{**fields, **changes})


def figures(values: list[float | None], **changes: Any) -> list[Figure]:
    return [figure(row, value, **changes) for row, value in enumerate(values)]


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_a_planted_accuracy_is_recovered(share: float) -> None:
    """Exactly for the contender, whose answers are planted; within its interval for samples."""
    rows = tuple(
        Row(id=f"{i}", prompt=f"Say {i}.", golds=(str(i),), kind="number", task="")
        for i in range(200)
    )
    right = set(random.Random(1).sample(range(200), round(200 * share)))

    def script(request: Request) -> Any:
        number = int(request.prompt[-1].content.split()[1].rstrip("."))
        if request.sampling.temperature == 0:
            return f"The answer is {number if number in right else 999}."
        chance = random.Random(f"{request.sampling.seed}")
        return tuple(
            Completion(f"It is {number if chance.random() < share else 999}.")
            for _ in range(request.n)
        )

    task = Task(name="t", rows=rows, metric=Graded())
    contender = Contender(
        name="a", program=ask.on(temperature=0.0), model=Model(ScriptedEngine(script))
    )
    result = motet.run(study_call(task, [contender]), store=None, cache=False)
    [line] = report_of(task, [contender], result).lines

    assert line.own.accuracy.mean == share
    assert line.matched is not None
    assert line.matched.accuracy.low <= share <= line.matched.accuracy.high
    assert line.matched.samples == 1
    assert line.gain is not None
    assert line.gain.low <= 0 <= line.gain.high


def test_contenders_that_are_alike_differ_by_exactly_nothing() -> None:
    """As does a contender and self-consistency with the same figures; both ends are as far."""
    own = [*figures([1.0, 0.0, 0.5]), figure(3, None, missing="empty")]
    matched = [replace(each, is_matched=True) for each in own]

    gain = line_of("a", [*own, *matched]).gain

    assert gain is not None
    assert gain.mean == 0.0
    assert gain.low == -gain.high


def test_the_lead_over_the_first_contender_is_paired_by_row() -> None:
    """Rows in another order are the same rows."""
    rows = tuple(Row(id=str(i), prompt="p", golds=("1",), kind="number", task="") for i in range(4))
    task = Task(name="t", rows=rows, metric=Graded())
    first = figures([1.0, 0.0, 0.0, 1.0])
    second = figures([1.0, 1.0, 0.0, 1.0], contender="b")[::-1]
    result: Any = motet.runtime.result.Result(
        value=[*second, *first], run_id="x", usage=motet.Usage(), cost=0.0, duration_s=0.0,
        _graph=lambda: None,
    )  # fmt: skip

    contenders = [Contender(name=name, program=ask) for name in ("a", "b")]
    report = report_of(task, contenders, result)

    assert report.lines[0].lead is None
    assert report.lines[1].lead is not None
    assert report.lines[1].lead.mean == 0.25
    assert report.lines[1].lead.low >= 0
    assert report.lines[0].matched is None
    assert report.lines[0].gain is None
    assert (report.num_rows, report.num_seeds, report.digest) == (4, 1, task.digest)


def test_no_answer_is_wrong_and_what_was_not_judged_is_nothing() -> None:
    """Both are counted by their reason."""
    made = [
        figure(0),
        figure(1, None, missing="empty"),
        figure(2, None, missing="failed"),
        figure(3, None, missing="not judged"),
        figure(4),
    ]

    line = line_of("a", made)

    assert line.own.accuracy == wilson(2, 4)
    assert line.own.missing == {"empty": 1, "failed": 1, "not judged": 1}
    assert line.values == {"0": 1.0, "1": 0.0, "2": 0.0, "4": 1.0}
    assert line.own.num_attempts == 5


def test_where_nothing_was_judged_nothing_is_known() -> None:
    """The interval is all there is."""
    line = line_of("a", [figure(0, None, missing="not judged")])

    assert line.own.accuracy == Interval(0.0, 0.0, 1.0)
    assert line.values == {}
    assert line.gain is None


def test_seeds_of_a_row_are_one_unit() -> None:
    """Twice the same seeds make no narrower interval."""
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 0.5]
    once = standing_of(figures(values))
    twice = standing_of([*figures(values), *figures(values, seed=1)])

    assert once.accuracy == twice.accuracy
    assert twice.num_attempts == 12


@given(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=12), st.integers(1, 3))
def test_an_interval_holds_its_mean_and_stays_within_0_and_1(
    values: list[float], num_seeds: int
) -> None:
    """And does not depend on the order of rows."""
    by_row = {str(place): value for place, value in enumerate(values)}
    turned = dict(reversed(by_row.items()))

    found = interval_of(by_row, num_seeds)

    assert found.mean == pytest.approx(math.fsum(values) / len(values))
    assert 0 <= found.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.high <= 1
    assert interval_of(turned, num_seeds) == found


def test_values_that_are_all_one_still_have_a_width() -> None:
    """As rows that were not asked may differ."""
    found = interval_of({"a": 0.5, "b": 0.5})

    assert found.low < 0.5 < found.high
    assert found.high - 0.5 == pytest.approx(0.5 - found.low)


def test_further_metrics_and_parts_have_their_means() -> None:
    """An attempt without an answer has 0 of each metric; one part alone is no table."""
    made = [
        figure(0, others={"f1": 1.0}, part="x"),
        figure(1, None, missing="empty", part="y"),
        figure(2, 0.0, others={"f1": 0.5}, part="y"),
        figure(3, None, missing="not judged", part="y"),
    ]

    standing = standing_of(made)

    assert standing.others["f1"].mean == 0.5
    assert standing.parts == {"x": (1.0, 1), "y": (0.0, 2)}
    assert standing_of(figures([1.0, 0.0])).parts == {}


def test_means_of_what_attempts_took() -> None:
    """Times that are not known are left out."""
    made = [
        figure(0, tokens=10, cost=1.0, wall_s=None, samples=3, metric_tokens=4),
        figure(1, tokens=20, cost=2.0, wall_s=3.0, samples=5, metric_tokens=0),
    ]

    standing = standing_of(made)

    assert (standing.tokens, standing.cost, standing.wall_s) == (15.0, 1.5, 3.0)
    assert (standing.samples, standing.metric_tokens, standing.calls) == (4.0, 2.0, 2.0)


def test_a_contender_without_figures_is_no_line() -> None:
    """It is told by name."""
    with pytest.raises(DataError, match="no figures of 'b'"):
        line_of("b", [])


def test_where_nothing_was_judged_no_accuracy_is_told() -> None:
    def standing(missing: int) -> Standing:
        return Standing(
            accuracy=Interval(0.5, 0.0, 1.0),
            tokens=1.0,
            calls=1.0,
            cost=0.0,
            wall_s=None,
            num_attempts=3,
            missing={"not judged": missing},
        )

    assert standing(3).judged is None
    assert standing(2).judged == Interval(0.5, 0.0, 1.0)

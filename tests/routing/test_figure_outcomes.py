"""Outcomes from an evaluation's figures."""

import json

import numpy as np
import pytest

from motet.errors import DataError
from motet.routing.figure_outcomes import outcomes_from_figures

PROMPTS = {"r1": "first?", "r2": "second?"}


def figure(contender, row, value, **changes):
    known = {"is_matched": False, "missing": None, "cost": 2.0}
    return {"contender": contender, "row": row, "value": value, **known, **changes}


@pytest.fixture
def read(tmp_path):
    def work(*figures):
        path = tmp_path / "figures.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in figures))
        return outcomes_from_figures(path, PROMPTS)

    return work


def test_a_cell_is_the_mean_of_a_contenders_attempts_on_a_row(read):
    found = read(
        figure("a", "r1", 1.0),
        figure("a", "r1", 0.0, cost=4.0),
        figure("b", "r1", 0.5, cost=0.0),
        figure("a", "r1", 1.0, is_matched=True),
        figure("b", "r2", 1.0),
    )

    assert found.outcomes.prompts == ("first?", "second?")
    assert found.outcomes.models == ("a", "b")
    np.testing.assert_array_equal(found.outcomes.scores, [[0.5, 0.5], [np.nan, 1.0]])
    np.testing.assert_array_equal(found.outcomes.costs, [[3.0, np.nan], [np.nan, 2.0]])
    assert (found.num_attempts, found.left_out) == (4, {})


def test_no_answer_is_worth_0_and_what_was_not_judged_is_left_out(read):
    found = read(
        figure("a", "r1", None, missing="cut off"),
        figure("b", "r1", None, missing="not judged"),
        figure("b", "r1", 1.0),
        figure("b", "r9", 1.0),
    )

    np.testing.assert_array_equal(found.outcomes.scores, [[0.0, 1.0]])
    assert found.left_out == {"not judged": 1, "of rows that the task has not": 1}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (figure("", "r1", 1.0), "line 1, field 'contender': '' is no text"),
        (figure("a", 3, 1.0), "field 'row': 3 is no text"),
        (figure("a", "r1", 2), "field 'value': 2 is wrong"),
        (figure("a", "r1", None), "field 'value': None is wrong"),
        (figure("a", "r1", True), "field 'value': True is wrong"),
        (figure("a", "r1", 1, cost=-1), "field 'cost': -1 is wrong"),
        (figure("a", "r1", 1), "has 1 contenders with values; routing needs two"),
    ],
)
def test_wrong_figures_are_refused(read, line, told):
    with pytest.raises(DataError, match=told):
        read(line)

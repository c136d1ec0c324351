"""Rows for a classifier of queries."""

from collections import Counter

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.label_rows import LabelRow, label_rows, pick_examples
from motet.routing.outcomes import Outcomes


def table(weak, prompts=None):
    scores = np.stack([np.asarray(weak, dtype=float), np.ones(len(weak))], axis=1)
    return Outcomes(
        prompts=prompts or tuple(f"q{row}" for row in range(len(weak))),
        models=("weak", "strong"),
        scores=scores,
        costs=np.ones(scores.shape),
    )


def test_a_score_becomes_the_nearest_of_five_labels():
    """0.75 is a 4, which will do; 0.62 a 3, which will not; a model that was not tried has no row."""
    rows = label_rows(table([0, 0.124, 0.125, 0.62, 0.625, 0.75, 1, np.nan]), "weak")

    assert [row.label for row in rows] == ["1", "1", "2", "3", "4", "4", "5"]


def test_the_label_is_of_the_weak_model():
    """The strong model is right on all."""
    rows = label_rows(table([0.0, 1.0]), "weak")

    assert [row.label for row in rows] == ["1", "5"]
    assert {row.label for row in label_rows(table([0.0, 1.0]), "strong")} == {"5"}


def test_a_prompt_that_stands_twice_is_one_row_with_its_mean():
    rows = label_rows(table([0.0, 1.0, 1.0], ("q", "q", "r")), "weak")

    assert rows == (
        LabelRow(query="q", label="3", score=0.5),
        LabelRow(query="r", label="5", score=1.0),
    )


def test_other_labels_lie_at_equal_distances():
    rows = label_rows(table([0.0, 0.4, 0.6, 1.0]), "weak", ("bad", "good"))

    assert [row.label for row in rows] == ["bad", "bad", "good", "good"]


def test_examples_show_rare_labels_too():
    """Of 100 rows with one 5 among the ones, four examples hold the 5."""
    rows = label_rows(table([0.0] * 98 + [0.5, 1.0]), "weak")

    for seed in range(20):
        labels = Counter(row.label for row in pick_examples(rows, 4, seed))
        assert labels == {"1": 2, "3": 1, "5": 1}
    assert pick_examples(rows, 4, 1) == pick_examples(rows, 4, 1)
    assert len({pick_examples(rows, 4, seed) for seed in range(10)}) > 1


def test_no_example_is_drawn_twice():
    rows = label_rows(table([0.0, 0.0, 1.0]), "weak")

    assert sorted(row.query for row in pick_examples(rows, 3)) == ["q0", "q1", "q2"]
    with pytest.raises(DataError, match="4 examples"):
        pick_examples(rows, 4)


def test_a_table_that_cannot_teach_is_told():
    with pytest.raises(DataError, match="'other' is not in the table"):
        label_rows(table([0.0]), "other")
    with pytest.raises(DataError, match="tried on no prompt"):
        label_rows(table([np.nan]), "weak")
    for labels in (("1",), ("1", "1"), "12", ("1", "")):
        with pytest.raises(ConfigError, match="labels"):
            label_rows(table([0.0]), "weak", labels)

"""Rows for a reader of capability texts."""

from collections import Counter

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.aptitudes import choose_items
from motet.routing.capability_rows import capability_rows
from motet.routing.outcomes import Outcomes

RATES = {"strong": 0.8, "weak": 0.2, "perfect": 1.0, "useless": 0.0}


def drawn(num=200):
    rng = np.random.default_rng(0)
    scores = (rng.random((num, 4)) < list(RATES.values())).astype(float)
    return Outcomes(
        prompts=tuple(f"q{row}" for row in range(num)),
        models=tuple(RATES),
        scores=scores,
        costs=np.ones(scores.shape),
        groups=tuple(f"g{row % 3}" for row in range(num)),
    )


TABLE = drawn()
TEST = choose_items(TABLE, per_category=5)


def groups(rows):
    found = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return list(found.values())


def test_a_group_is_one_right_and_three_wrong_queries_of_one_model():
    """By the table itself, query by query."""
    found = capability_rows(TABLE, TEST, num_groups=50, seed=1)

    for group in groups(found.rows):
        assert len({row.model for row in group}) == len({row.abilities for row in group}) == 1
        assert [row.is_right for row in group] == [True, False, False, False]
        assert len({row.query for row in group}) == 4
        for row in group:
            line = TABLE.prompts.index(row.query)
            score = TABLE.scores[line, TABLE.models.index(row.model)]
            assert bool(score) == row.is_right
    assert len(found.rows) == 200


def test_no_query_is_of_the_aptitude_test():
    found = capability_rows(TABLE, TEST, num_groups=300)

    assert not {row.query for row in found.rows} & TEST.prompts


def test_the_text_is_of_the_model_and_its_order_changes_from_group_to_group():
    found = capability_rows(TABLE, TEST, num_groups=40)
    results = TEST.results(TABLE)

    texts = {row.abilities for row in found.rows if row.model == "strong"}
    assert len(texts) > 1
    for text in texts:
        for line in text.splitlines():
            category, share = line.split(": ")
            assert share == f"{results['strong'][category]:.0%} right"


def test_models_that_are_always_right_or_always_wrong_make_no_group_and_are_named():
    found = capability_rows(TABLE, TEST, num_groups=60)

    assert found.left_out == ("perfect", "useless")
    assert {row.model for row in found.rows} == {"strong", "weak"}


def test_stronger_models_are_drawn_more_often():
    """By their mean score: four to one; without favour all alike."""
    counts = [
        Counter(
            row.model
            for row in capability_rows(TABLE, TEST, num_groups=600, favour=favour).rows
            if row.is_right
        )
        for favour in (1.0, 0.0)
    ]

    assert 2.5 < counts[0]["strong"] / counts[0]["weak"] < 6.5
    assert 0.7 < counts[1]["strong"] / counts[1]["weak"] < 1.4


def test_the_seed_draws_the_rows():
    first = capability_rows(TABLE, TEST, num_groups=5, seed=3)

    assert first == capability_rows(TABLE, TEST, num_groups=5, seed=3)
    assert first != capability_rows(TABLE, TEST, num_groups=5, seed=4)


def test_what_cannot_teach_is_told():
    few = TABLE.only(["perfect", "useless"])
    with pytest.raises(DataError, match="no model has a right and 3 wrong"):
        capability_rows(few, TEST, num_groups=5)
    with pytest.raises(ConfigError, match="size is 1"):
        capability_rows(TABLE, TEST, num_groups=5, size=1)
    with pytest.raises(ConfigError, match="num_groups is 0"):
        capability_rows(TABLE, TEST, num_groups=0)


def test_the_strongest_favour_leaves_the_strongest_model():
    """Powers so small that all are 0 made no distribution."""
    rows = capability_rows(TABLE, TEST, num_groups=5, favour=10_000.0).rows

    assert {row.model for row in rows} == {"strong"}

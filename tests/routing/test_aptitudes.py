"""Aptitude tests: which prompts, what results, and their words."""

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.aptitudes import AptitudeTest, capability_text, choose_items, draw_orders
from motet.routing.outcomes import Outcomes

SCORES = {
    "sums 1": (1, 1, 1),
    "sums 2": (0, 1, 1),
    "sums 3": (0, 0, 0),
    "poems 1": (1, 0, 0),
    "poems 2": (1, 1, 0),
    "poems 3": (1, 1, 1),
}


def table(scores=SCORES, models=("a", "b", "c"), **changes):
    values = np.array(list(scores.values()), dtype=float)[:, : len(models)]
    given = {
        "prompts": tuple(scores),
        "models": models,
        "scores": values,
        "costs": np.ones(values.shape),
        "groups": tuple(prompt.split()[0] for prompt in scores),
    }
    return Outcomes(**{**given, **changes})


def test_the_items_that_tell_models_apart_are_chosen():
    """What all get right, or all wrong, is left out."""
    test = choose_items(table(), per_category=1)

    assert test.categories == ("sums", "poems")
    assert test.items == (("sums 2",), ("poems 1",))
    assert choose_items(table(), per_category=2).items[1] == ("poems 1", "poems 2")


def test_results_are_the_mean_scores_on_the_tests_prompts():
    test = choose_items(table(), per_category=2)

    assert test.items == (("sums 2", "sums 1"), ("poems 1", "poems 2"))
    assert test.results(table()) == {
        "a": {"sums": 0.5, "poems": 1.0},
        "b": {"sums": 1.0, "poems": 0.5},
        "c": {"sums": 1.0, "poems": 0.0},
    }


def test_another_model_changes_no_other_models_results():
    """The test is chosen once; a model that comes later sits the same one."""
    test = choose_items(table(models=("a", "b")), per_category=2)
    before, after = test.results(table(models=("a", "b"))), test.results(table())

    assert {model: after[model] for model in before} == before
    assert set(after) == {"a", "b", "c"}


def test_a_prompt_in_several_rows_is_one_item_with_its_mean():
    twice = table(
        prompts=("sums 1", "sums 1", "sums 3", "poems 1", "poems 2", "poems 3"),
    )
    test = choose_items(twice, per_category=5)

    assert test.items[0] == ("sums 1", "sums 3")
    assert test.results(twice)["a"]["sums"] == 0.25


def with_gap(row, column):
    scores = table().scores.copy()
    scores[row, column] = np.nan
    return table(scores={prompt: tuple(line) for prompt, line in zip(SCORES, scores, strict=True)})


def test_a_model_that_skipped_an_item_is_told():
    """A mean over other items than the others' would be no comparison."""
    test = choose_items(table(), per_category=2)

    with pytest.raises(
        DataError, match=r"'c' was not tried on 1 prompts.*'sums', such as 'sums 2'"
    ):
        test.results(with_gap(1, 2))
    with pytest.raises(DataError, match=r"'a' was not tried on 2 prompts of the test of 'sums'"):
        test.results(table().take([3, 4]))


def test_items_need_groups_that_every_model_was_tried_on():
    assert choose_items(with_gap(1, 2), per_category=1).items[0] == ("sums 1",)
    with pytest.raises(DataError, match="no groups"):
        choose_items(table(groups=None))
    with pytest.raises(DataError, match="'sums' has no prompt"):
        choose_items(with_gap(1, 2).take([1, 3]))
    with pytest.raises(ConfigError, match="per_category is 0"):
        choose_items(table(), per_category=0)


def test_a_text_has_a_line_for_each_category():
    found = capability_text(
        {"sums": 0.5, "poems": 1.0}, keywords={"sums": ("add", "carry")}, order=("poems", "sums")
    )

    assert found == "poems: 100% right\nsums (add, carry): 50% right"


@pytest.mark.parametrize(
    ("results", "order", "said"),
    [
        ({}, None, "results is empty"),
        ({"a": 1.5}, None, r"results\['a'\] is 1.5"),
        ({"a": 1.0}, ("b",), "order is"),
        ({"a": 1.0}, ("a", "a"), "order is"),
    ],
)
def test_wrong_results_are_refused(results, order, said):
    with pytest.raises(ConfigError, match=said):
        capability_text(results, order=order)


def test_orders_do_not_depend_on_the_order_that_the_categories_come_in():
    names = tuple("abcdef")

    first = draw_orders(names, 3, seed=1)

    assert first == draw_orders(names[::-1], 3, seed=1)
    assert len(set(first)) == 3
    assert all(sorted(order) == list(names) for order in first)


@pytest.mark.parametrize(
    "changes",
    [
        {"categories": ("a", "a")},
        {"items": (("p",), ())},
        {"items": (("p",),)},
        {"categories": [], "items": []},
    ],
)
def test_wrong_tests_are_refused(changes):
    with pytest.raises(ConfigError):
        AptitudeTest(**{"categories": ("a", "b"), "items": (("p",), ("q",)), **changes})

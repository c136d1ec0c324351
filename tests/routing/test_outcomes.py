"""The table of outcomes: what it refuses, and how it is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.outcomes import Outcomes, check_embeddings


def table(**changes: Any) -> Outcomes:
    fields: dict[str, Any] = {
        "prompts": ("p", "q", "p"),
        "models": ("a", "b"),
        "scores": np.array([[1.0, 0.0], [0.5, np.nan], [0.25, 1.0]]),
        "costs": np.array([[1.0, 2.0], [np.nan, np.nan], [3.0, 4.0]]),
        "groups": ("x", "y", "x"),
    }
    return Outcomes(**(fields | changes))


def same(first: Outcomes, second: Outcomes) -> bool:
    return (
        (first.prompts, first.models, first.groups)
        == (second.prompts, second.models, second.groups)
        and np.array_equal(first.scores, second.scores, equal_nan=True)
        and np.array_equal(first.costs, second.costs, equal_nan=True)
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scores": np.zeros((2, 2))}, r"shape \(2, 2\)"),
        ({"costs": np.zeros(6)}, r"costs has the shape \(6,\)"),
        ({"models": ("a", "a")}, "'a' stands more than once"),
        ({"groups": ("x",)}, "1 groups for 3 prompts"),
        ({"scores": [[1, 0], [0.5, 1.5], [0, 1]]}, "1.5 of model 'b' on prompt 'q'"),
        ({"scores": [[1, 0], [0.5, 0], [0, -0.1]]}, "-0.1 of model 'b' on prompt 'p'"),
        ({"scores": [[1, np.inf], [0.5, 0], [0, 0]]}, "inf of model 'b' on prompt 'p'"),
        ({"costs": [[1, 2], [-1, 0], [0, 0]]}, "-1.0 of model 'a' on prompt 'q'"),
        ({"costs": [[1, 2], [1, np.inf], [0, 0]]}, "inf of model 'b' on prompt 'q'"),
        ({"scores": [["good", 0], [0, 0], [0, 0]]}, "no array of numbers"),
        ({"scores": [[1], [0, 0], [0, 0]]}, "no array of numbers"),
        ({"prompts": (), "scores": np.zeros((0, 2)), "costs": np.zeros((0, 2))}, "empty"),
        ({"models": (), "scores": np.zeros((3, 0)), "costs": np.zeros((3, 0))}, "empty"),
        ({"models": "ab"}, "models is 'ab'"),
        ({"prompts": ("p", 1, "q")}, "tuple of texts"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        table(groups=None, **changes) if "groups" not in changes else table(**changes)


def test_costs_above_one_and_unknown_cells_are_allowed() -> None:
    made = table()

    assert made.costs[2, 1] == 4
    assert np.isnan(made.scores[1, 1])


def test_the_arrays_are_copies_that_cannot_be_written_to() -> None:
    scores = np.zeros((3, 2))
    made = table(scores=scores)

    scores[0, 0] = 1

    assert made.scores[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        made.scores[0, 0] = 1


def test_take_keeps_the_rows_in_the_order_asked_for_even_twice() -> None:
    made = table().take([2, 0, 2])

    assert made.prompts == ("p", "p", "p")
    assert made.scores.tolist() == [[0.25, 1], [1, 0], [0.25, 1]]
    assert made.costs.tolist() == [[3, 4], [1, 2], [3, 4]]
    assert made.groups == ("x", "x", "x")


@pytest.mark.parametrize("rows", [[], [3], [-1], [True, False, True], [0.5], [[0]]])
def test_take_refuses_what_are_no_rows(rows: Any) -> None:
    with pytest.raises(DataError, match="row"):
        table().take(rows)


def test_only_reorders_the_columns() -> None:
    made = table().only(["b", "a"])

    assert made.models == ("b", "a")
    assert made.scores[0].tolist() == [0, 1]
    assert made.costs[0].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("models", "said"), [(["c"], "'c' is not"), (["a", "a"], "once"), ([], "models is empty")]
)
def test_only_refuses_unknown_repeated_and_no_models(models: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        table().only(models)


def test_complete_keeps_the_rows_where_all_is_known() -> None:
    assert same(table().complete(), table().take([0, 2]))


def test_complete_of_a_table_without_such_a_row_names_the_rarest_model() -> None:
    with pytest.raises(DataError, match="'b' has 0 of 1"):
        table(costs=np.ones((3, 2))).take([1]).complete()


@given(
    prompts=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=30),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
)
def test_a_split_parts_prompts_and_loses_no_row(
    prompts: list[str], share: float, seed: int
) -> None:
    if len(set(prompts)) < 2:
        return
    costs = np.arange(len(prompts), dtype=float)[:, None]
    made = Outcomes(prompts=tuple(prompts), models=("m",), scores=costs * 0, costs=costs)

    first, second = made.split(share, seed)

    assert not set(first.prompts) & set(second.prompts)
    assert sorted([*first.costs[:, 0], *second.costs[:, 0]]) == costs[:, 0].tolist()
    assert abs(len(set(first.prompts)) - share * len(set(prompts))) <= 1


def test_a_split_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    prompts = tuple(f"p{i}" for i in range(50))
    zeros = np.zeros((50, 1))
    made = Outcomes(prompts=prompts, models=("m",), scores=zeros, costs=zeros)
    turned = made.take(range(49, -1, -1))

    first = set(made.split(0.5, 1)[0].prompts)

    assert set(turned.split(0.5, 1)[0].prompts) == first
    assert set(made.split(0.5, 2)[0].prompts) != first


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1, float("nan"), "half", True])
def test_a_share_that_leaves_a_side_empty_is_refused(share: Any) -> None:
    with pytest.raises(ConfigError, match="share"):
        table().split(share)


def test_one_prompt_cannot_be_split() -> None:
    with pytest.raises(DataError, match="one distinct prompt"):
        table().take([0, 2]).split(0.5)


def test_embeddings_come_back_as_floats() -> None:
    made = check_embeddings([[1, 2], [3, 4]], 2, 2)

    assert made.dtype == np.float64
    assert made.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("embeddings", "said"),
    [
        (np.zeros((3, 2)), r"shape \(3, 2\)"),
        (np.zeros(2), r"shape \(2,\)"),
        (np.zeros((2, 0)), r"shape \(2, 0\)"),
        (np.zeros((2, 3)), "3 dimensions; 4 are needed"),
        ([[1, 2, 3, 4], [1, np.nan, 3, 4]], "nan in row 1, dimension 1"),
        ([[1, 2, 3, 4], [1, 2, 3, -np.inf]], "-inf in row 1, dimension 3"),
        ([["a"] * 4, ["b"] * 4], "no array of numbers"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(embeddings: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_embeddings(embeddings, 2, 4)

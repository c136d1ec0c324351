"""Fitted chains: on the batch that fitted them they do what the batch did."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.cascade import NEVER
from motet.routing.chain_ensemble import ChainEnsemble
from motet.routing.chain_fit import FittedChain, fit_chain

NAMES = ("a", "b", "c")


def batch(ensemble, confidences):
    """Run a chain over confidences [N, m]; returns which links saw which items."""
    sure = np.asarray(confidences, dtype=float)
    seen = np.zeros(sure.shape, dtype=bool)
    rows = np.arange(len(sure))
    for place in range(sure.shape[1]):
        seen[rows, place] = True
        rows = rows[ensemble.passed_on(place, sure[rows, place])]
    return sure, seen


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_fitted_chain_repeats_its_batch(num_items, seed):
    """Without equal confidences it keeps the same items and lets the same links win."""
    ensemble = ChainEnsemble(models=NAMES)
    drawn = np.random.default_rng(seed).permuted(
        np.linspace(0, 1, num_items * 3).reshape(num_items, 3), axis=0
    )
    sure, seen = batch(ensemble, drawn)
    fitted = fit_chain(ensemble, np.where(seen, sure, np.nan), seen)

    won = ensemble.winners(np.where(seen, sure, np.nan), seen)

    for row in range(num_items):
        asked = []
        for place in range(3):
            asked.append(float(sure[row, place]))
            if fitted.keeps(place, asked[-1]):
                break
        assert len(asked) == seen[row].sum()
        assert fitted.winner(asked) == won[row]


def test_a_threshold_is_the_least_confidence_that_was_kept():
    """Of four items two links keep two each: 0.9 and 0.5 stay with the first."""
    ensemble = ChainEnsemble(models=("a", "b"))
    sure, seen = batch(ensemble, [[0.1, 0.2], [0.5, 0.0], [0.9, 0.0], [0.3, 0.4]])

    fitted = fit_chain(ensemble, sure, seen)

    assert fitted.thresholds == (0.5,)
    assert fitted.confidences == ((0.1, 0.3, 0.5, 0.9), (0.2, 0.4))
    assert [fitted.keeps(0, each) for each in (0.5, 0.49, None)] == [True, False, False]
    assert fitted.keeps(1, None)


def test_ranks_count_the_links_own_confidences():
    """A link that is always near 1 does not win by that: raw confidences would let it."""
    fitted = FittedChain(
        thresholds=(0.99,), confidences=((0.96, 0.97, 0.98, 0.99), (0.1, 0.2, 0.3, 0.4))
    )

    assert fitted.rank(0, 0.96) == 0.25
    assert fitted.rank(1, 0.3) == 0.75
    assert fitted.winner([0.96, 0.3]) == 1
    assert fitted.winner([0.98, 0.1]) == 0


def test_the_later_of_equal_ranks_wins_and_an_unknown_confidence_never_against_a_known_one():
    fitted = FittedChain(thresholds=(0.5,), confidences=((0.2, 0.8), (0.3, 0.9)))

    assert fitted.winner([0.2, 0.3]) == 1
    assert fitted.winner([0.1, None]) == 0
    assert fitted.winner([None, None]) == 1


def test_a_link_that_kept_nothing_keeps_nothing_later():
    """One item of two links goes on to the second, however sure the first was."""
    ensemble = ChainEnsemble(models=("a", "b"))

    fitted = fit_chain(ensemble, *batch(ensemble, [[1.0, 0.5]]))

    assert fitted.thresholds == (NEVER,)
    assert not fitted.keeps(0, 1.0)


def test_what_is_unknown_raises_no_threshold():
    """A link that was to keep two and knows one keeps that one."""
    ensemble = ChainEnsemble(models=("a", "b"))
    sure = np.array([[0.7, np.nan], [np.nan, 0.1], [np.nan, 0.2], [np.nan, 0.3]])

    fitted = fit_chain(ensemble, sure, ~np.isnan(sure) | np.array([True, False]))

    assert fitted.thresholds == (0.7,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"thresholds": ()}, "thresholds has 0 values for 2 links"),
        ({"thresholds": (math.nan,)}, r"thresholds\[0\]"),
        ({"confidences": ((0.5, 0.1), ())}, r"confidences\[0\] does not rise"),
        ({"confidences": ((0.5, math.inf), ())}, r"confidences\[0\]"),
        ({"confidences": [(), ()]}, "confidences is"),
    ],
)
def test_wrong_chains_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        FittedChain(**{"thresholds": (0.5,), "confidences": ((0.1,), (0.2,)), **changes})


def test_any_number_changes_the_identity():
    """A number that moves from one link to the next does too."""
    chains = [
        FittedChain(thresholds=(0.5,), confidences=((0.1, 0.2), (0.3,))),
        FittedChain(thresholds=(0.4,), confidences=((0.1, 0.2), (0.3,))),
        FittedChain(thresholds=(0.5,), confidences=((0.1,), (0.2, 0.3))),
        FittedChain(thresholds=(0.5,), confidences=((0.1, 0.2), (0.4,))),
    ]

    assert len({each.identity for each in chains}) == 4
    again = FittedChain(thresholds=(0.5,), confidences=((0.1, 0.2), (0.3,)))
    assert again.identity == chains[0].identity
    assert again == chains[0]


def test_a_chain_that_passes_on_at_random_has_no_thresholds():
    ensemble = ChainEnsemble(models=("a", "b"), forward="random")

    with pytest.raises(ConfigError, match="random"):
        fit_chain(ensemble, np.ones((2, 2)), np.ones((2, 2), dtype=bool))


def test_shapes_that_do_not_fit_are_refused():
    chain = ChainEnsemble(models=("a", "b"))

    with pytest.raises(DataError, match="confidences for"):
        fit_chain(chain, np.ones((2, 3)), np.ones((2, 3), dtype=bool))
    with pytest.raises(DataError, match="outside 0 to 1"):
        fit_chain(chain, np.full((2, 2), 1.5), np.ones((2, 2), dtype=bool))

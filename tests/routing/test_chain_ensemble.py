import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.chain_ensemble import ChainEnsemble
from motet.routing.outcomes import Outcomes

NAMES = ("small", "middle", "large")
COSTS = np.array([1.0, 4.0, 10.0])


def table(scores):
    scores = np.asarray(scores, dtype=float)
    prompts = tuple(f"p{row}" for row in range(len(scores)))
    costs = np.broadcast_to(COSTS[: scores.shape[1]], scores.shape)
    models = NAMES[: scores.shape[1]]
    return Outcomes(prompts=prompts, models=models, scores=scores, costs=costs)


def drawn(num_rows: int):
    rng = np.random.default_rng(0)
    outcomes = table(rng.random((num_rows, 3)) < [0.5, 0.7, 0.9])
    return outcomes, rng.random((num_rows, 3))


def test_three_links_on_ninety_items_keep_thirty_each() -> None:
    """And forward 60, then 30; the cost is what each link saw times its price."""
    outcomes, sure = drawn(90)

    run = ChainEnsemble(models=NAMES).play(outcomes, sure)

    assert run.called.sum(axis=0).tolist() == [90, 60, 30]
    assert run.costs.sum() == 90 * 1 + 60 * 4 + 30 * 10


def test_equal_shares_written_out_are_the_default() -> None:
    """Thirds are 30 of 90, whatever the rounding of floats."""
    for num_items in range(200):
        plain = ChainEnsemble(models=NAMES)
        shares = ChainEnsemble(models=NAMES, shares=(1 / 3, 1 / 3, 1 / 3))
        assert plain.num_kept(0, num_items) == shares.num_kept(0, num_items)
        assert plain.num_kept(1, num_items) == shares.num_kept(1, num_items)
        assert plain.num_kept(2, num_items) == num_items


def test_a_schedule_says_what_each_link_keeps_of_the_whole() -> None:
    """Shares of a half, 0.3 and 0.2 keep 50, 30 and 20 of 100."""
    outcomes, sure = drawn(100)

    run = ChainEnsemble(models=NAMES, shares=(0.5, 0.3, 0.2)).play(outcomes, sure)

    assert run.called.sum(axis=0).tolist() == [100, 50, 20]


def test_one_link_is_that_model() -> None:
    """Every item is labelled by it once, at its price."""
    outcomes, sure = drawn(7)

    run = ChainEnsemble(models=("middle",)).play(outcomes, sure)

    assert run.scores.tolist() == outcomes.scores[:, 1].tolist()
    assert run.costs.tolist() == [4.0] * 7


def test_where_confidence_is_ease_the_hardest_are_passed_on() -> None:
    """The items that reach the last link are those of the least confidence."""
    ease = np.random.default_rng(1).permutation(90) / 90
    outcomes, _ = drawn(90)

    run = ChainEnsemble(models=NAMES).play(outcomes, np.repeat(ease[:, None], 3, axis=1))

    assert set(np.flatnonzero(run.called[:, 2])) == set(np.argsort(ease)[:30])


@given(st.integers(1, 60), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_links_see_fewer_and_fewer_and_each_item_gets_a_label(num_items, seed) -> None:
    """Items fall along the chain; the link whose label stands has seen the item."""
    rng = np.random.default_rng(seed)
    outcomes = table(rng.random((num_items, 3)))

    run = ChainEnsemble(models=NAMES).play(outcomes, rng.random((num_items, 3)).round(1))

    seen = run.called.sum(axis=0)
    assert seen[0] == num_items and (np.diff(seen) <= 0).all()
    assert run.called[np.arange(num_items), run.answer].all()


def test_a_link_may_win_an_item_that_it_passed_on() -> None:
    """Ranks are over all that a link labelled, and the higher rank of the two links has it."""
    sure = np.array([[0.9, 0], [0.8, 0], [0.7, 0.1], [0.6, 0.9]])
    seen = np.array([[1, 0], [1, 0], [1, 1], [1, 1]], dtype=bool)
    chain = ChainEnsemble(models=NAMES[:2])

    # Ranks: first link 1, .75, .5, .25; second link .5 (a tie with the first) and 1.
    assert chain.winners(sure, seen).tolist() == [0, 0, 1, 1]
    lower = np.array([[0.9, 0], [0.8, 0], [0.7, 0.1], [0.85, 0.9]])
    assert chain.winners(lower, seen).tolist() == [0, 0, 1, 1]
    five = np.array([[0.9, 0], [0.8, 0], [0.7, 0.1], [0.6, 0.2], [0.5, 0.3]])
    saw = np.array([[1, 0], [1, 0], [1, 1], [1, 1], [1, 1]], dtype=bool)
    # First link .6, .4, .2 of those it passed on; second 1/3, 2/3, 1.
    assert chain.winners(five, saw).tolist() == [0, 0, 0, 1, 1]


def test_ranks_and_not_raw_confidences_decide() -> None:
    """A link that is sure of everything wins nothing by that."""
    sure = np.array([[0.99, 0], [0.98, 0], [0.97, 0.2], [0.96, 0.1]])
    seen = np.array([[1, 0], [1, 0], [1, 1], [1, 1]], dtype=bool)

    assert ChainEnsemble(models=NAMES[:2]).winners(sure, seen).tolist() == [0, 0, 1, 1]


def test_an_unknown_confidence_is_passed_on_first_and_wins_last() -> None:
    """Where no link is known, the latest label stands."""
    chain = ChainEnsemble(models=NAMES[:2])

    assert chain.passed_on(0, [0.1, None, 0.9, math.nan]) == [1, 3]
    sure = np.array([[math.nan, math.nan], [math.nan, 0.1], [0.1, math.nan]])
    assert chain.winners(sure, np.ones((3, 2), dtype=bool)).tolist() == [1, 1, 0]


def test_the_random_baseline_passes_on_as_many_whatever_the_confidence() -> None:
    """The same items for one seed, others for another, and not the least confident."""
    sure = np.arange(90) / 90

    first = ChainEnsemble(models=NAMES, forward="random", seed=1).passed_on(0, sure)
    again = ChainEnsemble(models=NAMES, forward="random", seed=1).passed_on(0, 1 - sure)
    other = ChainEnsemble(models=NAMES, forward="random", seed=2).passed_on(0, sure)

    assert first == again != other
    assert len(first) == 60
    assert first != ChainEnsemble(models=NAMES).passed_on(0, sure) == list(range(60))


def test_bad_settings_and_tables_are_typed_errors() -> None:
    """ConfigError for settings, DataError for tables."""
    outcomes, sure = drawn(3)

    with pytest.raises(ConfigError, match="3 models need as many"):
        ChainEnsemble(models=NAMES, shares=(0.5, 0.5))
    with pytest.raises(ConfigError, match=r"shares\[1\] is 0"):
        ChainEnsemble(models=NAMES[:2], shares=(1.0, 0.0))
    with pytest.raises(ConfigError, match="forward is 'best'"):
        ChainEnsemble(models=NAMES, forward="best")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="'huge' is not in the table"):
        ChainEnsemble(models=("huge",)).play(outcomes, sure)
    with pytest.raises(DataError, match="confidences have the shape"):
        ChainEnsemble(models=NAMES).play(outcomes, sure[:2])
    with pytest.raises(DataError, match="infinite"):
        ChainEnsemble(models=NAMES).play(outcomes, sure + math.inf)
    with pytest.raises(DataError, match="no link saw item 1"):
        ChainEnsemble(models=NAMES).winners(sure[:2], np.array([[1, 1, 1], [0, 0, 0]]))

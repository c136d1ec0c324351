import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.cascade import NEVER, Call, Cascade
from motet.routing.outcomes import Outcomes

NAMES = ("small", "middle", "large")


def table(scores, costs=None):
    scores = np.asarray(scores, dtype=float)
    costs = np.broadcast_to([1.0, 4.0, 10.0], scores.shape) if costs is None else np.asarray(costs)
    prompts = tuple(f"p{row}" for row in range(len(scores)))
    return Outcomes(prompts=prompts, models=NAMES, scores=scores, costs=costs)


def cascade(*thresholds, models=NAMES, **settings):
    return Cascade(models=models, thresholds=thresholds, **settings)


EIGHT = [[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]


def test_a_perfect_scorer_gives_any_model_correct() -> None:
    """Where the confidence is the score itself, a prompt is right if any model in the chain is."""
    outcomes = table(EIGHT)

    run = cascade(0.5, 0.5).play(outcomes, outcomes.scores)

    assert run.scores.tolist() == [max(row) for row in EIGHT]
    assert run.mean_score == 7 / 8


@pytest.mark.parametrize("confidence", [0.0, 0.3, 1.0])
def test_a_constant_scorer_stops_at_the_first_or_goes_to_the_last(confidence: float) -> None:
    """With one confidence for all answers and one threshold, a middle model never answers."""
    outcomes = table(EIGHT)
    sure = np.full(outcomes.scores.shape, confidence)

    for threshold in (0.0, 0.2, 0.3, 0.31, 1.0, NEVER):
        run = cascade(threshold, threshold).play(outcomes, sure)

        assert set(run.answer.tolist()) == ({0} if confidence >= threshold else {2})


@given(
    st.lists(st.tuples(*[st.floats(0, 1)] * 6), min_size=1, max_size=8),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.permutations(NAMES),
    st.one_of(st.none(), st.floats(0, 20)),
)
@settings(max_examples=200, deadline=None)
def test_playing_is_asking_one_prompt_at_a_time(rows, thresholds, order, max_cost) -> None:
    """Scores, costs and calls are those of a plain loop over prompts and models."""
    cells = np.array(rows)
    outcomes = table(cells[:, :3])
    played = cascade(*thresholds, models=tuple(order), max_cost=max_cost)

    run = played.play(outcomes, cells[:, 3:])

    for row in range(len(rows)):
        score, cost, called = 0.0, 0.0, []
        for place, model in enumerate(order):
            column = NAMES.index(model)
            if max_cost is not None and cost + outcomes.costs[row, column] > max_cost:
                continue
            called.append(place)
            cost += outcomes.costs[row, column]
            score = outcomes.scores[row, column]
            if played.accepts(place, cells[row, 3 + column]):
                break
        assert np.flatnonzero(run.called[row]).tolist() == called
        assert run.scores[row] == score
        assert run.costs[row] == pytest.approx(cost, abs=1e-12)
        assert max_cost is None or run.costs[row] <= max_cost + 1e-9


def test_a_model_that_is_too_dear_is_skipped_and_a_later_one_asked() -> None:
    """The budget skips the middle of the chain, and the last one called answers."""
    outcomes = table([[0, 1, 1]], costs=[[1.0, 9.0, 2.0]])

    run = cascade(NEVER, NEVER, max_cost=3.0).play(outcomes, np.zeros((1, 3)))

    assert run.called.tolist() == [[True, False, True]]
    assert (run.mean_cost, run.mean_score) == (3.0, 1.0)


def test_where_the_last_model_is_too_dear_the_last_called_answers() -> None:
    """An answer that was not accepted stands where nothing else can be paid."""
    run = cascade(NEVER, NEVER, max_cost=5.0).play(table([[0, 1, 0]]), np.zeros((1, 3)))

    assert run.answer.tolist() == [1]
    assert (run.mean_cost, run.mean_score) == (5.0, 1.0)


def test_a_budget_below_every_price_is_an_unanswered_prompt() -> None:
    """It scores 0, costs nothing and is counted."""
    run = cascade(0.5, 0.5, max_cost=0.5).play(table([[1, 1, 1]]), np.ones((1, 3)))

    assert (run.num_unanswered, run.mean_score, run.mean_cost) == (1, 0.0, 0.0)


def test_the_budget_skips_by_price_and_what_is_paid_is_the_cost() -> None:
    """A call that was expected cheap may cost more than the budget."""
    outcomes = table([[0, 1, 1]])
    prices = np.array([[1.0, 1.0, 1.0]])

    run = cascade(NEVER, NEVER, max_cost=6.0).play(outcomes, np.zeros((1, 3)), prices)

    assert run.called.tolist() == [[True, True, True]]
    assert run.mean_cost == 15.0


def test_an_unknown_confidence_is_passed_on_even_at_threshold_zero() -> None:
    """Not knowing is not a confidence of 0."""
    sure = np.array([[math.nan, 0.0, 0.0]])

    run = cascade(0.0, 0.0).play(table([[1, 0, 1]]), sure)

    assert run.answer.tolist() == [1]
    assert not cascade(0.0, 0.0).accepts(0, None)
    assert not cascade(0.0, 0.0).accepts(0, math.nan)
    assert cascade(0.0, 0.0).accepts(2, None)


def test_a_trace_lists_the_calls_of_a_prompt() -> None:
    """Model, confidence, cost and verdict, in order, and nothing that was not called."""
    outcomes, sure = table([[0, 1, 1]]), np.array([[0.2, 0.9, 0.1]])
    played = cascade(0.5, 0.5)

    calls = played.trace(played.play(outcomes, sure), 0, sure, outcomes)

    assert calls == [
        Call(model="small", confidence=0.2, cost=1.0, verdict="passed on"),
        Call(model="middle", confidence=0.9, cost=4.0, verdict="accepted"),
    ]
    with pytest.raises(DataError, match="row 1 is not in a run of 1"):
        played.trace(played.play(outcomes, sure), 1, sure, outcomes)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"models": ()}, "models are"),
        ({"models": ("a", "a"), "thresholds": (0.5,)}, "must be distinct"),
        ({"models": ("a", "b"), "thresholds": ()}, "2 models need 1"),
        ({"models": ("a", "b"), "thresholds": (math.nan,)}, r"thresholds\[0\] is nan"),
        ({"models": ("a",), "max_cost": -1.0}, "max_cost is -1.0"),
    ],
)
def test_a_setting_out_of_range_is_named(bad, said: str) -> None:
    """ConfigError says which setting and its value."""
    with pytest.raises(ConfigError, match=said):
        Cascade(**{"thresholds": (), **bad})


def test_what_does_not_fit_the_table_is_a_typed_error() -> None:
    """Unknown models, untried models, missing costs, other shapes and confidences above 1."""
    outcomes = table([[1, math.nan, 1], [1, 1, 1]])
    sure = np.zeros((2, 3))

    with pytest.raises(DataError, match="'huge' is not in the table"):
        Cascade(models=("huge",), thresholds=()).play(outcomes, sure)
    with pytest.raises(DataError, match="'middle' has no score on prompt 'p0'.*1 of 2 prompts"):
        cascade(0.5, 0.5).play(outcomes, sure)
    with pytest.raises(DataError, match="'large' has no cost"):
        cascade(0.5, 0.5).play(table([[1, 1, 1]], costs=[[1.0, 1.0, math.nan]]), sure[:1])
    with pytest.raises(DataError, match="confidences have the shape"):
        cascade(0.5, models=("small", "large")).play(outcomes, np.zeros((2, 2)))
    with pytest.raises(DataError, match="of model 'large' in row 1 is 1.5"):
        cascade(0.5, models=("small", "large")).play(outcomes, sure + [[0, 0, 0], [0, 0, 1.5]])
    with pytest.raises(DataError, match="prices hold"):
        cascade(0.5, models=("small", "large")).play(outcomes, sure, np.full((2, 3), -1.0))


def test_an_untried_model_outside_the_chain_does_no_harm() -> None:
    """Only the models of the cascade need a score on every prompt."""
    outcomes = table([[1, math.nan, 0]])

    assert cascade(0.5, models=("small", "large")).play(outcomes, np.ones((1, 3))).mean_score == 1

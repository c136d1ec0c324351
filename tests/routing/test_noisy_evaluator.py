import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.noisy_evaluator import NoisyEvaluator
from motet.routing.outcomes import Outcomes

COSTS = np.array([10.0, 1.0, 4.0])
NAMES = ("large", "small", "middle")


def table(scores):
    scores = np.asarray(scores, dtype=float)
    prompts = tuple(f"p{row}" for row in range(len(scores)))
    costs = np.broadcast_to(COSTS, scores.shape)
    return Outcomes(prompts=prompts, models=NAMES, scores=scores, costs=costs)


def drawn(num_rows: int, seed: int = 0):
    return table(np.random.default_rng(seed).random((num_rows, 3)) < [0.9, 0.4, 0.6])


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0])] * 3), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_without_errors_or_budget_it_is_never_below_its_first_model(rows) -> None:
    """For right and wrong answers, prompt by prompt."""
    outcomes = table(rows)

    run = NoisyEvaluator().play(outcomes)

    assert (run.scores >= outcomes.scores[:, 1]).all()


def test_without_errors_it_is_right_wherever_any_model_is() -> None:
    """And pays for the models up to the first that is right, from the cheapest."""
    run = NoisyEvaluator().play(table([[1, 0, 1], [1, 1, 0], [0, 0, 0]]))

    assert run.models == ("small", "middle", "large")
    assert run.scores.tolist() == [1, 1, 0]
    assert run.costs.tolist() == [5, 1, 15]


def test_an_evaluator_that_guesses_stops_at_random() -> None:
    """At 0.5 half stop after each call, whatever the score, and none is right more often."""
    outcomes = drawn(20_000)

    run = NoisyEvaluator(epsilon=0.5).play(outcomes)

    shares = [(run.answer == place).mean() for place in range(3)]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.015)
    for place, column in enumerate([1, 2, 0]):
        stopped = run.answer == place
        expected = outcomes.scores[:, column].mean()
        assert run.scores[stopped].mean() == pytest.approx(expected, abs=0.02)


def test_an_evaluator_that_is_always_wrong_keeps_only_bad_answers() -> None:
    """At 1 it stops at the first wrong answer: right only where every model is."""
    outcomes = drawn(500)

    run = NoisyEvaluator(epsilon=1.0).play(outcomes)

    assert run.scores.tolist() == outcomes.scores.min(axis=1).tolist()


def test_more_errors_make_it_worse() -> None:
    """On the published grid of error rates up to a half."""
    outcomes = drawn(20_000)

    means = [NoisyEvaluator(epsilon=e).play(outcomes).mean_score for e in (0, 0.1, 0.2, 0.4, 0.5)]

    assert means == sorted(means, reverse=True)
    assert means[0] - means[-1] > 0.2


def test_it_stops_before_a_call_that_would_reach_the_budget() -> None:
    """Exactly what is left is too much; the first model is asked in any case."""
    outcomes = table([[1, 0, 0]])

    def calls(max_cost):
        return NoisyEvaluator(max_cost=max_cost).play(outcomes).called[0].tolist()

    assert calls(0.001) == [True, False, False]
    assert calls(5.0) == [True, False, False]
    assert calls(5.01) == [True, True, False]
    assert calls(15.01) == [True, True, True]


def test_the_same_seed_gives_the_same_run() -> None:
    """And another seed another one."""
    outcomes = drawn(200)

    first, again, other = (
        NoisyEvaluator(epsilon=0.4, seed=s).play(outcomes).answer.tolist() for s in (1, 1, 2)
    )

    assert first == again != other


def test_bad_settings_and_tables_are_typed_errors() -> None:
    """ConfigError for settings, DataError for tables."""
    with pytest.raises(ConfigError, match=r"epsilon is 1.5"):
        NoisyEvaluator(epsilon=1.5)
    with pytest.raises(ConfigError, match="max_cost is -1"):
        NoisyEvaluator(max_cost=-1)
    with pytest.raises(DataError, match="'huge' is not in the table"):
        NoisyEvaluator(models=("huge",)).play(drawn(3))
    with pytest.raises(DataError, match="'small' has no score"):
        NoisyEvaluator().play(table([[1, np.nan, 1]]))

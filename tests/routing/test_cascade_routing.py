from dataclasses import replace
from math import pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing import cascade_routing
from motet.routing.cascade import Cascade
from motet.routing.cascade_routing import Beliefs, CascadeRouting, cost_weight_within
from motet.routing.outcomes import Outcomes


def table(scores, costs):
    num_rows, num_models = np.shape(scores)
    return Outcomes(
        prompts=tuple(f"p{row}" for row in range(num_rows)),
        models=tuple(f"m{column}" for column in range(num_models)),
        scores=np.asarray(scores, dtype=float),
        costs=np.asarray(costs, dtype=float),
    )


def drawn(num_rows, num_models, seed=0, deviation=0.2):
    """Return a table and beliefs: dearer models are better, and what was read is known well."""
    rng = np.random.default_rng(seed)
    odds = np.linspace(0.4, 0.9, num_models)
    scores = (rng.random((num_rows, num_models)) < odds).astype(float)
    costs = np.linspace(1, 4, num_models) ** 2 * rng.uniform(0.8, 1.2, scores.shape)
    beliefs = Beliefs(
        before=np.clip(odds + rng.normal(0, 0.15, scores.shape), 0, 1),
        after=np.clip(0.2 + 0.6 * scores + rng.normal(0, 0.1, scores.shape), 0, 1),
        prices=costs,
        before_deviation=np.full(num_models, deviation),
        after_deviation=np.full(num_models, deviation / 4),
    )
    return table(scores, costs), beliefs


def certain(before, after, prices):
    zero = np.zeros(np.shape(before)[1])
    return Beliefs(
        before=np.asarray(before, float),
        after=np.asarray(after, float),
        prices=np.asarray(prices, float),
        before_deviation=zero,
        after_deviation=zero,
    )


@given(st.integers(0, 1000), st.floats(0, 1), st.integers(1, 5), st.floats(0, 0.5))
@settings(max_examples=60, deadline=None)
def test_with_one_step_it_is_routing(seed, weight, num_models, deviation) -> None:
    """The model of the greatest expected score less weighted price, however uncertain."""
    outcomes, beliefs = drawn(10, num_models, seed, deviation)

    run = CascadeRouting(cost_weight=weight, max_calls=1).play(outcomes, beliefs)

    best = (beliefs.before - weight * beliefs.prices).argmax(axis=1)
    assert run.answer.tolist() == best.tolist()
    assert (run.called.sum(axis=1) == 1).all()
    assert run.costs.tolist() == outcomes.costs[np.arange(10), best].tolist()


@given(st.integers(0, 1000), st.floats(0, 0.2), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_with_a_fixed_order_it_is_a_cascade(seed, weight, num_models) -> None:
    """Where no prompt differs before it is asked, the thresholds are what going on is worth."""
    rng = np.random.default_rng(seed)
    expected, prices = rng.random(num_models), rng.random(num_models) * 3
    after = rng.random((30, num_models))
    outcomes = table(rng.random((30, num_models)), np.tile(prices, (30, 1)))
    beliefs = replace(
        certain(np.tile(expected, (30, 1)), after, outcomes.costs),
        before_deviation=np.full(num_models, 0.3),
    )
    thresholds = [
        max(expected[k] - weight * prices[i + 1 : k + 1].sum() for k in range(i + 1, num_models))
        for i in range(num_models - 1)
    ]

    run = CascadeRouting(cost_weight=weight, kind="cascade").play(outcomes, beliefs)

    cascade = Cascade(models=outcomes.models, thresholds=tuple(map(float, thresholds)))
    same = cascade.play(outcomes, after)
    assert run.called.tolist() == same.called.tolist()
    assert run.answer.tolist() == same.answer.tolist()
    assert run.costs.tolist() == pytest.approx(same.costs.tolist())


def test_a_cascade_of_two_passes_on_below_what_the_second_is_worth() -> None:
    """The threshold is 0.8 - 0.1 x 2 = 0.6, itself accepted."""
    after = [[0.59, 0.1], [0.6, 0.1], [0.61, 0.1]]
    prices = np.tile([1.0, 2.0], (3, 1))
    beliefs = certain(np.tile([0.5, 0.8], (3, 1)), after, prices)

    run = CascadeRouting(cost_weight=0.1, kind="cascade").play(table(after, prices), beliefs)

    assert run.called[:, 1].tolist() == [True, False, False]


@given(st.integers(0, 1000), st.floats(0, 0.15), st.floats(0, 0.6), st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_pruning_changes_nothing(seed, weight, deviation, num_models) -> None:
    """Leaving out the sets with a model that does not pay for itself misses no best set."""
    outcomes, beliefs = drawn(4, num_models, seed, deviation)
    routing = CascadeRouting(cost_weight=weight, num_samples=32)

    for limit in (None, 2):
        fast = replace(routing, max_calls=limit).play(outcomes, beliefs)
        slow = replace(routing, max_calls=limit, prune=False).play(outcomes, beliefs)
        assert fast.called.tolist() == slow.called.tolist()
        assert fast.answer.tolist() == slow.answer.tolist()


def test_pruning_tries_far_fewer_sets(monkeypatch) -> None:
    """Of eight models there are 247 sets of two and more; few of them pay for themselves."""
    _, beliefs = drawn(1, 8)
    sets: list[int] = []
    greater = cascade_routing._greater
    monkeypatch.setattr(
        cascade_routing, "_greater", lambda a, b: (sets.append(1), greater(a, b))[1]
    )

    CascadeRouting(cost_weight=0.1, prune=False).next_model(beliefs, 0, [])
    num_all = len(sets)
    CascadeRouting(cost_weight=0.1).next_model(beliefs, 0, [])

    assert num_all == 247
    assert len(sets) - num_all < 60


def test_uncertainty_is_what_makes_a_second_call_worth_its_price() -> None:
    """The expected greater of two equal models is the deviation over the root of pi above one."""
    prices = [[1.0, 1.0]]
    sure = certain([[0.5, 0.5]], [[0.5, 0.5]], prices)
    unsure = replace(sure, before_deviation=np.array([0.2, 0.2]), after_deviation=np.full(2, 0.2))
    gain = 0.2 / sqrt(pi)
    routing = CascadeRouting(cost_weight=0.0, num_samples=20_000)

    def calls(beliefs, weight):
        run = replace(routing, cost_weight=weight).play(table([[1, 1]], prices), beliefs)
        return int(run.called.sum())

    assert calls(unsure, gain * 0.97) == 2
    assert calls(unsure, gain * 1.03) == 1
    assert calls(sure, 0.0) == 1


def test_an_answer_that_was_read_has_its_own_uncertainty() -> None:
    """What was unsure before and is sure now leaves nothing to win from an equal model."""
    known = replace(
        certain([[0.5, 0.5]], [[0.5, 0.5]], [[1.0, 1.0]]), before_deviation=np.array([0.2, 0.0])
    )
    doubtful = replace(known, after_deviation=np.array([0.2, 0.0]))
    routing = CascadeRouting(cost_weight=0.01)

    assert routing.next_model(known, 0, [0]) is None
    assert routing.next_model(doubtful, 0, [0]) == 1


def test_the_draws_do_not_move_a_model_that_is_best_for_sure() -> None:
    """A model far above the others is worth exactly its expected score, for few draws too."""
    beliefs = replace(
        certain([[0.1, 0.9]], [[0.1, 0.9]], [[1.0, 1.0]]), before_deviation=np.full(2, 0.05)
    )

    def asked_next(weight: float) -> int | None:
        return CascadeRouting(cost_weight=weight, num_samples=4).next_model(beliefs, 0, [0])

    assert asked_next(0.8 - 1e-6) == 1
    assert asked_next(0.8 + 1e-6) is None


def test_of_the_best_set_the_cheapest_model_is_asked_first() -> None:
    """Whatever its place in the table."""
    unsure = np.full(2, 0.3)
    beliefs = Beliefs(
        before=np.array([[0.5, 0.5]]),
        after=np.array([[0.5, 0.5]]),
        prices=np.array([[2.0, 1.0]]),
        before_deviation=unsure,
        after_deviation=unsure,
    )

    assert CascadeRouting(cost_weight=0.01).next_model(beliefs, 0, []) == 1


def test_it_chooses_anew_after_each_answer() -> None:
    """A good answer of the first ends it, a bad one leads past the second to the third."""
    before = np.tile([0.6, 0.5, 0.9], (2, 1))
    after = [[0.9, 0.5, 0.8], [0.1, 0.5, 0.8]]
    prices = np.tile([1.0, 2.0, 6.0], (2, 1))
    beliefs = certain(before, after, prices)
    routing = CascadeRouting(cost_weight=0.1)

    assert routing.next_model(beliefs, 0, []) == 0
    assert routing.next_model(beliefs, 0, [0]) is None
    assert routing.next_model(beliefs, 1, [0]) == 1
    cheap = replace(beliefs, prices=np.tile([1.0, 2.0, 3.0], (2, 1)))
    assert routing.next_model(cheap, 1, [0]) == 2


def test_the_best_answer_stands_and_not_the_last() -> None:
    """In a cascade the last does."""
    beliefs = certain([[0.2, 0.9]], [[0.3, 0.1]], [[1.0, 1.0]])
    outcomes = table([[1, 0]], [[1.0, 1.0]])
    routing = CascadeRouting(cost_weight=0.0, kind="cascade")

    assert routing.play(outcomes, beliefs).answer.tolist() == [1]
    assert routing.chosen(beliefs, 0, [0, 1]) == 1
    assert CascadeRouting(cost_weight=0.0).chosen(beliefs, 0, [0, 1]) == 0


def test_a_heavy_cost_asks_the_cheapest_and_a_free_one_asks_all() -> None:
    """The two ends of the weight, with uncertainty that makes each model worth asking."""
    outcomes, beliefs = drawn(20, 3, deviation=0.5)
    late = replace(beliefs, after_deviation=np.full(3, 0.5))

    dear = CascadeRouting(cost_weight=100.0).play(outcomes, late)
    free = CascadeRouting(cost_weight=0.0).play(outcomes, late)

    assert dear.called.tolist() == [[True, False, False]] * 20
    assert free.called.all()


def test_the_fitted_weight_keeps_the_budget_and_is_about_the_least() -> None:
    """Half of it costs more than the budget."""
    outcomes, beliefs = drawn(30, 3)
    routing = CascadeRouting(cost_weight=1.0, num_samples=32)

    for budget in (2.0, 5.0, 9.0):
        fitted = cost_weight_within(routing, outcomes, beliefs, budget)
        assert fitted.play(outcomes, beliefs).mean_cost <= budget
        less = replace(fitted, cost_weight=fitted.cost_weight / 2)
        assert fitted.cost_weight == 0 or less.play(outcomes, beliefs).mean_cost > budget
    assert cost_weight_within(routing, outcomes, beliefs, 1e6).cost_weight == 0
    with pytest.raises(DataError, match=r"max_mean_cost is 0.1; asking the cheapest"):
        cost_weight_within(routing, outcomes, beliefs, 0.1)


def test_what_is_seen_is_worth_more_than_routing_alone() -> None:
    """At one budget, asking again after bad answers gives more than asking one model each."""
    outcomes, beliefs = drawn(120, 3, seed=3)
    routing = CascadeRouting(cost_weight=1.0, num_samples=32)

    again = cost_weight_within(routing, outcomes, beliefs, 6.0)
    once = cost_weight_within(replace(routing, max_calls=1), outcomes, beliefs, 6.0)

    assert again.play(outcomes, beliefs).mean_score > once.play(outcomes, beliefs).mean_score + 0.03


def test_bad_settings_and_beliefs_are_typed_errors() -> None:
    """ConfigError for settings, DataError for numbers that do not fit."""
    outcomes, beliefs = drawn(3, 2)

    with pytest.raises(ConfigError, match="cost_weight is -1"):
        CascadeRouting(cost_weight=-1)
    with pytest.raises(ConfigError, match="num_samples is 33; it must be even"):
        CascadeRouting(cost_weight=1, num_samples=33)
    with pytest.raises(ConfigError, match="kind is 'tree'"):
        CascadeRouting(cost_weight=1, kind="tree")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_calls is 0"):
        CascadeRouting(cost_weight=1, max_calls=0)
    with pytest.raises(ConfigError, match="17 models"):
        CascadeRouting(cost_weight=1).play(*drawn(1, 17))
    with pytest.raises(DataError, match="prices has the shape"):
        replace(beliefs, prices=beliefs.prices[:1])
    with pytest.raises(DataError, match="after holds"):
        replace(beliefs, after=np.full((3, 2), np.nan))
    with pytest.raises(DataError, match="before_deviation holds"):
        replace(beliefs, before_deviation=np.array([-0.1, 0.1]))
    with pytest.raises(DataError, match="the table"):
        CascadeRouting(cost_weight=1).play(outcomes.take([0]), beliefs)
    with pytest.raises(DataError, match="'m1' has no score"):
        CascadeRouting(cost_weight=1).play(table([[1, np.nan]], [[1, 1]]), drawn(1, 2)[1])
    with pytest.raises(DataError, match="no model was asked"):
        CascadeRouting(cost_weight=1).chosen(beliefs, 0, [])
    with pytest.raises(DataError, match="row 3"):
        CascadeRouting(cost_weight=1).next_model(beliefs, 3, [])

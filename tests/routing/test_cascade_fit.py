import gzip
import json
import math
import os
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.cascade import NEVER, Cascade
from motet.routing.cascade_fit import CascadeFit, survival_threshold
from motet.routing.outcomes import Outcomes

NAMES = ("small", "middle", "large")
PRICES = np.array([1.0, 4.0, 10.0])


def table(scores, costs=None, models=NAMES):
    scores = np.asarray(scores, dtype=float)
    costs = np.broadcast_to(PRICES, scores.shape) if costs is None else costs
    prompts = tuple(f"p{row}" for row in range(len(scores)))
    return Outcomes(prompts=prompts, models=models, scores=scores, costs=costs)


def drawn(num_rows: int = 200, seed: int = 0):
    """Return a table, and confidences that know something of the scores."""
    rng = np.random.default_rng(seed)
    scores = (rng.random((num_rows, 3)) < [0.5, 0.7, 0.9]).astype(float)
    costs = PRICES * rng.uniform(0.5, 1.5, (num_rows, 3))
    sure = np.clip(0.3 + 0.4 * scores + rng.normal(0, 0.2, scores.shape), 0, 1)
    return table(scores, costs), sure


def best_single(outcomes, max_mean_cost):
    means = zip(outcomes.scores.mean(axis=0), outcomes.costs.mean(axis=0), strict=True)
    return max(score for score, cost in means if cost <= max_mean_cost)


@given(st.integers(0, 10_000), st.floats(1.6, 20), st.integers(5, 60))
@settings(max_examples=30, deadline=None)
def test_the_budget_holds_and_no_affordable_model_is_better(seed, budget, num_rows) -> None:
    """On the prompts of the fit, by playing what was fitted."""
    outcomes, sure = drawn(num_rows, seed)

    fitted = CascadeFit(max_mean_cost=budget, num_quantiles=8).fit(outcomes, sure)
    run = fitted.cascade.play(outcomes, sure)

    assert run.mean_cost <= budget * (1 + 1e-9)
    assert run.mean_score >= best_single(outcomes, budget) - 1e-9
    assert (fitted.mean_score, fitted.mean_cost) == pytest.approx((run.mean_score, run.mean_cost))
    assert fitted.num_prompts == num_rows


@given(st.integers(0, 10_000), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_the_target_holds_and_no_model_that_reaches_it_is_cheaper(seed, share) -> None:
    """For any target up to the best model's score."""
    outcomes, sure = drawn(40, seed)
    means = outcomes.scores.mean(axis=0)
    target = share * means.max()

    fitted = CascadeFit(min_mean_score=target, num_quantiles=8).fit(outcomes, sure)
    run = fitted.cascade.play(outcomes, sure)

    assert run.mean_score >= target * (1 - 1e-9)
    assert run.mean_cost <= outcomes.costs.mean(axis=0)[means >= target].min() * (1 + 1e-9)


def every_cascade(outcomes, sure):
    for length in (1, 2, 3):
        for models in permutations(NAMES, length):
            options = [
                [*np.unique(sure[:, NAMES.index(model)]).tolist(), NEVER] for model in models[:-1]
            ]
            for thresholds in product(*options):
                yield Cascade(models=models, thresholds=thresholds).play(outcomes, sure)


@pytest.mark.parametrize("seed", range(6))
def test_on_a_small_table_the_grid_is_every_cascade(seed: int) -> None:
    """With as many quantiles as prompts no order and no thresholds are better."""
    rng = np.random.default_rng(seed)
    outcomes = table(rng.integers(0, 2, (6, 3)))
    sure = rng.random((6, 3)).round(1)
    runs = list(every_cascade(outcomes, sure))

    for budget in (1.0, 3.0, 6.0, 12.0):
        fitted = CascadeFit(max_mean_cost=budget, num_quantiles=6).fit(outcomes, sure)
        best = max(run.mean_score for run in runs if run.mean_cost <= budget + 1e-9)
        assert fitted.mean_score == pytest.approx(best)
        cheapest = min(run.mean_cost for run in runs if run.mean_score >= best - 1e-9)
        target = CascadeFit(min_mean_score=best, num_quantiles=6).fit(outcomes, sure)
        assert target.mean_cost == pytest.approx(cheapest)


def test_a_perfect_scorer_and_money_enough_give_any_model_correct() -> None:
    """And no more is paid for it than the cheapest order costs."""
    outcomes = table(list(product([0, 1], repeat=3)))

    fitted = CascadeFit(max_mean_cost=100).fit(outcomes, outcomes.scores)

    assert fitted.mean_score == 7 / 8
    # Small always, middle for half of them, large for a quarter.
    assert fitted.mean_cost == 1 + 4 / 2 + 10 / 4
    assert fitted.cascade.models == NAMES


def test_a_constant_scorer_gives_a_single_model() -> None:
    """Nothing is gained by asking twice, so the best affordable model is asked alone."""
    outcomes, _ = drawn()

    fitted = CascadeFit(max_mean_cost=6.0).fit(outcomes, np.full(outcomes.scores.shape, 0.5))

    assert fitted.cascade.models == ("middle",)


def test_refinement_is_never_worse_and_sometimes_better() -> None:
    """With a coarse grid, moving single thresholds gains score within the budget."""
    gains = []
    for seed in range(8):
        outcomes, sure = drawn(150, seed)
        coarse = CascadeFit(max_mean_cost=5.0, num_quantiles=4, num_refined=0)
        fine = CascadeFit(max_mean_cost=5.0, num_quantiles=4)
        gains.append(fine.fit(outcomes, sure).mean_score - coarse.fit(outcomes, sure).mean_score)

    assert min(gains) >= -1e-9
    assert max(gains) > 0


@given(
    st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), min_size=1, max_size=12),
    st.integers(0, 12),
)
def test_thresholds_grow_with_survival(values, num_survivors) -> None:
    """More survivors never need a lower threshold, and no more survive than asked or unknown."""
    sure = np.array(values)

    threshold = survival_threshold(sure, num_survivors)

    assert survival_threshold(sure, num_survivors + 1) >= threshold
    assert threshold == NEVER or threshold in values
    survivors = int((~(sure >= threshold)).sum())
    assert survivors <= max(num_survivors, int(np.isnan(sure).sum()))
    if num_survivors >= len(values):
        assert threshold == NEVER and survivors == len(values)
    if len({*values}) == len(values) and not np.isnan(sure).any():
        assert survivors == min(num_survivors, len(values))


def test_only_the_chains_named_are_tried_and_single_models() -> None:
    """The best cascade of another order is not found, by the caller's wish."""
    outcomes = table(list(product([0, 1], repeat=3)))

    fitted = CascadeFit(max_mean_cost=100, chains=(("large", "small"),)).fit(
        outcomes, outcomes.scores
    )

    assert fitted.cascade.models == ("large", "small")
    assert fitted.mean_score == 3 / 4


def test_single_models_are_tried_whatever_chains_are_named() -> None:
    """So the promise about the best affordable model holds with any chains."""
    outcomes, _ = drawn()
    sure = np.full(outcomes.scores.shape, 0.5)

    fitted = CascadeFit(max_mean_cost=6.0, chains=(("small", "large"),)).fit(outcomes, sure)

    assert fitted.cascade.models == ("middle",)


def test_an_unknown_confidence_is_never_accepted_in_the_fit_either() -> None:
    """The means of the fit are those of playing, with NaN among the confidences."""
    outcomes, sure = drawn()
    sure[::3, 0] = math.nan

    fitted = CascadeFit(max_mean_cost=7.0, num_quantiles=10).fit(outcomes, sure)
    run = fitted.cascade.play(outcomes, sure)

    assert len(fitted.cascade.models) > 1
    assert (fitted.mean_score, fitted.mean_cost) == pytest.approx((run.mean_score, run.mean_cost))


def test_a_bound_that_nothing_keeps_says_what_is_best() -> None:
    """The cheapest model and its cost, or the best score and the chain that reaches it."""
    outcomes = table(list(product([0, 1], repeat=3)))

    with pytest.raises(DataError, match=r"max_mean_cost is 0.5; the cheapest.*'small', costs 1 "):
        CascadeFit(max_mean_cost=0.5).fit(outcomes, outcomes.scores)
    with pytest.raises(
        DataError, match=r"min_mean_score is 0.9; .* reached is 0.875, by small -> middle -> large"
    ):
        CascadeFit(min_mean_score=0.9).fit(outcomes, outcomes.scores)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({}, "exactly one of the two"),
        ({"max_mean_cost": 1.0, "min_mean_score": 0.5}, "exactly one of the two"),
        ({"max_mean_cost": -1.0}, "max_mean_cost is -1.0"),
        ({"min_mean_score": 1.5}, "min_mean_score is 1.5"),
        ({"max_mean_cost": 1.0, "max_models": 0}, "max_models is 0"),
        ({"max_mean_cost": 1.0, "num_quantiles": 1}, "num_quantiles is 1"),
        ({"max_mean_cost": 1.0, "chains": (("a", "a"),)}, "must be distinct"),
    ],
)
def test_a_setting_out_of_range_is_named(bad, said: str) -> None:
    """ConfigError says which setting and its value."""
    with pytest.raises(ConfigError, match=said):
        CascadeFit(**bad)


def test_more_chains_than_allowed_and_tables_with_gaps_are_refused() -> None:
    """Before any work is done."""
    outcomes, sure = drawn()
    gap = table([[1, math.nan, 1]])

    with pytest.raises(ConfigError, match="max_chains is 10; 3 models .* make 15"):
        CascadeFit(max_mean_cost=5, max_chains=10).fit(outcomes, sure)
    with pytest.raises(DataError, match="'middle' has no score"):
        CascadeFit(max_mean_cost=5).fit(gap, np.zeros((1, 3)))
    with pytest.raises(DataError, match="confidences have the shape"):
        CascadeFit(max_mean_cost=5).fit(outcomes, sure[:5])
    with pytest.raises(DataError, match="'huge' is not in the table"):
        CascadeFit(max_mean_cost=5, chains=(("small", "huge"),)).fit(outcomes, sure)


# ---- the published tables --------------------------------------------------------------------


def rows_of(name: str):
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    with gzip.open(Path(folder) / name, "rt", encoding="utf8") as lines:
        return [json.loads(line) for line in lines]


def two_models():
    """Return RouteLLM's weak and strong model, at the authors' prices of a million tokens.

    A confidence of a weak answer is its shortness: long answers are wrong more often.
    """
    rows = rows_of("routellm/gsm8k.jsonl.gz")
    lengths = np.array([[len(r["weak_response"]), len(r["strong_response"])] for r in rows])
    outcomes = Outcomes(
        prompts=tuple(row["prompt"] for row in rows),
        models=("weak", "strong"),
        scores=np.array([[row["weak_correct"], row["strong_correct"]] for row in rows], float),
        costs=lengths / 4 * [0.24, 24.7],
    )
    return outcomes, 1 / (1 + lengths / 500)


def four_models():
    """Return four models of ZeroEval at made-up prices, with the same kind of confidence."""
    prices = {
        "Meta-Llama-3-8B-Instruct": 1.0,
        "gpt-4o-mini-2024-07-18": 3.0,
        "Meta-Llama-3-70B-Instruct": 9.0,
        "Llama-3.1-405B-Instruct-Turbo": 27.0,
    }
    rows = rows_of("zeroeval_gsm8k/outcomes.jsonl.gz")
    lengths = np.array([[row["m"][model][1] for model in prices] for row in rows])
    outcomes = Outcomes(
        prompts=tuple(row["question"] for row in rows),
        models=tuple(prices),
        scores=np.array([[row["m"][model][0] for model in prices] for row in rows], float),
        costs=lengths / 4 * list(prices.values()),
    )
    return outcomes, 1 / (1 + lengths / 500)


@pytest.mark.parametrize("load", [two_models, four_models])
def test_on_published_tables_the_budget_holds_on_the_calibration_half(load) -> None:
    """At each budget between the cheapest and the dearest model, never below a single one.

    What the other half gives is printed, for it is no promise.
    """
    outcomes, sure = load()
    order = np.random.default_rng(0).permutation(len(outcomes.prompts))
    half, other = np.array_split(order, 2)
    seen, unseen = outcomes.take(half.tolist()), outcomes.take(other.tolist())
    means = seen.costs.mean(axis=0)

    previous = 0.0
    for share in (0.0, 0.1, 0.25, 0.5, 1.0):
        budget = float(means.min() + share * (means.max() - means.min()))
        fitted = CascadeFit(max_mean_cost=budget).fit(seen, sure[half])
        run = fitted.cascade.play(seen, sure[half])
        held = fitted.cascade.play(unseen, sure[other])
        assert run.mean_cost <= budget * (1 + 1e-9)
        assert run.mean_score >= best_single(seen, budget * (1 + 1e-9)) - 1e-9
        assert run.mean_score >= previous - 1e-9
        previous = run.mean_score
        print(
            f"budget {budget:.1f}: {' -> '.join(fitted.cascade.models)}: calibration "
            f"{run.mean_score:.3f} at {run.mean_cost:.1f}, held out {held.mean_score:.3f} at "
            f"{held.mean_cost:.1f}"
        )

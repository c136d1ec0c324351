"""Smoothie: its closed form, planted models, local weights, and models that look perfect."""

import logging
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.router import TrainedRouter
from motet.routing.smoothie import Smoothie, TrainedSmoothie, blend, triplet_errors

NAMES = ("a", "b", "c", "d", "e")


def planted(theta: Any, n: int = 10_000, d: int = 10, seed: int = 0) -> Any:
    """Answers [M, n, d] about ideal ones [n, d] with noise of variance 1 / (2 theta)."""
    generator = np.random.default_rng(seed)
    ideal = generator.random((n, d))
    noise = [generator.normal(size=(n, d)) * (1 / (2 * each)) ** 0.5 for each in theta]
    return np.stack([ideal + one for one in noise]), ideal


def test_golden_closed_form() -> None:
    """Distances 3, 4, 5 give errors 1, 2, 3; with d = 2 theta is 1, 1/2, 1/3, as shares .5455,
    .2727, .1818."""
    distances = np.array([[[0.0, 3, 4], [3, 0, 5], [4, 5, 0]]])
    trained = TrainedSmoothie(
        models=NAMES[:3],
        distances=distances,
        inputs=np.empty((1, 0)),
        answer_dimensions=2,
        neighbours=1,
        least_error=1e-3,
    )

    found = trained.agreement()

    assert found.errors.tolist() == [[1, 2, 3]]
    assert found.precisions[0] == pytest.approx([1, 1 / 2, 1 / 3])
    assert found.weights[0] == pytest.approx([0.5455, 0.2727, 0.1818], abs=5e-5)
    assert not found.clamped.any() and found.duplicates == ()


@pytest.mark.parametrize("num_models", [3, 4, 5])
def test_the_closed_form_is_the_mean_over_pairs(num_models: int) -> None:
    """As a loop over all pairs of the other models has it."""
    half = np.random.default_rng(2).random((num_models, num_models))
    d = half + half.T - 2 * np.diag(np.diag(half))

    errors = triplet_errors(d)

    for i in range(num_models):
        others = [m for m in range(num_models) if m != i]
        loop = [(d[i, j] + d[i, k] - d[j, k]) / 2 for j, k in combinations(others, 2)]
        assert errors[i] == pytest.approx(np.mean(loop))


def test_planted_models_are_found() -> None:
    """Golden: theta 5, 20, 45 of 10,000 answers of size 10, seed 0, are estimated as 4.97, 20.00,
    44.06."""
    answers, _ = planted((5, 20, 45))

    found = Smoothie().fit(NAMES[:3], answers).agreement()

    assert found.precisions[0].round(2).tolist() == [4.97, 20.00, 44.06]
    assert not found.clamped.any()


def test_a_blend_is_nearer_to_the_ideal_than_any_model() -> None:
    """The weighted mean of the planted answers, and nearer than the plain mean."""
    answers, ideal = planted((5, 20, 45), n=2000)
    weights = Smoothie().fit(NAMES[:3], answers).agreement().weights

    def away(guess: Any) -> float:
        return float(((guess - ideal) ** 2).sum(axis=1).mean())

    blended = away(blend(answers, weights))
    assert blended < min(away(one) for one in answers)
    assert blended < away(answers.mean(axis=0))


def test_models_in_another_order_get_the_same_weights() -> None:
    """Equivariance, of the global and of local weights."""
    answers, ideal = planted((5, 20, 45, 9), n=60)
    order = [2, 0, 3, 1]

    for smoothie in (Smoothie(), Smoothie(neighbours=7)):
        one = smoothie.fit(NAMES[:4], answers, ideal).estimate(ideal)
        two = smoothie.fit([NAMES[m] for m in order], answers[order], ideal).estimate(ideal)
        assert two == pytest.approx(one[:, order], rel=1e-9)


@pytest.mark.parametrize("neighbours", [50, 80])
def test_all_prompts_as_neighbours_give_the_global_weights(neighbours: int) -> None:
    """Exactly, with k the number of prompts or above it."""
    answers, ideal = planted((5, 20, 45), n=50)

    local = Smoothie(neighbours=neighbours).fit(NAMES[:3], answers, ideal)
    overall = Smoothie().fit(NAMES[:3], answers)

    assert np.array_equal(local.estimate(ideal[:9]), overall.estimate(ideal[:9]))
    assert np.array_equal(overall.estimate(ideal[:1]), overall.agreement().weights)


def test_one_neighbour_is_the_prompt_itself() -> None:
    """With k = 1 the weights are those of that prompt's own distances."""
    answers, ideal = planted((5, 20, 45), n=30)
    local = Smoothie(neighbours=1).fit(NAMES[:3], answers, ideal)

    found = local.agreement(ideal)

    assert found.errors == pytest.approx(triplet_errors(local.distances))


def test_local_weights_follow_the_neighbourhood() -> None:
    """Model a is right near 0 and c near 1: for most prompts the local choice is the right one, and
    the global one is the same for all."""
    generator = np.random.default_rng(3)
    inputs = generator.random((400, 1))
    spread = np.stack([0.1 + inputs, np.full_like(inputs, 0.8), 1.1 - inputs])
    answers = generator.normal(size=(3, 400, 8)) * spread

    local = Smoothie(neighbours=40).fit(NAMES[:3], answers, inputs)
    queries = np.array([[0.05], [0.1], [0.15], [0.85], [0.9], [0.95]])

    assert local.estimate(queries).argmax(axis=1).tolist() == [0, 0, 0, 2, 2, 2]
    overall = Smoothie().fit(NAMES[:3], answers).estimate(queries)
    assert len({int(best) for best in overall.argmax(axis=1)}) == 1


def test_a_duplicated_model_is_told(caplog: Any) -> None:
    """Of three models, the error of a pair that answers the same collapses to 0: it is clamped,
    named, and logged; the weights stay finite."""
    answers, _ = planted((5, 20), n=100)
    twice = np.stack([answers[0], answers[1], answers[0]])

    with caplog.at_level(logging.WARNING):
        found = Smoothie().fit(NAMES[:3], twice).agreement()

    assert found.errors[0, [0, 2]] == pytest.approx([0, 0], abs=1e-9)
    assert found.clamped.tolist() == [[True, False, True]]
    assert found.duplicates == (("a", "c"),)
    assert np.isfinite(found.weights).all() and found.weights.sum() == pytest.approx(1)
    assert "look perfect: a, c; models that answer alike: a and c" in caplog.text


def test_a_duplicate_among_many_is_told_though_no_error_collapses() -> None:
    """Of five models a copy lowers the error of its pair without reaching 0; it is named all the
    same."""
    answers, _ = planted((5, 20, 30, 10), n=500)
    twice = np.concatenate([answers, answers[:1]])

    found = Smoothie().fit(NAMES, twice).agreement()

    assert not found.clamped.any()
    assert found.errors[0, 0] < 0.6 * Smoothie().fit(NAMES[:4], answers).agreement().errors[0, 0]
    assert found.duplicates == (("a", "e"),)


def test_correlated_models_are_clamped(caplog: Any) -> None:
    """Two models that share most of their noise get an error below 0; the least is a share of the
    mean distance, and independent models are not warned of."""
    answers, ideal = planted((5, 20, 45), n=2000)
    shared = answers[0] - ideal
    correlated = np.stack([ideal + shared, ideal + 1.5 * shared, answers[2]])

    found = Smoothie(least_error=0.01).fit(NAMES[:3], correlated).agreement()

    assert found.errors[0, 0] < 0
    assert found.clamped.tolist() == [[True, False, False]]
    trained = Smoothie(least_error=0.01).fit(NAMES[:3], correlated)
    scale = trained.distances.mean(axis=0)[np.triu_indices(3, k=1)].mean()
    assert found.precisions[0, 0] == pytest.approx(10 / (2 * 0.01 * scale))
    caplog.clear()
    Smoothie().fit(NAMES[:3], answers)
    assert not caplog.records


def test_answers_that_are_all_the_same_weigh_the_same() -> None:
    """Nothing is told apart: a third each, all clamped."""
    same = np.ones((3, 4, 2))

    found = Smoothie().fit(NAMES[:3], same).agreement()

    assert found.weights == pytest.approx(np.full((1, 3), 1 / 3))
    assert found.clamped.all() and len(found.duplicates) == 3


def test_it_is_a_trained_router() -> None:
    """It has models and `estimate`, of rows that sum to 1."""
    answers, ideal = planted((5, 20, 45), n=20)

    trained = Smoothie(neighbours=5).fit(NAMES[:3], answers, ideal)

    assert isinstance(trained, TrainedRouter) and trained.dimensions == 10
    assert Smoothie().fit(NAMES[:3], answers).dimensions == 0
    assert trained.estimate(ideal).sum(axis=1) == pytest.approx(np.ones(20))


def test_wrong_input_is_refused() -> None:
    """By typed errors that name it."""
    answers, ideal = planted((5, 20, 45), n=6)
    local = Smoothie(neighbours=2)
    trained = local.fit(NAMES[:3], answers, ideal)
    sized = Smoothie().fit(NAMES[:3], answers, ideal)
    broken = answers.copy()
    broken[0, 0, 0] = np.nan
    ragged: Any = [[[1.0], [1.0, 2.0]]]
    for call, error, message in [
        (lambda: Smoothie(neighbours=0), ConfigError, "neighbours is 0"),
        (lambda: Smoothie(least_error=0), ConfigError, "least_error is 0"),
        (lambda: Smoothie().fit(NAMES[:2], answers[:2]), DataError, "2 models; it takes 3"),
        (lambda: triplet_errors(np.zeros((2, 2))), DataError, "2 models; it takes 3"),
        (lambda: Smoothie().fit(NAMES[:4], answers), DataError, "outputs are of 3 models"),
        (lambda: Smoothie().fit(("a", "a", "b"), answers), DataError, "names"),
        (lambda: Smoothie().fit(NAMES[:3], broken), DataError, "not finite"),
        (lambda: Smoothie().fit(NAMES[:3], ideal), DataError, "3 axes"),
        (lambda: Smoothie().fit(NAMES[:1], ragged), DataError, "no array of numbers"),
        (lambda: Smoothie().fit(NAMES[:3], answers[:, :0]), DataError, "nothing to compare"),
        (lambda: local.fit(NAMES[:3], answers), DataError, "neighbours is 2, but"),
        (lambda: local.fit(NAMES[:3], answers, ideal[:4]), DataError, "matrix of 6 rows"),
        (lambda: trained.estimate(ideal[:, :4]), DataError, "4 dimensions; 10 are needed"),
        (lambda: sized.estimate(ideal[:, :4]), DataError, "4 dimensions; 10 are needed"),
        (lambda: trained.estimate(ideal[0]), DataError, r"shape \(10,\)"),
        (lambda: replace(trained, neighbours=7), ConfigError, "neighbours is 7"),
        (lambda: replace(trained, inputs=ideal[:5]), DataError, "inputs"),
        (lambda: replace(trained, models=NAMES[:4]), DataError, "distances"),
        (lambda: trained.estimate(ideal * np.inf), DataError, "finite"),
    ]:
        with pytest.raises(error, match=message):
            call()

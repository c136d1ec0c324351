"""Matrix factorisation: its gradient, its optimiser, and planted rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.matrix_factorisation import (
    Adam,
    MatrixFactorisationRouter,
    TrainedMatrixFactorisation,
    gradients,
    win_shares,
)
from motet.routing.outcomes import Outcomes


def table(scores: Any) -> Outcomes:
    scores = np.asarray(scores, dtype=float)
    return Outcomes(
        prompts=tuple(f"prompt {i}" for i in range(len(scores))),
        models=tuple("abcdefgh"[: scores.shape[1]]),
        scores=scores,
        costs=np.zeros_like(scores),
    )


def planted(seed: int, rows: int, models: int) -> tuple[Any, Any]:
    """Embeddings, and scores that are chances of a rule which is linear in the embedding."""
    rule = np.random.default_rng(7).standard_normal((models, 16))
    embeddings = np.random.default_rng(seed).standard_normal((rows, 16)) * 0.1
    return embeddings, 1 / (1 + np.exp(-10 * embeddings @ rule.T / 4))


def loss(weights: list[Any], rows: Any, wins: Any) -> float:
    """The mean of -log sigma(logit of the winner - logit of the loser), pair by pair."""
    models, projection, head = weights
    terms = []
    for row, won in zip(rows, wins, strict=True):
        for winner, loser in np.argwhere(won):
            units = [models[i] / np.linalg.norm(models[i]) for i in (winner, loser)]
            logit = head @ ((units[0] - units[1]) * (projection @ row))
            terms.append(np.log1p(np.exp(-logit)))
    return float(np.mean(terms))


def test_gradients_are_those_of_the_loss_written_out() -> None:
    """Finite differences of the loss over single pairs, in every weight."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape) for shape in [(3, 4), (4, 5), (4,)]]
    rows = rng.standard_normal((6, 5))
    scores = rng.integers(0, 3, (6, 3)) / 2
    wins = (scores[:, :, None] > scores[:, None, :]).astype(float)

    slopes = gradients(weights, rows, wins)

    for weight, slope in zip(weights, slopes, strict=True):
        for place in np.ndindex(weight.shape):
            kept = weight[place]
            weight[place] = kept + 1e-6
            above = loss(weights, rows, wins)
            weight[place] = kept - 1e-6
            below = loss(weights, rows, wins)
            weight[place] = kept
            assert slope[place] == pytest.approx((above - below) / 2e-6, abs=1e-7)


def test_adam_takes_the_steps_of_its_paper() -> None:
    """The first step is the learning rate whatever the slope; the second one worked out by hand."""
    weight = np.array([1.0, 1.0])
    adam = Adam([weight], learning_rate=0.1, decay=0.0)

    adam.step([np.array([5.0, -0.01])])
    assert weight == pytest.approx([0.9, 1.1], abs=1e-6)

    adam.step([np.array([0.0, 0.03])])
    first = 0.9 * 0.1 * 5 / (1 - 0.9**2)
    second = (0.999 * 0.001 * 25 / (1 - 0.999**2)) ** 0.5
    assert weight[0] == pytest.approx(0.9 - 0.1 * first / second, abs=1e-6)


def test_decay_pulls_a_weight_that_nothing_holds() -> None:
    """With no slope, the decay alone moves a weight towards 0."""
    weight = np.array([1.0, -2.0])

    Adam([weight], learning_rate=0.1, decay=0.5).step([np.zeros(2)])

    assert weight == pytest.approx([0.9, -1.9], abs=1e-6)


@pytest.mark.parametrize("models", [2, 4])
def test_a_planted_rule_is_found_on_prompts_that_were_held_out(models: int) -> None:
    """The best model of over 8 in 10 new prompts is named, of any number of models."""
    embeddings, scores = planted(0, 2000, models)
    new, chances = planted(1, 500, models)
    router = MatrixFactorisationRouter(learning_rate=3e-3, num_epochs=30)

    estimates = router.fit(table(scores), embeddings).estimate(new)

    assert np.mean(estimates.argmax(axis=1) == chances.argmax(axis=1)) > 0.8


def test_draws_teach_nothing() -> None:
    """Prompts on which all models did alike, or one was tried, change no estimate."""
    embeddings, scores = planted(0, 60, 2)
    more = np.concatenate([scores, np.full((30, 2), 0.5), [[1.0, np.nan]] * 10])
    router = MatrixFactorisationRouter(num_epochs=3, noise=0.0)
    size = np.sqrt(np.mean(embeddings**2))
    added = np.concatenate([embeddings, np.full((40, 16), size)])

    plain = router.fit(table(scores), embeddings).estimate(embeddings)

    assert np.allclose(router.fit(table(more), added).estimate(embeddings), plain, atol=1e-5)


def test_estimates_of_two_models_sum_to_one() -> None:
    """Of two, an estimate is the chance to win; of three, the mean chance against the others."""
    shares = win_shares(np.log([[3.0, 1.0]]))
    assert shares == pytest.approx(np.array([[0.75, 0.25]]))

    shares = win_shares(np.log([[3.0, 1.0, 1.0]]))
    assert shares == pytest.approx(np.array([[0.75, 0.375, 0.375]]))


def test_logits_far_apart_are_certain() -> None:
    """No overflow, and no number beyond 0 and 1."""
    assert np.array_equal(win_shares(np.array([[2000.0, -2000.0]])), [[1.0, 0.0]])


def test_the_fit_depends_on_its_seed_and_on_no_order() -> None:
    """Twice the same, another with another seed, and permuted columns permute the estimates."""
    embeddings, scores = planted(0, 100, 3)
    outcomes = table(scores)
    router = MatrixFactorisationRouter(num_epochs=3)

    first = router.fit(outcomes, embeddings).estimate(embeddings)

    assert np.array_equal(first, router.fit(outcomes, embeddings).estimate(embeddings))
    turned = router.fit(outcomes.only("cab"), embeddings).estimate(embeddings)
    assert np.allclose(turned, first[:, [2, 0, 1]], atol=1e-12)
    other = MatrixFactorisationRouter(num_epochs=3, seed=1).fit(outcomes, embeddings)
    assert not np.allclose(other.estimate(embeddings), first)


def test_the_scale_of_embeddings_does_not_matter() -> None:
    """Vectors a thousand times as long are learned, and estimated, alike."""
    embeddings, scores = planted(0, 100, 2)
    router = MatrixFactorisationRouter(num_epochs=20, learning_rate=3e-3)

    near = router.fit(table(scores), embeddings).estimate(embeddings)
    far = router.fit(table(scores), 1000 * embeddings).estimate(1000 * embeddings)

    assert np.ptp(near) > 0.1
    assert np.allclose(far, near, atol=1e-3)


def test_bad_input_is_refused() -> None:
    """Settings, one model, nothing but draws, embeddings of another size."""
    with pytest.raises(ConfigError, match="noise is -1"):
        MatrixFactorisationRouter(noise=-1)
    with pytest.raises(DataError, match="at least 2 are needed"):
        MatrixFactorisationRouter().fit(table([[1.0]]), np.ones((1, 2)))
    with pytest.raises(DataError, match="nobody wins"):
        MatrixFactorisationRouter().fit(table([[1.0, 1.0], [0.5, np.nan]]), np.eye(2))
    router = TrainedMatrixFactorisation(
        models=("a", "b"), vectors=np.ones((2, 3)), projection=np.ones((3, 4))
    )
    with pytest.raises(DataError, match="4 are needed"):
        router.estimate(np.ones((1, 5)))

"""MLP router: what a network learns that no line can."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.packages import imported
from motet.routing.mlp import MlpRouter, TrainedMlp
from motet.routing.outcomes import Outcomes


def table(scores: Any) -> Outcomes:
    scores = np.asarray(scores, dtype=float)
    return Outcomes(
        prompts=tuple(f"prompt {i}" for i in range(len(scores))),
        models=tuple("abcdefgh"[: scores.shape[1]]),
        scores=scores,
        costs=np.zeros_like(scores),
    )


def planted(seed: int, rows: int = 1500) -> tuple[Any, Any]:
    """Model a is right where two numbers of the embedding have one sign, model b elsewhere."""
    embeddings = np.random.default_rng(seed).standard_normal((rows, 4))
    same = embeddings[:, 0] * embeddings[:, 1] > 0
    return embeddings, np.stack([same, ~same], axis=1).astype(float)


@pytest.mark.parametrize("hidden", [(100,), (30, 30)])
def test_a_planted_rule_is_found_on_prompts_that_were_held_out(hidden: Any) -> None:
    """Of 500 new prompts over 9 in 10 go to the right model, by a rule that no line has."""
    new, right = planted(1, rows=500)

    router = MlpRouter(hidden=hidden).fit(table(planted(0)[1]), planted(0)[0])

    chosen = router.estimate(new).argmax(axis=1)
    assert right[np.arange(500), chosen].mean() > 0.9


@pytest.mark.parametrize("hidden", [(7,), (5, 6)])
def test_the_arrays_are_the_networks(hidden: Any) -> None:
    """Estimates are scikit-learn's predictions, cut to 0 and 1."""
    embeddings, scores = planted(0, rows=200)
    scores[:50, 1] = np.nan

    router = MlpRouter(hidden=hidden, max_epochs=20).fit(table(scores), embeddings)

    network = imported("sklearn.neural_network").MLPRegressor(
        hidden_layer_sizes=hidden, max_iter=20, random_state=1234
    )
    with pytest.warns(imported("sklearn.exceptions").ConvergenceWarning):
        network.fit(embeddings[50:], scores[50:, 1])
    expected = np.clip(network.predict(embeddings), 0, 1)
    assert np.allclose(router.estimate(embeddings)[:, 1], expected, atol=1e-12)
    assert 0 < np.mean(expected == 0) < 1


def test_the_fit_depends_on_its_seed_and_on_no_order() -> None:
    """Twice the same, another with another seed, and permuted columns permute the estimates."""
    embeddings, scores = planted(0, rows=200)
    outcomes = table(scores)
    router = MlpRouter(max_epochs=10)

    first = router.fit(outcomes, embeddings).estimate(embeddings)

    assert np.array_equal(first, router.fit(outcomes, embeddings).estimate(embeddings))
    turned = router.fit(outcomes.only("ba"), embeddings).estimate(embeddings)
    assert np.array_equal(turned, first[:, ::-1])
    other = MlpRouter(max_epochs=10, seed=1).fit(outcomes, embeddings).estimate(embeddings)
    assert not np.allclose(other, first)


def test_bad_input_is_refused() -> None:
    """Settings, layers that do not fit each other, embeddings of another size."""
    with pytest.raises(ConfigError, match="hidden is 0"):
        MlpRouter(hidden=(0,))
    with pytest.raises(ConfigError, match="at least one layer"):
        MlpRouter(hidden=())
    with pytest.raises(DataError, match="'b' was tried on no prompt"):
        MlpRouter().fit(table([[1.0, np.nan]]), np.ones((1, 2)))
    one = TrainedMlp(models=("a",), weights=(np.ones((1, 2, 1)),), biases=(np.ones((1, 1)),))
    with pytest.raises(DataError, match="2 are needed"):
        one.estimate(np.ones((1, 3)))
    with pytest.raises(DataError, match=r"weights is \(1, 4, 1\)"):
        TrainedMlp(
            models=("a",),
            weights=(np.ones((1, 2, 3)), np.ones((1, 4, 1))),
            biases=(np.ones((1, 3)), np.ones((1, 1))),
        )

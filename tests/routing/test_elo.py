"""Similarity-weighted ranking: whose battles count, and how much."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.bradley_terry import ratings, win_probability
from motet.routing.elo import EloRouter, battles, weigh
from motet.routing.outcomes import Outcomes


def table(scores: Any, prompts: tuple[str, ...] | None = None) -> Outcomes:
    scores = np.asarray(scores, dtype=float)
    return Outcomes(
        prompts=prompts or tuple(f"a prompt with the number {i}" for i in range(len(scores))),
        models=tuple("abcdefghijklmnop"[: scores.shape[1]]),
        scores=scores,
        costs=np.zeros_like(scores),
    )


def test_battles_are_won_drawn_or_not_fought() -> None:
    """The better score wins, equal ones share the win, and where one was not tried is no battle."""
    [fought] = battles(np.array([[1.0, 0.5, 0.5, np.nan]]))

    assert np.array_equal(fought, [[0, 1, 1, 0], [0, 0, 0.5, 0], [0, 0.5, 0, 0], [0, 0, 0, 0]])


def test_weights_are_those_of_the_paper() -> None:
    """The most similar battle counts 100, one of half its cosine 31.6, an unrelated one 10."""
    assert weigh(np.array([[0.8, 0.4, 0.0]]))[0] == pytest.approx([100, 10 * 10**0.5, 10])


def test_where_nothing_is_similar_all_battles_count_the_same() -> None:
    """The bare formula divides by a cosine below 0 and favours the least similar."""
    assert np.array_equal(weigh(np.array([[-0.1, -0.9], [0.0, -0.5]])), np.full((2, 2), 10.0))


def test_the_estimate_is_the_weighted_fit_worked_out() -> None:
    """Two battles of cosine 1 and 0 and the prior's draw give the odds of their weights."""
    router = EloRouter(prior=1.0).fit(table([[1.0, 0.0], [0.0, 1.0]]), np.eye(2))

    estimates = router.estimate(np.array([[2.0, 0.0]]))

    prior = 0.5 * (100 + 10) / 2
    expected = (100 + prior) / (110 + 2 * prior)
    assert estimates[0] == pytest.approx([expected, 1 - expected])


def test_regions_where_one_model_wins_are_told_apart() -> None:
    """On held-out prompts of two planted regions the model that wins there has the estimate."""
    rng = np.random.default_rng(0)

    def draw(rows: int) -> tuple[Any, Any]:
        region = rng.integers(0, 2, rows)
        embeddings = np.eye(2)[region] + 0.1 * rng.standard_normal((rows, 2))
        return embeddings, region

    embeddings, region = draw(400)
    wins = rng.random(400) < 0.8
    better = np.where(wins, region, 1 - region)
    new, expected = draw(200)

    router = EloRouter().fit(table(np.eye(2)[better]), embeddings)

    assert np.mean(router.estimate(new).argmax(axis=1) == expected) > 0.95


def test_equal_cosines_give_the_ratings_of_the_whole_table() -> None:
    """A prompt as similar to one battle as to another is rated by all alike."""
    rng = np.random.default_rng(0)
    scores = rng.random((50, 4))
    outcomes = table(scores)

    router = EloRouter(prior=1e-6).fit(outcomes, np.ones((50, 3)))

    [rated] = router.rate(np.ones((1, 3)))
    assert rated == pytest.approx(ratings(battles(scores).sum(axis=0)[None])[0], abs=1e-2)
    chances = win_probability(rated[:, None] - rated[None, :])
    expected = [np.mean([chances[i, j] for j in range(4) if j != i]) for i in range(4)]
    assert router.estimate(np.ones((1, 3)))[0] == pytest.approx(expected)


def test_models_of_one_tier_share_a_rating() -> None:
    """Of four models in two tiers, the two near ones at the top are rated alike."""
    rng = np.random.default_rng(1)
    scores = np.clip(np.array([0.80, 0.81, 0.2, 0.19]) + 0.2 * rng.standard_normal((300, 4)), 0, 1)

    router = EloRouter(num_tiers=2).fit(table(scores), np.ones((300, 2)))

    [rated] = router.rate(np.ones((1, 2)))
    assert rated[0] == rated[1] > rated[2] == rated[3]


def test_one_side_that_wins_everything_has_finite_ratings() -> None:
    """The prior's draws hold what the likelihood alone would send to infinity."""
    router = EloRouter().fit(table([[1.0, 0.0]] * 9), np.ones((9, 2)))

    [[strong, weak]] = router.estimate(np.ones((1, 2)))
    assert strong == pytest.approx(9.5 / 10) and weak == pytest.approx(0.5 / 10)


def test_short_prompts_are_left_out() -> None:
    """Of 15 characters a prompt is no battle, of 16 it is."""
    outcomes = table([[1.0, 0.0], [0.0, 1.0]], prompts=("x" * 15 + "  ", "y" * 16))

    router = EloRouter().fit(outcomes, np.eye(2) + 0.5)

    assert router.estimate(np.eye(2))[0, 1] == pytest.approx(0.75)


def test_the_fit_depends_on_no_order_and_no_chance() -> None:
    """Twice the same, and permuted columns permute the estimates."""
    rng = np.random.default_rng(0)
    embeddings, outcomes = rng.standard_normal((40, 5)), table(rng.random((40, 3)))

    first = EloRouter().fit(outcomes, embeddings).estimate(embeddings)

    assert np.array_equal(first, EloRouter().fit(outcomes, embeddings).estimate(embeddings))
    turned = EloRouter().fit(outcomes.only("cab"), embeddings).estimate(embeddings)
    assert np.allclose(turned, first[:, [2, 0, 1]], atol=1e-9)


def test_ten_thousand_battles_rate_a_prompt_at_once() -> None:
    """A prompt costs a matrix product and a small fit, far from the second of a solver's."""
    rng = np.random.default_rng(0)
    embeddings, scores = rng.standard_normal((10_000, 32)), np.full((10_000, 16), np.nan)
    for row in range(10_000):
        scores[row, rng.choice(16, 2, replace=False)] = rng.permutation(2)
    router = EloRouter().fit(table(scores), embeddings)

    start = time.perf_counter()
    router.estimate(embeddings[:20])

    assert time.perf_counter() - start < 2.0


def test_bad_input_is_refused() -> None:
    """Settings, no battle, one model, embeddings of another size or without direction."""
    with pytest.raises(ConfigError, match="prior is 0"):
        EloRouter(prior=0)
    with pytest.raises(DataError, match="tried by two models"):
        EloRouter().fit(table([[1.0, np.nan], [np.nan, 1.0]]), np.eye(2))
    with pytest.raises(DataError, match="min_characters=500"):
        EloRouter(min_characters=500).fit(table([[1.0, 0.0]]), np.ones((1, 2)))
    with pytest.raises(DataError, match="at least 2 are needed"):
        EloRouter().fit(table([[1.0]]), np.ones((1, 2)))
    with pytest.raises(DataError, match="all zeros"):
        EloRouter().fit(table([[1.0, 0.0]]), np.zeros((1, 2)))
    with pytest.raises(DataError, match="2 are needed"):
        EloRouter().fit(table([[1.0, 0.0]]), np.ones((1, 2))).estimate(np.ones((1, 3)))

"""Linear routers: regressions that find planted rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.logistic import LinearRouter
from motet.routing.outcomes import Outcomes

LINKS: list[Any] = ["logistic", "identity"]


def table(scores: Any) -> Outcomes:
    scores = np.asarray(scores, dtype=float)
    return Outcomes(
        prompts=tuple(f"prompt {i}" for i in range(len(scores))),
        models=tuple("abcdefgh"[: scores.shape[1]]),
        scores=scores,
        costs=np.zeros_like(scores),
    )


def planted(seed: int, rows: int = 3000) -> tuple[Any, Any, Any]:
    """Embeddings, right or wrong of two models, and their true chances."""
    rule = np.random.default_rng(7).standard_normal((2, 12))
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((rows, 12)) * 0.2 + 3.0
    chances = 1 / (1 + np.exp(-((embeddings - 3.0) / 0.2) @ rule.T))
    return embeddings, (rng.random((rows, 2)) < chances).astype(float), chances


@pytest.mark.parametrize("link", LINKS)
def test_a_planted_rule_is_found_on_prompts_that_were_held_out(link: Any) -> None:
    """Of 1,000 new prompts, over 9 in 10 go to the model of the greater chance."""
    embeddings, scores, _ = planted(0)
    new, _, chances = planted(1, rows=1000)

    estimates = LinearRouter(link=link).fit(table(scores), embeddings).estimate(new)

    assert np.mean((estimates[:, 0] > estimates[:, 1]) == (chances[:, 0] > chances[:, 1])) > 0.9


def test_logistic_estimates_are_the_chances() -> None:
    """With many prompts and little penalty the planted chances come back."""
    embeddings, scores, _ = planted(0, rows=20_000)
    new, _, chances = planted(1, rows=1000)

    estimates = LinearRouter(penalty=1.0).fit(table(scores), embeddings).estimate(new)

    assert np.abs(estimates - chances).mean() < 0.02


def test_a_score_between_counts_as_shares_of_both_labels() -> None:
    """Trained on the chances themselves the fit is nearer to them than trained on draws; a form
    that rounds scores to labels fails."""
    embeddings, _, chances = planted(0)
    new, _, expected = planted(1, rows=1000)

    estimates = LinearRouter(penalty=1e-3).fit(table(chances), embeddings).estimate(new)

    assert np.abs(estimates - expected).max() < 1e-3


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("constant", [0.0, 0.5, 1.0])
def test_scores_that_are_all_the_same_are_the_estimate(link: Any, constant: float) -> None:
    """One class only is a constant, not an error of the solver."""
    embeddings, scores, _ = planted(0, rows=100)
    scores[:, 1] = constant

    estimates = LinearRouter(link=link).fit(table(scores), embeddings).estimate(embeddings)

    assert np.allclose(estimates[:, 1], constant, atol=1e-5)
    assert np.ptp(estimates[:, 0]) > 0.1


@pytest.mark.parametrize("link", LINKS)
def test_prompts_on_which_a_model_was_not_tried_do_not_teach_it(link: Any) -> None:
    """A column with gaps is fitted like the table of its known rows."""
    embeddings, scores, _ = planted(0, rows=400)
    gaps = scores.copy()
    gaps[::2, 1] = np.nan
    filled = np.where(np.isnan(gaps), 0.0, gaps)

    router = LinearRouter(link=link)
    first = router.fit(table(gaps), embeddings).estimate(embeddings)
    full = router.fit(table(filled), embeddings).estimate(embeddings)

    assert np.array_equal(first[:, 0], full[:, 0])
    assert abs(first[:, 1].mean() - gaps[1::2, 1].mean()) < 0.05
    assert full[:, 1].mean() < first[:, 1].mean() - 0.1


@pytest.mark.parametrize("link", LINKS)
def test_the_fit_depends_on_no_order_and_no_chance(link: Any) -> None:
    """Twice the same, and permuted columns permute the estimates."""
    embeddings, scores, _ = planted(0, rows=300)
    outcomes = table(scores)
    router = LinearRouter(link=link)

    first = router.fit(outcomes, embeddings).estimate(embeddings)

    assert np.array_equal(first, router.fit(outcomes, embeddings).estimate(embeddings))
    turned = router.fit(outcomes.only("ba"), embeddings).estimate(embeddings)
    assert np.array_equal(turned, first[:, ::-1])


def test_the_scale_of_embeddings_does_not_matter() -> None:
    """The same penalty for vectors a thousand times as long, and elsewhere."""
    embeddings, scores, _ = planted(0, rows=300)
    outcomes = table(scores)

    near = LinearRouter().fit(outcomes, embeddings).estimate(embeddings)
    far = 1000 * embeddings + 17

    assert np.allclose(LinearRouter().fit(outcomes, far).estimate(far), near, atol=1e-6)


def test_one_prompt_is_enough_for_constants() -> None:
    """A table of one row has no spread; its scores are the estimates."""
    router = LinearRouter().fit(table([[1.0, 0.0]]), np.ones((1, 4)))

    assert np.array_equal(router.estimate(np.zeros((2, 4))), [[1.0, 0.0], [1.0, 0.0]])


def test_bad_input_is_refused() -> None:
    """Settings, a model never tried, embeddings of another size."""
    link: Any = "probit"
    with pytest.raises(ConfigError, match="'probit'"):
        LinearRouter(link=link)
    with pytest.raises(ConfigError, match="penalty is 0"):
        LinearRouter(penalty=0)
    with pytest.raises(DataError, match="'b' was tried on no prompt"):
        LinearRouter().fit(table([[1.0, np.nan]]), np.ones((1, 2)))
    with pytest.raises(DataError, match="2 are needed"):
        LinearRouter().fit(table([[1.0]]), np.ones((1, 2))).estimate(np.ones((1, 3)))

"""DoLa's formula against the card's golden rows, closed forms and the shape of its reference."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError

torch = pytest.importorskip("torch")

from motet.serving.decoding.guidance import jensen_shannon  # noqa: E402
from motet.serving.decoding.layers import (  # noqa: E402
    candidate_layers,
    chosen_layers,
    contrasted,
    overlap,
    plausible,
    reversed_divergence,
)

MATURE = torch.tensor([[0.005, 0.279, 0.717]]).log()
EARLY = torch.tensor([[[0.108, 0.003, 0.89], [0.159, 0.653, 0.188]]]).log()


def random_logits(seed: int, n: int = 3, k: int = 4, size: int = 11) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    mature = 3 * torch.randn(n, size, generator=generator)
    return mature, 3 * torch.randn(n, k, size, generator=generator)


def test_true_divergence_chooses_the_second_layer_of_the_golden_row() -> None:
    found = math.log(2) - overlap(MATURE.log_softmax(-1).unsqueeze(-2), EARLY.log_softmax(-1))[0]

    assert found.tolist() == pytest.approx([0.1230, 0.1667], abs=2e-4)
    assert chosen_layers(MATURE, EARLY).tolist() == [1]


def test_the_references_divergence_chooses_the_first_layer_of_the_golden_row() -> None:
    early = EARLY.log_softmax(-1)
    found = reversed_divergence(MATURE.log_softmax(-1).unsqueeze(-2), early)[0]

    assert found.tolist() == pytest.approx([0.2782, 0.2230], abs=5e-4)
    assert chosen_layers(MATURE, EARLY, "reference").tolist() == [0]


def test_reversed_divergence_is_the_one_of_the_authors_code() -> None:
    """They average `kl_div(log q, m)`, whose target is the second argument, over the vocabulary."""
    mature, early = (x.log_softmax(-1) for x in random_logits(0))
    middle = (mature.unsqueeze(1).exp() + early.exp()) / 2
    kl_div = torch.nn.functional.kl_div
    theirs = (
        kl_div(mature.unsqueeze(1).expand_as(middle), middle, reduction="none").mean(-1)
        + kl_div(early, middle, reduction="none").mean(-1)
    ) / 2

    ours = reversed_divergence(mature.unsqueeze(1), early) / mature.shape[-1]

    torch.testing.assert_close(ours, theirs)


@given(seed=st.integers(0, 2**31))
def test_overlap_is_what_the_divergence_lacks_to_ln_2(seed: int) -> None:
    mature, early = (x.log_softmax(-1) for x in random_logits(seed))
    mature = mature.unsqueeze(1).expand_as(early)

    found = overlap(mature, early)

    torch.testing.assert_close(math.log(2) - found, jensen_shannon(mature, early))


def test_layers_are_told_apart_where_the_divergence_is_ln_2_to_all_digits() -> None:
    """Its float32 is the same number for both; the second shares less with the mature layer."""
    mature = torch.tensor([[60.0, 0.0, 0.0]])
    early = torch.tensor([[[0.0, 40.0, 0.0], [0.0, 50.0, 0.0]]])

    assert jensen_shannon(mature.expand(2, 3), early[0]).diff() == 0
    assert chosen_layers(mature, early).tolist() == [1]


def test_scores_are_the_log_ratio_to_the_chosen_layer() -> None:
    scores = contrasted(MATURE, EARLY, relative_top=0.1)[0]

    assert scores[0] == -math.inf
    assert scores[1:].tolist() == pytest.approx(
        [math.log(0.279 / 1.001 / 0.653), math.log(0.717 / 1.001 / 0.188)], abs=1e-5
    )


def test_plausibility_keeps_the_first_two_of_the_golden_row() -> None:
    golden = torch.tensor([[0.6, 0.3, 0.05, 0.04, 0.01]]).log()

    assert plausible(golden, 0.1).tolist() == [[True, True, False, False, False]]


def test_relative_top_of_one_is_greedy_on_the_mature_layer() -> None:
    mature, early = random_logits(1)

    scores = contrasted(mature, early, relative_top=1.0)

    assert torch.isfinite(scores).sum(-1).tolist() == [1, 1, 1]
    assert torch.equal(scores.argmax(-1), mature.argmax(-1))


def test_relative_top_of_zero_keeps_every_token() -> None:
    assert bool(torch.isfinite(contrasted(*random_logits(2), relative_top=0.0)).all())


@given(seed=st.integers(0, 2**31), top=st.floats(0.0, 1.0))
def test_the_best_token_is_always_a_plausible_one(seed: int, top: float) -> None:
    mature, early = random_logits(seed)

    best = contrasted(mature, early, top).argmax(-1)

    threshold = torch.tensor(top, dtype=torch.float32).log() + mature.amax(-1)
    assert bool((mature.gather(-1, best.unsqueeze(-1))[:, 0] >= threshold - 1e-5).all())


@pytest.mark.parametrize("divergence", ["jsd", "reference"])
def test_layers_equal_to_the_mature_one_yield_the_first(divergence: str) -> None:
    mature, _ = random_logits(3)
    early = mature.unsqueeze(1).repeat(1, 5, 1)

    assert chosen_layers(mature, early, divergence).tolist() == [0, 0, 0]


@given(seed=st.integers(0, 2**31))
def test_rows_of_a_batch_are_as_rows_alone(seed: int) -> None:
    mature, early = random_logits(seed)
    tops = torch.tensor([0.0, 0.1, 0.7])

    together = contrasted(mature, early, tops)

    alone = [contrasted(mature[i : i + 1], early[i : i + 1], float(tops[i])) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))


@given(seed=st.integers(0, 2**31), shift=st.floats(-20, 20))
def test_a_constant_added_to_the_logits_changes_nothing(seed: int, shift: float) -> None:
    mature, early = random_logits(seed)

    moved = contrasted(mature + shift, early - shift)

    torch.testing.assert_close(moved, contrasted(mature, early), atol=1e-4, rtol=1e-4)


def test_a_forbidden_token_stays_so_and_does_not_weigh_in_the_choice() -> None:
    mature, early = random_logits(4)
    mature[:, 5:] = -math.inf

    scores = contrasted(mature, early, 0.0)

    assert bool(torch.isneginf(scores[:, 5:]).all())
    assert not bool(scores.isnan().any())
    torch.testing.assert_close(scores[:, :5], contrasted(mature[:, :5], early[:, :, :5], 0.0))


@pytest.mark.parametrize(
    ("layers", "num_layers", "is_tied", "expected"),
    [
        ("low", 32, False, list(range(0, 16, 2))),
        ("high", 32, False, list(range(16, 32, 2))),
        ("low", 40, False, list(range(0, 20, 2))),
        ("high", 40, False, list(range(20, 40, 2))),
        ("low", 60, False, list(range(0, 20, 2))),
        ("high", 60, False, list(range(40, 60, 2))),
        ("low", 30, True, [2, 4, 6, 8, 10, 12, 14]),
        ("high", 30, True, [16, 18, 20, 22, 24, 26, 28]),
        ([0, 7], 30, True, [0, 7]),
    ],
)
def test_candidates_are_the_papers_buckets(
    layers: str | list[int], num_layers: int, is_tied: bool, expected: list[int]
) -> None:
    assert candidate_layers(layers, num_layers, is_tied=is_tied) == expected


@pytest.mark.parametrize("layers", [[30], [2, 30], [31], [-1]])
def test_the_mature_layer_is_no_candidate(layers: list[int]) -> None:
    with pytest.raises(ConfigError, match=rf"layers holds {layers[-1]}; it must be from 0 to 29"):
        candidate_layers(layers, 30, is_tied=True)


@pytest.mark.parametrize(("layers", "num_layers"), [("low", 2), ([], 30), ("middle", 30)])
def test_a_bucket_of_no_layer_is_refused(layers: str | list[int], num_layers: int) -> None:
    with pytest.raises(ConfigError, match="layers is"):
        candidate_layers(layers, num_layers, is_tied=True)


def test_another_divergence_is_refused() -> None:
    with pytest.raises(ConfigError, match="divergence is 'kl'"):
        contrasted(*random_logits(5), divergence="kl")

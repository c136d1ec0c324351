from __future__ import annotations

import math

import pytest
import torch

from motet.serving.decoding.choosing import choose
from motet.serving.decoding.wire import Choosing

SHARES = [0.4, 0.3, 0.15, 0.1, 0.05]
LOGITS = torch.tensor([SHARES]).log()
NUM_DRAWS = 4000
CHI_SQUARE_OF_4_AT_1E_6 = 33.4
FIRST_SIX_OF_SEED_7 = [871, 523, 700, 889, 781, 783]


def drawn(logits, num_draws: int = NUM_DRAWS, **settings) -> list[int]:
    """One token of each of `num_draws` seeds and places."""
    return [choose(logits, [Choosing(seed=i // 7, **settings)], [i])[0] for i in range(num_draws)]


def counts(tokens: list[int], size: int = 5) -> list[int]:
    return [tokens.count(token) for token in range(size)]


def test_tokens_come_with_the_probabilities_of_the_logits() -> None:
    found = counts(drawn(LOGITS + 3.0))

    expected = [p * NUM_DRAWS for p in SHARES]
    assert sum((f - e) ** 2 / e for f, e in zip(found, expected)) < CHI_SQUARE_OF_4_AT_1E_6


def test_temperature_divides_the_logits() -> None:
    found = counts(drawn(LOGITS, temperature=0.5))

    total = sum(p * p for p in SHARES)
    expected = [p * p / total * NUM_DRAWS for p in SHARES]
    assert sum((f - e) ** 2 / e for f, e in zip(found, expected)) < CHI_SQUARE_OF_4_AT_1E_6


def test_tokens_of_a_large_vocabulary_come_in_all_of_its_parts() -> None:
    logits = torch.zeros(1, 50_000)

    found = [token // 10_000 for token in drawn(logits, 1000)]

    assert sum((f - 200) ** 2 / 200 for f in counts(found)) < CHI_SQUARE_OF_4_AT_1E_6


def test_neighbouring_seeds_and_places_are_independent() -> None:
    logits = torch.zeros(1, 2)
    tokens = {
        (s, p): choose(logits, [Choosing(seed=s)], [p])[0] for s in range(41) for p in range(41)
    }

    for step in ((0, 1), (1, 0), (1, 1), (1, -1)):
        pairs = [
            (token, tokens[s + step[0], p + step[1]])
            for (s, p), token in tokens.items()
            if (s + step[0], p + step[1]) in tokens
        ]
        found = [pairs.count((a, b)) for a in (0, 1) for b in (0, 1)]
        expected = len(pairs) / 4
        assert sum((f - expected) ** 2 / expected for f in found) < 30.7  # of 3 at 1e-6


def test_a_row_chooses_the_same_whatever_stands_beside_it() -> None:
    logits = torch.randn(6, 1000, generator=torch.Generator().manual_seed(1))
    choosings = [Choosing(seed=i, temperature=t) for i, t in enumerate((1, 0, 0.7, 1, 2, 0))]
    places = [0, 1, 2, 3, 4, 5]

    together = choose(logits, choosings, places)

    for i in range(6):
        assert choose(logits[i : i + 1], [choosings[i]], [places[i]]) == [together[i]]


def test_the_choice_of_a_seed_and_a_place_never_changes() -> None:
    logits = torch.zeros(1, 1000)

    assert [choose(logits, [Choosing(seed=7)], [p])[0] for p in range(6)] == FIRST_SIX_OF_SEED_7
    assert choose(logits, [Choosing(seed=-1)], [0]) == choose(
        logits, [Choosing(seed=2**64 - 1)], [0]
    )


def test_temperature_zero_takes_the_likeliest_and_the_first_of_several() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0, 2.0]])

    assert choose(logits, [Choosing(temperature=0.0, seed=5)], [9]) == [1]


def test_a_forbidden_token_is_never_chosen() -> None:
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0]])

    assert set(drawn(logits, 500, temperature=100.0)) == {1, 3}


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"top_k": 2}, {0, 1}),
        ({"top_p": 0.69}, {0, 1}),
        ({"top_p": 0.71}, {0, 1, 2}),
        ({"min_p": 0.3}, {0, 1, 2}),
        ({"min_p": 0.3, "top_k": 1}, {0}),
    ],
)
def test_filters_leave_the_unlikely_out(settings, kept) -> None:
    assert set(drawn(LOGITS, 800, **settings)) == kept


def test_the_logits_stay_as_they_are() -> None:
    logits = LOGITS.clone()

    choose(logits, [Choosing(top_k=2)], [0])

    assert logits.tolist() == LOGITS.tolist()

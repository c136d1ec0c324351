from __future__ import annotations

import math

import torch

from motet.serving.decoding.lengths import LengthMask

EOS = [2, 4]


def kept(num_tokens: int, low: int | None, high: int | None) -> list[int]:
    mask = LengthMask(low, high, EOS)
    mask.advance([0] * num_tokens)
    logits = torch.zeros(5)
    mask.mask(logits)
    return [token for token in range(5) if logits[token] > -math.inf]


def test_the_turn_does_not_end_before_the_least_length() -> None:
    assert [kept(n, 2, None) for n in range(3)] == [[0, 1, 3], [0, 1, 3], [0, 1, 2, 3, 4]]


def test_at_the_greatest_length_the_turn_ends() -> None:
    assert [kept(n, None, 2) for n in range(4)] == [[0, 1, 2, 3, 4]] * 2 + [EOS] * 2


def test_equal_bounds_leave_one_length() -> None:
    assert [kept(n, 1, 1) for n in range(2)] == [[0, 1, 3], EOS]


def test_an_end_of_turn_that_is_forbidden_already_stays_so() -> None:
    mask = LengthMask(None, 1, EOS)
    mask.advance([0])
    logits = torch.tensor([0.0, 0.0, -math.inf, 0.0, 1.0])

    mask.mask(logits)

    assert logits.tolist() == [-math.inf] * 4 + [1.0]

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from motet.serving.decoding.trie import TokenTrie
from motet.serving.local.masks import Held, MaskStack, make_length, make_trie

END = frozenset({0, 9})


class _Only:
    def __init__(self, *tokens: int) -> None:
        self.tokens = tokens
        self.seen: list[int] = []

    def advance(self, tokens: Sequence[int]) -> None:
        self.seen += tokens

    def mask(self, logits: Any) -> None:
        kept = logits[list(self.tokens)]
        logits.fill_(float("-inf"))
        logits[list(self.tokens)] = kept


def _held(*tokens: int, is_complete: bool = False, is_weighted: bool = False) -> Held:
    return Held(_Only(*tokens), lambda: is_complete, is_weighted)


def _left(logits: Any) -> list[int]:
    found: Any = (logits > float("-inf")).nonzero().flatten().tolist()
    return list(found)


def test_a_token_must_be_allowed_by_every_mask() -> None:
    logits = torch.arange(5.0)
    stack = MaskStack([_held(0, 1, 2), _held(1, 2, 3)])

    found = stack.apply(logits, 1.0)

    assert _left(found) == [1, 2]
    assert found[[1, 2]].tolist() == [1.0, 2.0]
    assert logits.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert stack.log_weight is None


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 2.0])
def test_weights_are_shares_of_what_the_other_rules_allow(temperature: float) -> None:
    """Of the logs of 1, 2, 3, 4 the plain mask leaves the last three, the weighted ones 3 alone."""
    logits = torch.log(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    stack = MaskStack(
        [_held(1, 2, is_weighted=True), _held(1, 2, 3), _held(2, 3, is_weighted=True)]
    )

    stack.apply(logits, temperature)
    stack.apply(logits, temperature)

    power = 1 / (temperature or 1.0)
    share = 3**power / sum(n**power for n in (2, 3, 4))
    assert stack.log_weight == pytest.approx(2 * math.log(share), abs=1e-5)


def test_nothing_left_is_all_at_minus_infinity_and_weighs_nothing() -> None:
    stack = MaskStack([_held(0), _held(1, is_weighted=True)])

    assert _left(stack.apply(torch.zeros(3), 1.0)) == []
    assert stack.log_weight == 0.0


def test_every_mask_goes_on_with_the_token() -> None:
    held = [_held(1), _held(2, is_weighted=True)]

    MaskStack(held).advance(7)

    assert [each.mask.seen for each in held] == [[7], [7]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([_held(0, is_complete=True)], True),
        ([_held(1)], False),
        ([_held(0, is_complete=True), _held(1, 9)], True),
        ([_held(0, is_complete=True), _held(1, 2)], False),
        ([_held(0, is_complete=True), _held(0, is_weighted=True)], False),
    ],
    ids=["complete", "open", "both end", "the other goes on", "weighted"],
)
def test_it_is_complete_where_one_is_and_the_others_may_end(
    held: list[Held], expected: bool
) -> None:
    assert MaskStack(held).is_complete(END, 10) is expected


def test_a_trie_is_complete_where_no_member_goes_on() -> None:
    held = make_trie(TokenTrie([(1,), (1, 2)]), END)

    found = [held.is_complete()]
    for token in (1, 2):
        held.mask.advance((token,))
        found.append(held.is_complete())

    assert found == [False, False, True]


def test_a_length_forbids_and_forces_the_end_of_turn() -> None:
    held = make_length(1, 2, END)

    left = []
    for token in (3, 4, 5):
        logits = torch.zeros(10)
        held.mask.mask(logits)
        left.append(_left(logits))
        held.mask.advance((token,))

    assert left == [list(range(1, 9)), list(range(10)), [0, 9]]
    assert not held.is_complete()

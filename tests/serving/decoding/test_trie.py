from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from motet.serving.decoding.trie import TokenTrie, TrieMask

EOS = 9
members = st.sets(
    st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple), min_size=1, max_size=8
)


def walked(found) -> set[tuple[int, ...]]:
    """All that the mask allows, to the end of turn."""
    trie = TokenTrie(found)
    ended, open_ = set(), [()]
    while open_:
        tokens = open_.pop()
        mask = TrieMask(trie, [EOS])
        mask.advance(tokens)
        for token in mask.allowed():
            if token == EOS:
                ended.add(tokens)
            else:
                open_.append((*tokens, token))
    return ended


@given(members)
def test_every_member_is_reached_and_nothing_else(found) -> None:
    assert walked(found) == found


@given(members, st.lists(st.floats(-20, 20, width=32), min_size=10, max_size=10))
def test_the_allowed_tokens_hold_all_of_the_probability(found, row) -> None:
    logits = torch.tensor(row)
    mask = TrieMask(TokenTrie(found), [EOS])

    mask.mask(logits)

    assert float(torch.softmax(logits, -1)[mask.allowed()].sum()) == pytest.approx(1.0, abs=1e-5)
    kept = [token for token in range(10) if logits[token] > -math.inf]
    assert kept == sorted(mask.allowed())
    assert all(logits[token] == torch.tensor(row)[token] for token in kept)


def test_behind_a_leaf_only_the_end_of_turn_is_left() -> None:
    mask = TrieMask(TokenTrie([(1, 2), (3,)]), [EOS, 8])

    mask.advance([1, 2])

    assert mask.allowed() == [8, 9]


def test_a_member_that_begins_another_may_end_or_go_on() -> None:
    mask = TrieMask(TokenTrie([(1,), (1, 2)]), [EOS])

    mask.advance([1])

    assert sorted(mask.allowed()) == [2, EOS]


def test_the_tokens_of_a_single_member_are_forced() -> None:
    mask = TrieMask(TokenTrie([(4, 0, 4)]), [EOS])
    found = []

    while not found or found[-1] != EOS:
        [token] = mask.allowed()
        mask.advance([token])
        found.append(token)

    assert found == [4, 0, 4, EOS]


def test_what_was_forbidden_before_stays_forbidden() -> None:
    logits = torch.full((10,), -math.inf)

    TrieMask(TokenTrie([(1,), (2,)]), [EOS]).mask(logits)

    assert not torch.isfinite(logits).any()


@pytest.mark.parametrize("tokens", [[5], [1, EOS, EOS], [EOS], [1, 1]])
def test_a_token_off_the_trie_is_refused(tokens) -> None:
    with pytest.raises(ValueError, match="token"):
        TrieMask(TokenTrie([(1,)]), [EOS]).advance(tokens)


def test_tokens_beyond_the_vocabulary_are_left_out() -> None:
    logits = torch.zeros(3)

    TrieMask(TokenTrie([(1,), (700,)]), [EOS]).mask(logits)

    assert logits.tolist() == [-math.inf, 0.0, -math.inf]


def test_an_empty_trie_is_refused() -> None:
    with pytest.raises(ValueError, match="members is empty"):
        TokenTrie([])

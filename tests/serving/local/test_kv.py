from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.serving.local.attention import Chunk, StepPlan
from motet.serving.local.kv import RowBuffer
from motet.serving.local.prefix_cache import BLOCK_TOKENS, PrefixCache, common_length


def _buffer(max_slots: int = 10_000) -> RowBuffer:
    return RowBuffer(
        num_layers=2, num_heads=1, head_width=2, dtype=torch.float32, max_slots=max_slots
    )


def _fill(buffer: RowBuffer, row: int, tokens: list[int]) -> None:
    buffer.data[:, :, row, : len(tokens)] = torch.tensor(tokens).view(-1, 1, 1).float()


def _read(buffer: RowBuffer, row: int, count: int) -> list[int]:
    found: Any = buffer.data[1, 0, row, :count, 0, 1].tolist()
    return [int(value) for value in found]


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(1, 40), st.just(0)), max_size=30), st.randoms())
def test_rows_keep_their_tokens_while_others_join_and_leave(sizes: list[int], random: Any) -> None:
    buffer = _buffer()
    rows: list[list[int]] = []
    for serial, size in enumerate(sizes):
        if size == 0 and rows:
            row = random.randrange(len(rows))
            buffer.leave(row, len(rows[-1]))
            rows[row] = rows[-1]
            rows.pop()
        else:
            used = max((len(tokens) for tokens in rows), default=0)
            row = buffer.join(size + 1, used)
            rows.append([serial * 100 + i for i in range(size)])
            _fill(buffer, row, rows[-1])

        assert buffer.num_rows == len(rows)
        assert [_read(buffer, row, len(t)) for row, t in enumerate(rows)] == rows


def test_room_doubles_only_within_the_limit() -> None:
    buffer = _buffer(max_slots=30)
    for used in (0, 10, 10):
        buffer.join(10, used)

    assert buffer.data.shape[2:4] == (3, 10)
    assert not buffer.fits(4, 10)


def test_a_dense_step_needs_no_gathering_and_equal_rows_no_mask() -> None:
    buffer = _buffer()
    for used in (0, 5):
        buffer.join(20, used)

    dense = StepPlan([Chunk(0, 5, [1]), Chunk(1, 5, [2])], buffer)
    ragged = StepPlan([Chunk(0, 5, [1]), Chunk(1, 3, [2])], buffer)
    mixed = StepPlan([Chunk(0, 5, [1]), Chunk(1, 0, [2, 3])], buffer)

    assert dense.is_dense
    assert dense.mask is None
    assert ragged.is_dense
    assert (ragged.mask[:, 0, 0] == 0).sum(1).tolist() == [6, 4]
    assert not mixed.is_dense
    assert mixed.last == [0, 2]


def test_a_few_long_rows_are_attended_to_alone() -> None:
    buffer = _buffer(100_000)
    chunks = [Chunk(row, 5000 if row == 3 else 20, [1]) for row in range(10)]
    for _ in chunks:
        buffer.join(6000, 0)

    plan = StepPlan(chunks, buffer)

    assert plan.num_slots == 21
    assert [chunk.row for chunk, _, _ in plan.spans] == [3]


def test_a_prefix_is_found_again_by_whole_blocks() -> None:
    buffer, cache = _buffer(), PrefixCache(10**6)
    tokens = list(range(3 * BLOCK_TOKENS + 5))
    row = buffer.join(100, 0)
    _fill(buffer, row, tokens)
    cache.store(tokens, buffer, row)
    other = buffer.join(100, len(tokens))

    changed = [*tokens[: 2 * BLOCK_TOKENS], -1, *tokens[2 * BLOCK_TOKENS :]]
    assert cache.match(tokens) == 3 * BLOCK_TOKENS
    assert cache.match(changed) == 2 * BLOCK_TOKENS
    cache.load(tokens, 3 * BLOCK_TOKENS - 1, buffer, other)

    assert _read(buffer, other, 3 * BLOCK_TOKENS) == [*tokens[: 3 * BLOCK_TOKENS - 1], 0]


def test_the_least_recently_used_blocks_go_first() -> None:
    buffer = _buffer()
    block_bytes = BLOCK_TOKENS * buffer.token_bytes
    cache = PrefixCache(3 * block_bytes)
    row = buffer.join(100, 0)
    first, second = ([start] * 2 * BLOCK_TOKENS for start in (1, 2))
    cache.store(first, buffer, row)
    cache.store(second, buffer, row)

    assert cache.num_bytes == 3 * block_bytes
    assert cache.match(first) == BLOCK_TOKENS
    assert cache.match(second) == 2 * BLOCK_TOKENS


def test_a_cache_of_no_size_keeps_nothing() -> None:
    buffer, cache = _buffer(), PrefixCache(0)
    cache.store([1] * 50, buffer, buffer.join(100, 0))

    assert cache.match([1] * 50) == 0
    assert cache.num_bytes == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_common_length_counts_equal_tokens(left: list[int], right: list[int]) -> None:
    expected = 0
    while expected < min(len(left), len(right)) and left[expected] == right[expected]:
        expected += 1

    assert common_length(left, right) == expected

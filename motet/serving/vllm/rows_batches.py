"""Where the rows with rules stand in the batch: one class for each model runner's bookkeeping."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from motet.serving.decoding import wire
from motet.serving.vllm.rows import Present, Row, RowMaker

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.v1.sample.logits_processor import BatchUpdate


class RowSource:
    """Makes rows; a coupled request that leaves the batch for a while gets its row back."""

    def __init__(self, maker: RowMaker, max_kept: int) -> None:
        self._maker = maker
        self._max_kept = max_kept
        self._kept: OrderedDict[int, tuple[Any, Row]] = OrderedDict()
        """By the identity of the request's parameters, which are kept so that it stays theirs."""

    def row(self, params: SamplingParams) -> Row | None:
        """Return the row of a request that enters the batch, or None where it has no rules."""
        extra = params.extra_args
        if not extra or wire.FIELD not in extra:
            return None
        if id(params) in self._kept:
            self._kept.move_to_end(id(params))
            return self._kept[id(params)][1]
        row = self._maker.make(extra[wire.FIELD], _ends_of_turn(params))
        if row.orders.is_coupled:
            # The parameters of other requests may be shared by several completions.
            self._kept[id(params)] = params, row
            if len(self._kept) > self._max_kept:
                self._kept.popitem(last=False)
        return row


def _ends_of_turn(params: SamplingParams) -> frozenset[int]:
    """Return the tokens that vLLM holds for the model's end of turn, as far as it says so."""
    if params.ignore_eos:
        return frozenset(params.all_stop_token_ids) - set(params.stop_token_ids or ())
    return frozenset() if params.eos_token_id is None else frozenset({params.eos_token_id})


@dataclass(slots=True)
class _Entry:
    row: Row
    base_ids: list[int]
    output_ids: list[int]
    """vLLM's own list, which grows."""

    def tail(self, start: int) -> list[int]:
        num_base = len(self.base_ids)
        if start >= num_base:
            return self.output_ids[start - num_base :]
        return self.base_ids[start:] + self.output_ids


class BatchRows:
    """Rows of the V1 runner, which tells of requests that come, go and move."""

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self._entries: dict[int, _Entry] = {}

    def update(self, batch_update: BatchUpdate | None) -> None:
        """Follow a change of the batch."""
        from vllm.v1.sample.logits_processor.builtin import process_dict_updates

        process_dict_updates(self._entries, batch_update, self._enter)

    def present(self, num_rows: int) -> list[Present]:
        """Return the rows with rules among the first `num_rows` of the batch."""
        return [
            Present(index, entry.row, len(entry.output_ids), entry.tail)
            for index, entry in self._entries.items()
            if index < num_rows
        ]

    def _enter(
        self, params: SamplingParams, prompt_ids: list[int] | None, output_ids: list[int]
    ) -> _Entry | None:
        row = self._source.row(params)
        if row is None:
            return None
        base = row.orders.base
        return _Entry(row, list(prompt_ids[-base:]) if base and prompt_ids else [], output_ids)


class SlotRows:
    """Rows of the V2 runner, which gives each request a slot and tells of no end."""

    def __init__(self, source: RowSource, states: Any) -> None:
        self._source = source
        self._states = states
        self._rows: dict[int, Row] = {}
        self._has_rules = np.zeros(states.max_num_reqs, dtype=bool)

    def add(self, slot: int, params: SamplingParams) -> bool:
        """Fill a slot; return whether its request has rules."""
        row = self._source.row(params)
        self._has_rules[slot] = row is not None
        if row is not None:
            self._rows[slot] = row
        return row is not None

    def present(self, num_rows: int, ctx: Any) -> list[Present]:
        """Return the rows with rules whose prompts are read; what others choose is thrown away."""
        slots = ctx.idx_mapping_np
        if not self._has_rules[slots].any():
            return []
        if num_rows != len(slots):
            return self._several_rows_each(ctx)
        found = []
        for index in np.flatnonzero(self._has_rules[slots]).tolist():
            slot = int(slots[index])
            visible = int(ctx.seq_lens_upper_bound_np[index])
            if visible >= int(self._states.prefill_len.np[slot]):
                found.append(self._present(index, slot, visible))
        return found

    def _present(self, index: int, slot: int, visible: int) -> Present:
        row = self._rows[slot]
        prompt_len = int(self._states.prompt_len.np[slot])
        first = prompt_len - row.orders.base

        def tail(start: int) -> list[int]:
            if first < 0:
                raise ValueError(f"base is {row.orders.base}; the prompt has {prompt_len} tokens")
            ids = self._states.all_token_ids.gpu[slot, first + start : visible]
            return [int(token) for token in ids.tolist()]

        return Present(index, row, visible - prompt_len, tail)

    def _several_rows_each(self, ctx: Any) -> list[Present]:
        """Return rows that are all given up: guessed tokens cannot be taken back from a rule."""
        found = []
        for index, slot in enumerate(ctx.expanded_idx_mapping.tolist()):
            if self._has_rules[slot]:
                row = self._rows[slot]
                row.failure = row.failure or "rules do not go with speculative decoding"
                found.append(Present(index, row, 0, lambda start: []))
        return found

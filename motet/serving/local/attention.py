"""Attention of one step over ragged rows: each row reads its own keys in the row buffer.

The tokens of a step are packed into one sequence, a few of each row, so the linear layers do no
work for padding; only attention knows the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812
from transformers import AttentionInterface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motet.serving.local.kv import RowBuffer

IMPLEMENTATION = "motet_ragged"
"""The name under which transformers knows `attend`."""
_LONE_ROW_COST = 200
"""What attending to one row by itself costs besides its tokens, in tokens."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The tokens of one row that a step computes."""

    row: int
    past: int
    """Tokens of the row that are computed already."""
    tokens: Sequence[int]
    """Ids of the next tokens; at least one."""
    num_logits: int = 0
    """After how many of the last tokens logits are wanted."""
    layers: tuple[int, ...] = ()
    """Earlier layers whose logits after the last token are wanted; 0 is the embedding."""


class StepPlan:
    """Which packed token belongs to which row and slot; what `attend` needs.

    N is the number of packed tokens, R the rows of the step, and S the slots that are read.
    """

    def __init__(self, chunks: Sequence[Chunk], buffer: RowBuffer) -> None:
        self.buffer = buffer
        device, dtype = buffer.data.device, buffer.data.dtype
        ids = [token for chunk in chunks for token in chunk.tokens]
        positions = [chunk.past + i for chunk in chunks for i in range(len(chunk.tokens))]
        rows = [chunk.row for chunk in chunks for _ in chunk.tokens]
        self.input_ids: Any = torch.tensor([ids], device=device)
        self.positions: Any = torch.tensor([positions], device=device)
        width = buffer.slot_width
        slots = [row * width + position for row, position in zip(rows, positions, strict=True)]
        self.slots: Any = torch.tensor(slots, device=device)
        """int `[N]`: where the buffer, seen as `[C * T, ...]`, keeps each token."""

        self.last: list[int] = []
        """Place of each chunk's last token among the packed ones."""
        for chunk in chunks:
            self.last.append((self.last[-1] if self.last else -1) + len(chunk.tokens))
        lengths = {chunk.row: chunk.past + 1 for chunk in chunks if len(chunk.tokens) == 1}
        self.num_slots = _batched_length(list(lengths.values()))
        self.singles: dict[int, int] = {}
        """Row to place of the single tokens that are attended to together."""
        self.spans: list[tuple[Chunk, int, Any]] = []
        """All other chunks, where they begin, and their mask."""
        for chunk, last in zip(chunks, self.last, strict=True):
            if len(chunk.tokens) == 1 and chunk.past < self.num_slots:
                self.singles[chunk.row] = last
            else:
                mask = _causal_mask(chunk, dtype, device)
                self.spans.append((chunk, last + 1 - len(chunk.tokens), mask))
        self._plan_singles(lengths, dtype, device)

    def _plan_singles(self, lengths: dict[int, int], dtype: Any, device: Any) -> None:
        """Attend to the single tokens at once, over all rows up to the last of theirs."""
        self.num_rows = max(self.singles, default=-1) + 1
        rows = range(self.num_rows)
        self.is_dense = not self.spans and list(self.singles.items()) == [(r, r) for r in rows]
        """Whether token i is the one token of row i, for all i: the common case."""
        if not self.is_dense:
            places = [self.singles.get(row, 0) for row in rows]
            self.row_places: Any = torch.tensor(places, dtype=torch.long, device=device)
            self.single_rows: Any = torch.tensor(list(self.singles), device=device)
            self.single_places: Any = torch.tensor(list(self.singles.values()), device=device)
        self.mask: Any = None
        used = [lengths[row] if row in self.singles else 1 for row in rows]
        if used and min(used) < self.num_slots:
            slots = torch.arange(self.num_slots, device=device)
            beyond = slots >= torch.tensor(used, device=device).unsqueeze(1)
            self.mask = torch.zeros(beyond.shape, dtype=dtype, device=device)
            self.mask.masked_fill_(beyond, float("-inf"))
            self.mask = self.mask.view(len(used), 1, 1, self.num_slots)


def _batched_length(lengths: Sequence[int]) -> int:
    """Return the length up to which rows are attended to together, each as long as the longest.

    A few rows much longer than the rest are cheaper alone.
    """
    ordered = sorted(lengths)
    best, best_cost, alone = 0, float("inf"), 0
    for count in range(len(ordered), 0, -1):
        length = ordered[count - 1]
        cost = len(ordered) * length + alone
        if cost < best_cost:
            best, best_cost = length, cost
        alone += length + _LONE_ROW_COST
    return best


def _causal_mask(chunk: Chunk, dtype: Any, device: Any) -> Any:
    """Return float `[n, past + n]` with -inf for later tokens; None where none is needed."""
    n = len(chunk.tokens)
    if chunk.past == 0 or n == 1:
        return None
    mask = torch.full((n, chunk.past + n), float("-inf"), dtype=dtype, device=device)
    return mask.triu_(chunk.past + 1)


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    *,
    scaling: float | None = None,
    plan: StepPlan | None = None,
    **_: Any,
) -> tuple[Any, None]:
    """Store the step's keys and values, then attend each token to its own row.

    A is the number of query heads, H of key-value heads, G = A / H.

    Args:
        module: The attention layer; its `layer_idx` chooses the layer of the buffer.
        query: float `[1, A, N, D]`.
        key: float `[1, H, N, D]`.
        value: As `key`.
        attention_mask: Ignored; `plan` says what each token may see.
        scaling: Factor of the scores; 1/sqrt(D) where None.
        plan: What this step computes.

    Returns:
        float `[1, N, A, D]`, and no weights.
    """
    assert plan is not None
    keys, values = plan.buffer.layers[module.layer_idx]
    heads, width = keys.shape[2:]
    keys.view(-1, heads, width).index_copy_(0, plan.slots, key[0].transpose(0, 1))
    values.view(-1, heads, width).index_copy_(0, plan.slots, value[0].transpose(0, 1))

    num_queries = query.shape[1]
    by_token = query[0].transpose(0, 1)
    if plan.is_dense:
        return _attend_singles(plan, by_token, keys, values, scaling).unsqueeze(0), None
    out = query.new_empty(by_token.shape)
    if plan.singles:
        gathered = by_token.index_select(0, plan.row_places)
        seen = _attend_singles(plan, gathered, keys, values, scaling)
        out.index_copy_(0, plan.single_places, seen.index_select(0, plan.single_rows))
    for chunk, start, mask in plan.spans:
        stop, length = start + len(chunk.tokens), chunk.past + len(chunk.tokens)
        shape = (heads, num_queries // heads, length, width)
        seen = F.scaled_dot_product_attention(
            query[0, :, start:stop].unflatten(0, (heads, num_queries // heads)),
            keys[chunk.row, :length].transpose(0, 1).unsqueeze(1).expand(shape),
            values[chunk.row, :length].transpose(0, 1).unsqueeze(1).expand(shape),
            attn_mask=mask,
            is_causal=mask is None and chunk.past == 0,
            scale=scaling,
        )
        out[start:stop] = seen.flatten(0, 1).transpose(0, 1)
    return out.unsqueeze(0), None


def _attend_singles(plan: StepPlan, query: Any, keys: Any, values: Any, scaling: Any) -> Any:
    """Attend one token of each row, `query` `[R, A, D]`, to the row's keys.

    The G query heads of a key-value head stand where attention expects G query positions: with
    one token a row there is no order among them, and no key is copied G times.
    """
    rows, heads, slots = query.shape[0], keys.shape[2], plan.num_slots
    seen = F.scaled_dot_product_attention(
        query.reshape(rows, heads, -1, query.shape[2]),
        keys[:rows, :slots].transpose(1, 2),
        values[:rows, :slots].transpose(1, 2),
        attn_mask=plan.mask,
        scale=scaling,
    )
    return seen.reshape(query.shape)


def register() -> None:
    """Make `attend` known to transformers as `IMPLEMENTATION`."""
    AttentionInterface.register(IMPLEMENTATION, attend)

"""The greatest of many values, exactly, without a partition of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DEPTH: Final = 8
"""Values in a block."""


def greatest(values: Any, k: int) -> NDArray[np.int64]:
    """Return the places [Q, k] of the k greatest of each row of `values`, in no set order.

    The rows are cut into blocks. The k greatest stand in the k blocks of the greatest maxima: were
    one of them elsewhere, each of those k blocks would hold a value that is as great. So a row is
    read once, and what is partitioned is its maxima, and those blocks. Which of equal values are
    taken is not said.

    Args:
        values: [Q, N], without NaN.
        k: 1 to N.
    """
    import numpy as np

    num_rows, num = values.shape
    num_blocks = num // _DEPTH
    if num_blocks < 2 * k:
        return _partitioned(values, k)
    rest = num_blocks * _DEPTH
    # A block is a column of this view, so that maxima are taken of long rows side by side.
    blocks = values[:, :rest].reshape(num_rows, _DEPTH, num_blocks)
    chosen = _partitioned(blocks.max(axis=1), k)
    steps = np.arange(0, rest, num_blocks)
    places = (chosen[:, :, None] + steps).reshape(num_rows, -1)
    if rest < num:
        beyond = np.broadcast_to(np.arange(rest, num), (num_rows, num - rest))
        places = np.concatenate([places, beyond], axis=1)
    rows = np.arange(num_rows)[:, None]
    best: NDArray[np.int64] = places[rows, _partitioned(values[rows, places], k)]
    return best


def _partitioned(values: Any, k: int) -> NDArray[np.int64]:
    import numpy as np

    places: NDArray[np.int64] = np.argpartition(values, -k, axis=1)[:, -k:]
    return places

"""The garbage collector while runs last: full collections are rarer."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_RARER = 50
"""Collections of the middle generation between two full ones, where Python has 10."""
_lock = threading.Lock()
_num_users = 0
_before: tuple[int, int, int] | None = None
"""Thresholds to go back to; None where they were left alone."""


@contextmanager
def rare_full_collections() -> Iterator[None]:
    """Let full collections wait longer.

    A run keeps its calls, so going through every object of the process finds next to nothing, and
    is a pause of 0.1 s for some 100,000 objects, in which no request leaves. Thresholds that the
    application has raised itself, or changes meanwhile, stay as they are.
    """
    global _num_users, _before
    with _lock:
        if _num_users == 0:
            found = gc.get_threshold()
            _before = found if 0 < found[2] < _RARER else None
            if _before is not None:
                gc.set_threshold(found[0], found[1], _RARER)
        _num_users += 1
    try:
        yield
    finally:
        with _lock:
            _num_users -= 1
            if _num_users == 0 and _before is not None:
                if gc.get_threshold() == (_before[0], _before[1], _RARER):
                    gc.set_threshold(*_before)
                _before = None

"""Make the first request's wait shorter: what is imported, and when files are read."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GENERATION = "transformers.generation.candidate_generator"
_pauses: list[bool] = []
"""Whether the collector was on before each pause that goes on now."""
_pauses_lock = threading.Lock()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python's collector of cycles off, in the whole process, until the last pause ends.

    Packages allocate some 500,000 objects that stay. Looking through them again and again took
    a quarter of the time until a model was ready.
    """
    with _pauses_lock:
        _pauses.append(gc.isenabled())
        gc.disable()
    try:
        yield
    finally:
        with _pauses_lock:
            was_on = _pauses.pop()
            if not _pauses and was_on:
                gc.enable()


def import_transformers() -> None:
    """Import transformers, but not yet scikit-learn, which takes it a second.

    Its assisted generation, which motet does not use, imports `sklearn.metrics` for `roc_curve`
    with the module. Here that function loads scikit-learn when it is first called, so that other
    code of this process finds it working.
    """
    import transformers.utils

    if _GENERATION in sys.modules or not hasattr(transformers.utils, "is_sklearn_available"):
        return
    is_available = transformers.utils.is_sklearn_available
    transformers.utils.is_sklearn_available = _says_no
    try:
        generation = importlib.import_module(_GENERATION)
    finally:
        transformers.utils.is_sklearn_available = is_available
    if getattr(generation, "is_sklearn_available", None) is _says_no:
        vars(generation).update(is_sklearn_available=is_available, roc_curve=_roc_curve)


def _says_no() -> bool:
    return False


def _roc_curve(*args: Any, **settings: Any) -> Any:
    return importlib.import_module("sklearn.metrics").roc_curve(*args, **settings)


def read_ahead(folder: Path) -> None:
    """Let the system read the weights in `folder` from the disk while packages are imported."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)

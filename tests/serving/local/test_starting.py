from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from motet.serving.local.starting import collector_paused, read_ahead

_ASKS_TRANSFORMERS = """
import sys
from motet.serving.local.starting import import_transformers
import_transformers()
from transformers import AutoModelForCausalLM
assert "sklearn" not in sys.modules, "scikit-learn is loaded"
from transformers.generation import candidate_generator
from transformers.utils import is_sklearn_available
assert candidate_generator.is_sklearn_available is is_sklearn_available
if is_sklearn_available():
    false_rates, true_rates, _ = candidate_generator.roc_curve([0, 1], [0.2, 0.8])
    assert list(true_rates) == [0.0, 1.0, 1.0], true_rates
import_transformers()
"""


def test_scikit_learn_loads_only_when_transformers_calls_it() -> None:
    pytest.importorskip("transformers", reason="needs the packages of the extra 'local'")
    done = subprocess.run(
        [sys.executable, "-c", _ASKS_TRANSFORMERS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_collector_works_again_after_a_pause_also_one_that_failed() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="broken"), collector_paused():
        assert not gc.isenabled()
        raise ValueError("broken")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_of_overlapping_pauses_the_last_to_end_turns_the_collector_on() -> None:
    first_may_end = threading.Event()
    first_began = threading.Event()

    def pause() -> None:
        with collector_paused():
            first_began.set()
            first_may_end.wait(10)

    first = threading.Thread(target=pause)
    first.start()
    first_began.wait(10)
    with collector_paused():
        first_may_end.set()
        first.join(10)
        assert not gc.isenabled()
    assert gc.isenabled()


def test_reading_ahead_asks_nothing_of_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    read_ahead(tmp_path)
    read_ahead(tmp_path / "absent")

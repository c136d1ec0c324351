"""Limits are checked when they are made."""

from typing import Any

import pytest

from motet.errors import ConfigError
from motet.sandbox import Limits, Outcome


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wall_s", 0),
        ("wall_s", float("nan")),
        ("wall_s", float("inf")),
        ("wall_s", "10"),
        ("cpu_s", 0),
        ("cpu_s", 1.5),
        ("memory_mb", True),
        ("memory_mb", -1),
        ("disk_mb", 0),
        ("max_file_mb", None),
        ("max_processes", 0),
        ("max_open_files", 3),
        ("max_output_bytes", -1),
    ],
)
def test_a_limit_out_of_range_names_itself_and_its_value(name: str, value: Any) -> None:
    """The error holds the setting, the value, and what it must be."""
    with pytest.raises(ConfigError, match=f"^{name} is {value!r}; it must be a .*number from"):
        Limits(**{name: value})


@pytest.mark.parametrize(
    ("code", "name"), [(137, "SIGKILL"), (139, "SIGSEGV"), (1, None), (255, None), (None, None)]
)
def test_an_exit_code_above_128_tells_its_signal(code: int | None, name: str | None) -> None:
    """As a shell says it; other codes tell none."""
    outcome = Outcome(
        stdout=b"", stderr=b"", is_cut=False, exit_code=code, ended="done", wall_s=0.0
    )

    assert (outcome.signal.name if outcome.signal else None) == name

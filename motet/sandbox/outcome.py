"""What a program may use, and what came of running it."""

from __future__ import annotations

import signal
from dataclasses import dataclass, fields
from typing import Literal

from motet.errors import ConfigError

Ended = Literal["done", "time", "cpu", "memory", "output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may use."""

    wall_s: float = 10.0
    """From its start to its end; waiting for a free core does not count."""
    cpu_s: int = 10
    """Of each process."""
    memory_mb: int = 512
    """Address space of each process beyond what Python itself needs, and memory of all together."""
    disk_mb: int = 32
    """Of the working folder, /tmp and /dev/shm each; they are memory."""
    max_file_mb: int = 16
    """Size of one file."""
    max_processes: int = 32
    """At a time, threads included."""
    max_open_files: int = 64
    """Of each process."""
    max_output_bytes: int = 65_536
    """Of stdout and of stderr each; a program that writes more is ended."""

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            least, most = _BOUNDS[setting.name]
            is_number = isinstance(value, (int, float) if setting.name == "wall_s" else int)
            if isinstance(value, bool) or not is_number or not least <= value <= most:
                raise ConfigError(
                    f"{setting.name} is {value!r}; it must be {_kind(setting.name)} from {least} "
                    f"to {most}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of running a program. All of it is data that the program chose, but `ended`."""

    stdout: bytes
    """At most `Limits.max_output_bytes`, as is `stderr`."""
    stderr: bytes
    is_cut: bool
    """Whether the program wrote more than is kept here."""
    exit_code: int | None
    """128 and the number of a signal where a signal ended it; None where the sandbox did."""
    ended: Ended
    """`done`: by itself; else the limit that was passed."""
    wall_s: float

    @property
    def signal(self) -> signal.Signals | None:
        """The signal that ended the program, or that it says so by its exit code."""
        number = (self.exit_code or 0) - 128
        return signal.Signals(number) if number in set(signal.Signals) else None


_BOUNDS: dict[str, tuple[float, float]] = {
    "wall_s": (0.1, 3600),
    "cpu_s": (1, 3600),
    "memory_mb": (16, 1_000_000),
    "disk_mb": (1, 100_000),
    "max_file_mb": (1, 100_000),
    "max_processes": (1, 10_000),
    "max_open_files": (16, 10_000),
    "max_output_bytes": (0, 100_000_000),
}


def _kind(name: str) -> str:
    return "a number" if name == "wall_s" else "a whole number"

"""Records of runs and calls, as the store keeps them. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from motet.engine import Usage
from motet.types import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of a program."""

    run_id: str
    """Sorts by time; the caller makes it."""
    program: str
    """Display name of the root operation."""
    status: str
    """`running`, `finished`, `failed` or `cancelled`."""
    created_at: float
    """Unix seconds."""
    manifest: dict[str, JSON]
    """Seed, budget, versions, inputs, and how to load the program."""
    finished_at: float | None = None
    root_id: str | None = None
    value_digest: str | None = None
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    cost: float = 0.0
    error: dict[str, JSON] | None = None
    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One finished or failed call of a run. Ids and digests are 32 hexadecimal characters."""

    run_id: str
    call_id: str
    parent_id: str | None
    slot: str
    """Place of the call in its parent, such as `0/12`; a run has each parent and slot once."""
    operation: str
    kind: str
    status: str
    """`finished` or `failed`."""
    value_digest: str | None
    """Artifact that holds the value."""
    request_digest: str | None = None
    """Artifact that holds the request; also its key in the cache."""
    source: str = "local"
    """`engine`, `cache` or `local`."""
    model: str | None = None
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    cost: float = 0.0
    started_at: float = 0.0
    """Unix seconds."""
    duration_s: float = 0.0
    inputs: tuple[str, ...] = ()
    """Ids of the calls that it depends on."""
    error: dict[str, JSON] | None = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSize:
    """How much a store holds."""

    bytes: int
    """On disk, indexes included and SQLite's write-ahead log left out."""
    runs: int
    calls: int
    artifacts: int
    cached: int
    """Requests that the cache can answer."""

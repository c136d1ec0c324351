"""Records of runs and calls, as the store keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from motet.engine import Usage
from motet.types import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    run_id: str
    program: str
    status: str
    created_at: float
    manifest: dict[str, JSON]
    finished_at: float | None = None
    root_id: str | None = None
    value_digest: str | None = None
    usage: Usage = Usage()
    cost: float = 0.0
    error: dict[str, JSON] | None = None
    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    run_id: str
    call_id: str
    parent_id: str | None
    slot: str
    operation: str
    kind: str
    status: str
    value_digest: str | None
    request_digest: str | None = None
    source: str = "local"
    model: str | None = None
    usage: Usage = Usage()
    cost: float = 0.0
    started_at: float = 0.0
    duration_s: float = 0.0
    inputs: tuple[str, ...] = ()
    error: dict[str, JSON] | None = None
    finish_reason: str | None = None

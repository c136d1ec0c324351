"""The journal of runs and the cache of requests, in SQLite or PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.store.records import CallRecord, RunRecord, StoreSize

if TYPE_CHECKING:
    from motet.store.store import Store

__all__ = ["CallRecord", "RunRecord", "Store", "StoreSize"]


def __getattr__(name: str) -> Any:
    if name == "Store":  # SQLAlchemy takes half a second to import
        from motet.store.store import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Records as rows, and rows as records."""

from __future__ import annotations

import json
import re
import zlib
from functools import lru_cache
from typing import Any

from motet.engine import Usage
from motet.errors import StoreError
from motet.store.records import CallRecord, RunRecord

_COMPRESS_ABOVE = 512
"""Bytes; shorter artifacts hardly shrink."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@lru_cache(maxsize=4096)
def clean_text(text: str) -> str:
    """Put U+FFFD where PostgreSQL's TEXT cannot hold a character: NUL and lone surrogates."""
    return _UNSTORABLE.sub("\ufffd", text)


def clean_optional(text: str | None) -> str | None:
    return None if text is None else clean_text(text)


def pack_digest(text: str) -> bytes:
    """Write an id or digest as 16 bytes.

    Raises:
        StoreError: `text` is not 32 hexadecimal characters.
    """
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        packed = b""
    if len(packed) != 16 or len(text) != 32:
        raise StoreError(f"{text!r} is no id or digest: those are 32 hexadecimal characters")
    return packed


def pack_optional(text: str | None) -> bytes | None:
    return None if text is None else pack_digest(text)


def _unpack(packed: bytes | None) -> str | None:
    return packed.hex() if packed else None


def pack_artifact(digest: bytes, data: bytes) -> tuple[bytes, int, bytes]:
    """Return the row of an artifact, compressed where that makes it smaller."""
    if len(data) > _COMPRESS_ABOVE:
        smaller = zlib.compress(data, 1)
        if len(smaller) < len(data):
            return digest, 1, smaller
    return digest, 0, data


def unpack_artifact(encoding: int, data: bytes) -> bytes:
    if encoding == 0:
        return bytes(data)
    try:
        return zlib.decompress(data)
    except zlib.error as exc:
        raise StoreError(f"an artifact is damaged: {exc}; restore the store from a copy") from exc


def _dump(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=True, separators=(",", ":"))


RUN_COLUMNS = (
    "run_id",
    "program",
    "status",
    "created_at",
    "finished_at",
    "root_id",
    "value_digest",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "model_calls",
    "cost",
    "calls",
    "manifest",
    "error",
)


def run_to_row(record: RunRecord) -> tuple[Any, ...]:
    usage = record.usage
    return (
        clean_text(record.run_id),
        clean_text(record.program),
        clean_text(record.status),
        record.created_at,
        record.finished_at,
        pack_optional(record.root_id),
        pack_optional(record.value_digest),
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.calls,
        record.cost,
        record.calls,
        _dump(record.manifest),
        _dump(record.error),
    )


def row_to_run(row: Any) -> RunRecord:
    return RunRecord(
        run_id=row.run_id,
        program=row.program,
        status=row.status,
        created_at=row.created_at,
        finished_at=row.finished_at,
        root_id=_unpack(row.root_id),
        value_digest=_unpack(row.value_digest),
        usage=row_to_usage(row),
        cost=row.cost,
        calls=row.calls,
        manifest=json.loads(row.manifest),
        error=None if row.error is None else json.loads(row.error),
    )


CALL_COLUMNS = (
    "run",
    "call_id",
    "parent_id",
    "slot",
    "operation",
    "kind",
    "status",
    "value_digest",
    "request_digest",
    "source",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "model_calls",
    "cost",
    "started_at",
    "duration_s",
    "inputs",
    "error",
    "finish_reason",
)


def call_to_row(record: CallRecord, run: int) -> tuple[Any, ...]:
    usage = record.usage
    return (
        run,
        pack_digest(record.call_id),
        b"" if record.parent_id is None else pack_digest(record.parent_id),
        clean_text(record.slot),
        clean_text(record.operation),
        clean_text(record.kind),
        clean_text(record.status),
        pack_optional(record.value_digest),
        pack_optional(record.request_digest),
        clean_text(record.source),
        clean_optional(record.model),
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.calls,
        record.cost,
        record.started_at,
        record.duration_s,
        b"".join([pack_digest(text) for text in record.inputs]),
        _dump(record.error),
        clean_optional(record.finish_reason),
    )


def row_to_call(row: Any, run_id: str) -> CallRecord:
    inputs = bytes(row.inputs)
    return CallRecord(
        run_id=run_id,
        call_id=row.call_id.hex(),
        parent_id=_unpack(row.parent_id),
        slot=row.slot,
        operation=row.operation,
        kind=row.kind,
        status=row.status,
        value_digest=_unpack(row.value_digest),
        request_digest=_unpack(row.request_digest),
        source=row.source,
        model=row.model,
        usage=row_to_usage(row),
        cost=row.cost,
        started_at=row.started_at,
        duration_s=row.duration_s,
        inputs=tuple([inputs[i : i + 16].hex() for i in range(0, len(inputs), 16)]),
        error=None if row.error is None else json.loads(row.error),
        finish_reason=row.finish_reason,
    )


CACHE_COLUMNS = (
    "request_digest",
    "value_digest",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "model_calls",
    "created_at",
)


def cache_to_row(entry: tuple[str, str, Usage], created_at: float) -> tuple[Any, ...]:
    request, value, usage = entry
    return (
        pack_digest(request),
        pack_digest(value),
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.calls,
        created_at,
    )


def row_to_usage(row: Any) -> Usage:
    return Usage(row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.model_calls)

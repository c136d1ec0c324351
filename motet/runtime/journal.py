"""The journal of one run: what was finished before, and what is finished now."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motet.calls import Call, check_slot
from motet.digest import digest_bytes
from motet.engine import Usage
from motet.errors import MotetError, ReplayMismatchError, StoreError, describe_error, restore_error
from motet.store.records import CallRecord, RunRecord

if TYPE_CHECKING:
    from motet.store import Store

_log = logging.getLogger(__name__)


class Journal:
    """Writes calls of a run as they finish, and answers those that had finished before."""

    def __init__(self, store: Store, record: RunRecord) -> None:
        self.store = store
        self.record = record
        self.manifest: dict[str, Any] = record.manifest
        """Kept with the record from the next `save` on."""
        self._entries: dict[str, CallRecord] = {}
        self._slots: dict[tuple[str | None, str], str] = {}
        self._artifacts: dict[str, bytes] = {}
        self._below: dict[str, tuple[Usage, float]] = {}
        self._warned: set[str] = set()
        self.paid = Usage()
        """What earlier parts of the run have paid for."""
        self.paid_cost = 0.0

    async def load(self) -> None:
        """Read what the run had finished."""
        records = await self.store.load_calls(self.record.run_id)
        digests = {r.value_digest for r in records if r.value_digest is not None}
        self._artifacts = await self.store.artifacts(digests)
        for record in records:
            self._entries[record.call_id] = record
            self._slots[record.parent_id, record.slot] = record.call_id
            self.paid += record.usage
            self.paid_cost += record.cost

        parents = {r.call_id: r.parent_id for r in records}
        # A program that has not finished has no record; its calls name it all the same.
        for record in records:
            above = record.parent_id
            while above is not None:
                usage, cost = self._below.get(above, (Usage(), 0.0))
                self._below[above] = (usage + record.usage, cost + record.cost)
                above = parents.get(above)

    def entry(self, call_id: str) -> CallRecord | None:
        return self._entries.get(call_id)

    def paid_below(self, call_id: str) -> tuple[Usage, float]:
        """What the calls that a call made have paid for, and theirs."""
        return self._below.get(call_id, (Usage(), 0.0))

    def is_kept(self, entry: CallRecord) -> bool:
        """Whether the call of this entry has its end in the journal, so that it never runs again."""
        return entry.status == "failed" or entry.value_digest in self._artifacts

    @property
    def is_empty(self) -> bool:
        return not self._entries

    def check(self, call: Call) -> None:
        """Refuse a call that stands where the journal holds another."""
        if self._entries and call.id not in self._entries:
            parent = call.parent.id if call.parent is not None else None
            check_slot(call, self._slots.get((parent, call.slot)))

    def recall(self, call: Call) -> tuple[Any, MotetError | None, CallRecord] | None:
        """Return the value, or the error, that `call` had; None where it must run."""
        entry = self._entries.get(call.id)
        if entry is None:
            return None
        if entry.status == "failed":
            return None, restore_error(entry.error or {}), entry
        if entry.value_digest is None:
            return None
        data = self._artifacts.get(entry.value_digest)
        if data is None:
            return None
        try:
            return call.ref.operation.load(call.ref, data), None, entry
        except MotetError as exc:
            return None, exc, entry
        except Exception as exc:  # the declared type may have changed since
            raise ReplayMismatchError(
                f"the journaled value of {call.ref.operation.short_name} (at {call.ref.place}) "
                f"does not have its declared type any more: {exc}"
            ) from exc

    def write(
        self,
        call: Call,
        raw: Any,
        *,
        on_committed: Callable[[StoreError | None], None],
        usage: Usage = Usage(),  # noqa: B008 - frozen
        cost: float = 0.0,
        source: str = "local",
        model: str | None = None,
        request: tuple[str, bytes] | None = None,
        is_cacheable: bool = False,
        finish_reason: str | None = None,
        error: MotetError | None = None,
    ) -> None:
        """Append a finished call, or a failure that the program went on after."""
        operation = call.ref.operation
        artifacts: dict[str, bytes] = {}
        digest: str | None = None
        if error is None and not operation.is_derived:
            try:
                data = operation.dump(call.ref, raw)
            except TypeError as exc:
                self._warn(operation.name, exc)
            else:
                digest = digest_bytes(data)
                artifacts[digest] = data
        cache = None
        if request is not None:
            artifacts[request[0]] = request[1]
            if is_cacheable and digest is not None:
                cache = (request[0], digest, usage)
        now = time.time()
        took = time.monotonic() - call.started_s if call.started_s else 0.0
        by_ref = call.ref.dependencies
        record = CallRecord(
            run_id=self.record.run_id,
            call_id=call.id,
            parent_id=call.parent.id if call.parent is not None else None,
            slot=call.slot,
            operation=operation.name,
            kind=operation.kind,
            status="finished" if error is None else "failed",
            value_digest=digest,
            request_digest=request[0] if request is not None else None,
            source=source,
            model=model,
            usage=usage,
            cost=cost,
            started_at=now - took,
            duration_s=took,
            inputs=self._input_ids(by_ref),
            error=None if error is None else describe_error(error),
            finish_reason=finish_reason,
        )
        try:
            self.store.append(record, artifacts, cache=cache, on_committed=on_committed)
        except StoreError as exc:  # it was closed meanwhile
            on_committed(exc)

    input_id: Callable[[Any], str]
    """Set by the executor: the id of a ref's call."""

    def _input_ids(self, refs: tuple[Any, ...]) -> tuple[str, ...]:
        return tuple([self.input_id(ref) for ref in refs])

    def _warn(self, name: str, exc: TypeError) -> None:
        if name not in self._warned:
            self._warned.add(name)
            _log.warning("%s will run again on resume: %s", name, exc)

    async def save(self, **changes: Any) -> None:
        """Update the run's record."""
        self.record = replace(self.record, **changes)
        await self.store.save_run(self.record)

"""`motet runs diff`: where two runs differ."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from motet.cli.failures import FAILED, OK
from motet.cli.runs import call_value
from motet.cli.stores import find_run, opened_store
from motet.cli.terminal import as_json, fitted, one_line, write

if TYPE_CHECKING:
    from motet.cli.settings import Settings
    from motet.store import CallRecord, Store


def diff_runs(settings: Settings, first: str, second: str, *, is_json: bool) -> int:
    """Print the calls that differ; exit with 1 where some do.

    Calls are matched by place: their maker's place, operation, and number among equal ones.
    """
    with opened_store(settings) as store:
        sides, values = asyncio.run(_read(store, first, second))
    differences = list(_differences(sides, values))
    if is_json:
        write(as_json(differences))
    elif not differences:
        write("no call differs")
    else:
        for difference in differences:
            for line in _lines(difference):
                write(fitted(line))
    return FAILED if differences else OK


async def _read(
    store: Store, first: str, second: str
) -> tuple[list[dict[str, CallRecord]], dict[str, bytes]]:
    sides = []
    for prefix in (first, second):
        record = await find_run(store, prefix)
        sides.append(by_place(await store.load_calls(record.run_id)))
    digests = {c.value_digest for side in sides for c in side.values() if c.value_digest}
    return sides, await store.artifacts(digests)


def by_place(calls: list[CallRecord]) -> dict[str, CallRecord]:
    """Name calls by where they are made, which two runs of a program have in common."""
    by_id = {c.call_id: c for c in calls}
    counts: dict[str, int] = {}
    found: dict[str, CallRecord] = {}
    for call in sorted(calls, key=lambda c: (c.parent_id or "", _slot_order(c.slot))):
        path = [f"{_short(call.operation)}@{call.slot}"]
        parent = by_id.get(call.parent_id or "")
        while parent is not None:
            path.append(f"{_short(parent.operation)}@{parent.slot}")
            parent = by_id.get(parent.parent_id or "")
        place = " > ".join(reversed(path))
        counts[place] = counts.get(place, 0) + 1
        if counts[place] > 1:
            place += f" #{counts[place]}"
        found[place] = call
    return found


def _slot_order(slot: str) -> list[tuple[int, str]]:
    parts = slot.replace("/", ".").split(".")
    return [(int(p), "") if p.isdigit() else (0, p) for p in parts]


def _short(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]


def _differences(sides: list[dict[str, CallRecord]], values: dict[str, bytes]) -> Any:
    a, b = sides
    for place in [*a, *(p for p in b if p not in a)]:
        shown = [_shown(side.get(place), values) for side in (a, b)]
        if shown[0] != shown[1]:
            yield {"call": place, "a": shown[0], "b": shown[1]}


def _shown(call: CallRecord | None, values: dict[str, bytes]) -> dict[str, Any] | None:
    if call is None:
        return None
    return {
        "status": call.status,
        "model": call.model,
        "value": call_value(call, values),
        "error": call.error.get("message") if call.error else None,
        "prompt_tokens": call.usage.prompt_tokens,
        "completion_tokens": call.usage.completion_tokens,
        "cost": call.cost,
    }


def _lines(difference: dict[str, Any]) -> list[str]:
    lines = [one_line(difference["call"])]
    a, b = difference["a"], difference["b"]
    if a is None or b is None:
        lines.append(f"  only in {'the first' if b is None else 'the second'} run")
        return lines
    for name in a:
        if a[name] != b[name]:
            lines.append(f"  - {name}: {one_line(_text(a[name]), 160)}")
            lines.append(f"  + {name}: {one_line(_text(b[name]), 160)}")
    return lines


def _text(value: Any) -> str:
    return value if isinstance(value, str) else as_json(value)

"""`motet runs`: what the store holds of earlier runs."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from motet.cli.failures import OK, STORE
from motet.cli.stores import ask, find_run, opened_store
from motet.cli.terminal import as_json, fitted, note, one_line, safe_plain, show_table, write
from motet.errors import StoreError

if TYPE_CHECKING:
    from motet.cli.settings import Settings
    from motet.store import CallRecord, RunRecord, Store


def list_runs(
    settings: Settings, *, limit: int, program: str | None, status: str | None, is_json: bool
) -> int:
    """Print the newest runs."""
    records = ask(settings, lambda s: s.list_runs(limit=limit, program=program, status=status))
    if is_json:
        write(as_json([run_json(r) for r in records]))
        return OK
    if not records:
        note("no runs yet; `motet run PROGRAM` makes one")
        return OK
    rows = [
        [
            r.run_id,
            r.status,
            _short(r.program),
            str(r.usage.calls),
            f"{r.usage.tokens:,}",
            f"{r.cost:.4g}",
            _took(r),
        ]
        for r in records
    ]
    show_table(["RUN", "STATUS", "PROGRAM", "CALLS", "TOKENS", "COST", "TIME"], rows)
    return OK


def _took(record: RunRecord) -> str:
    from motet.observers.tree import shown_seconds

    if record.finished_at is None:
        return "-"
    return shown_seconds(max(0.0, record.finished_at - record.created_at))


def _short(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]


def run_json(record: RunRecord) -> dict[str, Any]:
    """A run's record as JSON values."""
    shown: dict[str, Any] = safe_plain(record)
    return shown


def show_run(
    settings: Settings, prefix: str, *, is_json: bool, has_prompts: bool, is_raw: bool
) -> int:
    """Print a run's record and the tree of its calls."""
    with opened_store(settings) as store:
        record, calls, values, requests = asyncio.run(_read_run(store, prefix, has_prompts))
    if is_json:
        shown = run_json(record)
        shown["calls"] = [
            {
                **safe_plain(call),
                "value": call_value(call, values),
                **({"request": requests.get(call.request_digest or "")} if has_prompts else {}),
            }
            for call in calls
        ]
        write(as_json(shown))
        return OK
    for line in _head(record):
        write(line if line.startswith("error") else fitted(line))
    for line in call_lines(calls, values, requests):
        write(line if has_prompts else fitted(line), raw=is_raw)
    return OK


async def _read_run(
    store: Store, prefix: str, has_prompts: bool
) -> tuple[RunRecord, list[CallRecord], dict[str, bytes], dict[str, Any]]:
    record = await find_run(store, prefix)
    calls = await store.load_calls(record.run_id)
    values = await store.artifacts({c.value_digest for c in calls if c.value_digest})
    requests: dict[str, Any] = {}
    if has_prompts:
        digests = {c.request_digest for c in calls if c.request_digest}
        found = await store.artifacts(digests)
        requests = {digest: json.loads(data) for digest, data in found.items()}
    return record, calls, values, requests


def _head(record: RunRecord) -> list[str]:
    from motet.cli.terminal import shown_usage

    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created_at))
    lines = [
        f"run      {record.run_id}",
        f"program  {one_line(record.program)}",
        f"status   {record.status}, started {started}",
        f"used     {shown_usage(record.usage, record.cost, None)}",
    ]
    if record.error is not None:
        kind, message = record.error.get("type"), record.error.get("message")
        lines.append(f"error    {kind}: {one_line(str(message), 400)}")
    if record.status != "finished":
        lines.append(f"resume   motet runs resume {record.run_id}")
    return lines


def call_lines(
    calls: list[CallRecord], values: dict[str, bytes], requests: dict[str, Any]
) -> list[str]:
    """Return the calls as a tree, makers above what they made, in the order of their ends."""
    children: dict[str | None, list[CallRecord]] = {}
    known = {c.call_id for c in calls}
    for call in calls:
        parent = call.parent_id if call.parent_id in known else None
        children.setdefault(parent, []).append(call)
    lines: list[str] = []
    stack = [(c, "") for c in reversed(children.get(None, []))]
    while stack:
        call, indent = stack.pop()
        lines.extend(indent + line for line in _call_lines(call, values, requests))
        stack.extend((c, indent + "  ") for c in reversed(children.get(call.call_id, [])))
    return lines


def _call_lines(call: CallRecord, values: dict[str, bytes], requests: dict[str, Any]) -> list[str]:
    mark = {"finished": "+", "failed": "x"}.get(call.status, "?")
    parts = [f"{mark} {_short(call.operation)}"]
    if call.model:
        parts[0] += f" on {one_line(call.model, 40)}"
    if call.usage.tokens:
        parts.append(f"{call.usage.tokens:,} tok")
    if call.cost:
        parts.append(f"cost {call.cost:.4g}")
    parts.append(f"{call.duration_s:.2f}s")
    if call.source in ("cache", "journal"):
        parts.append(call.source)
    lines = ["  ".join(parts)]
    if call.error is not None:
        lines.append(f"    {call.error.get('type')}: {one_line(str(call.error.get('message')))}")
    elif call.value_digest is not None:
        value = call_value(call, values)
        text = value if isinstance(value, str) else json.dumps(value)
        lines.append(f"    = {one_line(text, 120)}")
    request = requests.get(call.request_digest or "")
    if request is not None:
        lines.extend(f"    {line}" for line in _prompt_lines(request))
    return lines


def _prompt_lines(request: Any) -> list[str]:
    prompt = request.get("prompt") if isinstance(request, dict) else request
    if isinstance(prompt, str):
        return [f"| {line}" for line in prompt.splitlines()]
    lines = []
    for turn in prompt or ():
        if isinstance(turn, list) and len(turn) >= 2:
            texts = str(turn[1]).splitlines() or [""]
            lines.append(f"| {turn[0]}: {texts[0]}")
            lines.extend(f"|   {line}" for line in texts[1:])
    return lines


def call_value(call: CallRecord, values: dict[str, bytes]) -> Any:
    """A call's value as JSON; of a prompt its text, or the list of its texts."""
    data = values.get(call.value_digest or "")
    if data is None:
        return None
    if call.kind != "prompt":
        return json.loads(data)
    from motet.prompts import load_reply

    texts = [c.text for c in load_reply(data).completions]
    return texts[0] if len(texts) == 1 else texts


def resume_run(
    settings_of: Any, prefix: str, options: dict[str, Any], flags: dict[str, Any]
) -> int:
    """Go on with a run that `motet run` started."""
    from motet.cli.calling import from_manifest
    from motet.cli.run import run_invocation

    record = ask(settings_of(options), lambda store: find_run(store, prefix))
    invocation, kept = from_manifest(record.manifest)
    given = {name: value for name, value in options.items() if value is not None}
    settings = settings_of({**kept, **given})
    # The run goes on with its own seed and, unless told otherwise, its own budget.
    settings = settings.model_copy(update={"seed": None})
    return run_invocation(invocation, settings, resume=record.run_id, **flags)


def remove_runs(settings: Settings, prefixes: list[str]) -> int:
    """Remove runs; go on after one that cannot be."""

    async def work(store: Store) -> int:
        code = OK
        for prefix in prefixes:
            record = await find_run(store, prefix)
            try:
                await store.remove_run(record.run_id)
            except StoreError as exc:
                note(f"error: {exc}")
                code = STORE
            else:
                note(f"removed {record.run_id}")
        return code

    return ask(settings, work)

"""`motet runs`: what the store holds of earlier runs."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motet.cli.failures import OK, STORE, can_resuming_help, resume_command
from motet.cli.stores import ask, find_run, opened_store
from motet.cli.terminal import (
    as_json,
    fitted,
    known_cost,
    note,
    one_line,
    safe_plain,
    show_table,
    write,
)
from motet.engine import Usage
from motet.errors import StoreError, TooFewSurvivorsError, restore_error

if TYPE_CHECKING:
    from motet.cli.settings import Settings
    from motet.store import CallRecord, RunRecord, Store

_MOST_FILTERED = 100_000
_SHOWN_TOKENS = 20
"""Of a distribution of next tokens."""


def list_runs(
    settings: Settings, *, limit: int, program: str | None, status: str | None, is_json: bool
) -> int:
    """Print the newest runs."""
    entries = ask(settings, lambda s: _list(s, limit, program, status))
    if is_json:
        write(as_json([run_json(r, is_executed=is_executed) for r, is_executed in entries]))
        return OK
    if not entries and (program or status):
        chosen = [f"program {program!r}"] if program else []
        chosen += [f"status {status}"] if status else []
        note(f"no run has {' and '.join(chosen)}; without these filters all are listed")
        return OK
    if not entries:
        note("no runs yet; `motet run PROGRAM` makes one")
        return OK
    rows = [
        [
            r.run_id,
            _shown_status(r, is_executed),
            _short(r.program),
            str(r.usage.calls),
            f"{r.usage.tokens:,}",
            _shown_cost(r),
            _took(r),
        ]
        for r, is_executed in entries
    ]
    show_table(["RUN", "STATUS", "PROGRAM", "CALLS", "TOKENS", "COST", "TIME"], rows)
    return OK


async def _list(
    store: Store, limit: int, program: str | None, status: str | None
) -> list[tuple[RunRecord, bool]]:
    """Return runs, newest first, and whether a process is at work on each."""
    most = limit if program is None else _MOST_FILTERED
    records = await store.list_runs(limit=most, status=status)
    if program is not None:
        records = [r for r in records if _is_of(r, program)][:limit]
    entries = []
    for record in records:
        is_open = record.status == "running"
        shown = with_usage(record, await store.load_calls(record.run_id)) if is_open else record
        entries.append((shown, _is_executed(store, record)))
    return entries


def _is_of(record: RunRecord, program: str) -> bool:
    """Whether `program` is the whole name of the run's program, or its end."""
    wanted = program.replace("-", "_")
    return record.program in (program, wanted) or record.program.endswith(
        tuple(mark + name for mark in ":." for name in (program, wanted))
    )


def _is_executed(store: Store, record: RunRecord) -> bool:
    if record.status != "running":
        return False
    try:
        with store.lease(record.run_id):
            return False
    except StoreError:
        return True


def with_usage(record: RunRecord, calls: list[CallRecord]) -> RunRecord:
    """Count what a run has used that wrote no sum, as it runs or was killed."""
    paid = [call for call in calls if call.source == "engine"]
    usage = sum((call.usage for call in paid), Usage())
    return replace(record, usage=usage, cost=sum(c.cost for c in paid), calls=len(calls))


def _shown_status(record: RunRecord, is_executed: bool) -> str:
    is_dead = record.status == "running" and not is_executed
    return "interrupted?" if is_dead else record.status


def _is_priced(record: RunRecord) -> bool:
    command: Any = record.manifest.get("command")
    settings = command.get("settings") if isinstance(command, dict) else None
    return isinstance(settings, dict) and any(n.startswith("price_") for n in settings)


def _shown_cost(record: RunRecord) -> str:
    cost = known_cost(record.cost, record.usage, is_priced=_is_priced(record))
    return "-" if cost is None else f"{cost:.4g}"


def _took(record: RunRecord) -> str:
    from motet.observers.tree import shown_seconds

    if record.finished_at is None:
        return "-"
    return shown_seconds(max(0.0, record.finished_at - record.created_at))


def _short(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]


def run_json(record: RunRecord, *, is_executed: bool) -> dict[str, Any]:
    """A run's record as JSON values; a cost that nobody knows is null."""
    shown: dict[str, Any] = safe_plain(record)
    shown["cost"] = known_cost(record.cost, record.usage, is_priced=_is_priced(record))
    shown["is_executed"] = is_executed
    return shown


def show_run(
    settings: Settings, prefix: str, *, is_json: bool, has_prompts: bool, is_raw: bool
) -> int:
    """Print a run's record and the tree of its calls."""
    with opened_store(settings) as store:
        record, calls, values, requests = asyncio.run(_read_run(store, prefix, has_prompts))
        is_executed = _is_executed(store, record)
    if record.status == "running":
        record = with_usage(record, calls)
    is_priced = _is_priced(record)
    if is_json:
        shown = run_json(record, is_executed=is_executed)
        shown["calls"] = [
            {
                **safe_plain(call),
                "cost": known_cost(call.cost, call.usage, is_priced=is_priced),
                "value": call_value(call, values),
                **({"request": requests.get(call.request_digest or "")} if has_prompts else {}),
            }
            for call in calls
        ]
        write(as_json(shown))
        return OK
    for line in _head(record, is_executed, settings.store_option):
        is_whole = line.startswith(("error", "resume"))
        write(line if is_whole else fitted(line))
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


def _head(record: RunRecord, is_executed: bool, store_option: str | None) -> list[str]:
    from motet.cli.terminal import shown_usage

    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created_at))
    lines = [
        f"run      {record.run_id}",
        f"program  {one_line(record.program)}",
        f"status   {_shown_status(record, is_executed)}, started {started}",
        f"used     {shown_usage(record.usage, 0.0, None)}",
        f"cost     {_shown_cost(record)}",
    ]
    if record.error is not None:
        kind, message = record.error.get("type"), record.error.get("message")
        lines.append(f"error    {kind}: {one_line(str(message), 400)}")
    if record.status != "finished" and not is_executed and _may_resume(record):
        lines.append(f"resume   {resume_command(record.run_id, store_option)}")
    return lines


def _may_resume(record: RunRecord) -> bool:
    if record.error is None or record.error.get("type") == TooFewSurvivorsError.__name__:
        return True  # the store does not hold what became of the calls that did not survive
    return can_resuming_help(restore_error(record.error))


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

    reply = load_reply(data)
    if reply.rewards:
        return reply.rewards
    if reply.embedding is not None:
        return reply.embedding.values
    if reply.next_tokens is not None:
        return reply.next_tokens.best(_SHOWN_TOKENS)
    texts = [c.text for c in reply.completions]
    return texts[0] if len(texts) == 1 else texts


def resume_run(
    settings_of: Any, prefix: str, options: dict[str, Any], flags: dict[str, Any]
) -> int:
    """Go on with a run that `motet run` started."""
    from motet.cli.calling import from_manifest
    from motet.cli.run import run_invocation

    before = settings_of(options)
    record = ask(before, lambda store: find_run(store, prefix))
    invocation, kept = from_manifest(record.manifest)
    given = {name: value for name, value in options.items() if value is not None}
    settings = settings_of({**kept, **given})
    settings.note_kept(before, kept.get("model"))
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

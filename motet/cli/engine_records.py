"""`motet engine status` and `motet engine down`."""

from __future__ import annotations

from dataclasses import asdict

from motet.cli.failures import OK, CommandError
from motet.cli.terminal import as_json, note, show_table, write
from motet.serving.vllm.launch_records import Record, read_all

_COLUMNS = ["NAME", "STATE", "RUNNING", "WAITING", "PID", "MODEL", "LOG"]


def status_command(*, is_json: bool) -> int:
    """Print every recorded server with its state and load."""
    rows = []
    for record in read_all():
        state = record.state()
        running, waiting = (record.load() if state == "healthy" else None) or (None, None)
        row = {**asdict(record), "state": state, "running": running, "waiting": waiting}
        rows.append({k: v for k, v in row.items() if k != "started"})
    if is_json:
        write(as_json(rows))
    elif not rows:
        note("no engine; `motet engine up MODEL` starts one")
    else:
        show_table(_COLUMNS, [_cells(row) for row in rows])
    return OK


def _cells(row: dict[str, object]) -> list[str]:
    def cell(key: str) -> str:
        return "-" if row[key] is None else str(row[key])

    model = f"{row['url']}/v1#{row['model']}"
    return [*map(cell, ("name", "state", "running", "waiting", "pid")), model, cell("log")]


def down_command(name: str | None, *, is_all: bool) -> int:
    """Stop the server that `name` means, or every one."""
    if is_all and name is not None:
        raise CommandError(f"NAME is {name!r} and --all is given", "give one of them")
    records = read_all()
    for record in records if is_all else [_chosen(records, name)]:
        was_running = record.stop()
        note(f"{record.name}: {'stopped' if was_running else 'had ended'}; log: {record.log}")
    if is_all and not records:
        note("no engine")
    return OK


def _chosen(records: list[Record], name: str | None) -> Record:
    known = ", ".join(record.name for record in records)
    if not records:
        raise CommandError("no engine was started here", "`motet engine up MODEL` starts one")
    if name is None:
        if len(records) > 1:
            raise CommandError(f"there are several engines: {known}", "name one, or give --all")
        return records[0]
    exact = [r for r in records if r.name == name]
    found = exact or [r for r in records if name in (r.model, r.url.rpartition(":")[2])]
    if not found:
        raise CommandError(f"no engine {name!r}; there are {known}", "see `motet engine status`")
    if len(found) > 1:
        raise CommandError(
            f"{name!r} means several engines: {', '.join(r.name for r in found)}",
            "give one's whole name, or --all",
        )
    return found[0]

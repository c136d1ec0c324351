"""`motet map`: its options, its progress bar, and its summary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet.cli.calling import Invocation, read_invocation
from motet.cli.executing import opened_observers, run_interruptibly
from motet.cli.failures import FAILED, INTERRUPTED, OK, CommandError
from motet.cli.inputs import inputs_of
from motet.cli.mapping import Mapping
from motet.cli.mapping_state import MappingState, open_state
from motet.cli.rows import Output, opened_input, read_rows
from motet.cli.run import settings_from, tell_failed
from motet.cli.stores import ask, find_run
from motet.cli.terminal import (
    as_json,
    counted,
    note,
    safe_plain,
    shown_usage,
    stderr_console,
    write,
)
from motet.errors import RunFailedError

if TYPE_CHECKING:
    from motet.cli.loading import Found
    from motet.cli.settings import Settings
    from motet.events import Event

_LEAST_WINDOW = 256


def map_command(found: Found, values: dict[str, Any]) -> int:
    """Run the program on every row; exit with 1 where some failed."""
    invocation = read_invocation(found, values, is_partial=True)
    settings = settings_from(values)
    rows_path, output_path = values["rows"], values["output"]
    _check(found, values)
    signature = _signature(invocation, settings)
    if values["retry_failed"]:
        return _retry_failed(invocation, settings, signature, values)
    with opened_input(rows_path) as (source, total):
        output = Output(output_path)
        try:
            if values["force"]:
                output.clear()
                MappingState(signature, Path(f"{output_path}.motet")).remove()
            state = open_state(output_path, signature, is_begun=output.num_done > 0)
            _check_run(state, settings)
            mapping = Mapping(
                invocation=invocation,
                settings=settings,
                output=output,
                state=state,
                concurrency=values["concurrency"],
                window=_window(state),
                is_strict=values["strict"],
                is_cached=not values["no_cache"],
            )
            if output.num_done and not values["quiet"]:
                rows_there = counted(output.num_done, "row")
                note(f"{output_path} has {rows_there}; going on behind the last")
            assert found.operation is not None
            rows = read_rows(source, inputs_of(found.operation), dict(invocation.inputs))
            with _shown(mapping, values, total):
                code = _work(mapping, rows)
            return _finish(mapping, state, code, values)
        finally:
            output.close()


def _retry_failed(
    invocation: Invocation, settings: Settings, signature: dict[str, Any], values: dict[str, Any]
) -> int:
    """Ask the failed rows again into a file beside the output; then put its lines in place."""
    path = values["output"]
    if not Path(path).exists():
        raise CommandError(f"there is no output {path!r}", "start without --retry-failed")
    output = Output(path)
    try:
        state = open_state(path, signature, is_begun=output.num_done > 0)
        if state.run_id is not None:
            raise CommandError(f"{path} is not whole", "start without --retry-failed to go on")
        failed = output.failed_rows()
        if not failed:
            note(f"no row of {path} has failed")
            return OK
        again = f"{path}.retry"
        # With the same seed most failures would come again.
        seed = (settings.seed or 0) + state.retries + 1
        changed = settings.model_copy(update={"seed": seed})
        with opened_input(values["rows"]) as (source, _):
            retried = Output(again)
            try:
                beside = open_state(again, {**signature, "seed": seed}, is_begun=True)
                _check_run(beside, changed)
                mapping = Mapping(
                    invocation=invocation,
                    settings=changed,
                    output=retried,
                    state=beside,
                    concurrency=values["concurrency"],
                    window=_window(beside),
                    is_strict=values["strict"],
                    is_cached=False,
                )
                assert invocation.found.operation is not None
                inputs = inputs_of(invocation.found.operation)
                rows = read_rows(source, inputs, dict(invocation.inputs))
                with _shown(mapping, values, len(failed)):
                    code = _work(mapping, (row for row in rows if row.number in failed))
                code = _finish(mapping, beside, code, values)
                if mapping.stopped_by is None and code in (OK, FAILED) and beside.run_id is None:
                    output.replace(retried)
                    Path(again).unlink()
                    beside.remove()
                    state.retries += 1
                    state.finish()
            finally:
                retried.close()
        return code
    finally:
        output.close()


def _check(found: Found, values: dict[str, Any]) -> None:
    rows, output = values["rows"], values["output"]
    if found.operation is None:
        raise CommandError("map takes a program, not a graph file", "a graph's inputs are fixed")
    if not rows:
        raise CommandError("no rows are named", "give a file of JSON lines, or - for stdin")
    if values["concurrency"] < 1:
        raise CommandError(f"--concurrency is {values['concurrency']}; it must be at least 1")
    for option in ("force", "retry_failed"):
        if values[option] and output is None:
            raise CommandError(f"--{option.replace('_', '-')} needs -o FILE")
    if values["force"] and values["retry_failed"]:
        raise CommandError("--force and --retry-failed exclude each other")
    if values["as_json"] and output is None:
        raise CommandError("--json needs -o FILE", "without it the rows' lines go to stdout")
    if output is not None and rows != "-":
        with contextlib.suppress(OSError):
            if Path(rows).samefile(output):
                raise CommandError("the output is the input", "give another file by -o")


def _check_run(state: MappingState, settings: Settings) -> None:
    """Forget the run that was worked on where this store does not hold it."""
    if state.run_id is None:
        return
    run_id = state.run_id
    if settings.store_or_none is not None:
        with contextlib.suppress(CommandError):
            ask(settings, lambda store: find_run(store, run_id))
            return
    state.part = state.run_id = None


def _signature(invocation: Invocation, settings: Settings) -> dict[str, Any]:
    shown = invocation.manifest(settings)["command"]
    return {
        "program": shown["program"],
        "inputs": shown["inputs"],
        "model": settings.model,
        "seed": settings.seed or 0,
        "window": _LEAST_WINDOW,
    }


def _window(state: MappingState) -> int:
    """Rows of a part: it must be the same when a part is gone on with."""
    return int(state.signature["window"])


def _work(mapping: Mapping, rows: Iterator[Any]) -> int:
    import asyncio

    async def main() -> None:
        await mapping.work(rows)

    try:
        run_interruptibly(main(), lambda: None)
    except asyncio.CancelledError:
        note("interrupted")
        return INTERRUPTED
    except RunFailedError as exc:
        return tell_failed(exc, is_json=False, is_kept=False)
    except CommandError as exc:
        note(f"error: {exc}")
        if exc.hint:
            note(f"hint: {exc.hint}")
        return exc.code
    return OK


def _finish(mapping: Mapping, state: MappingState, code: int, values: dict[str, Any]) -> int:
    output = mapping.output
    if code == OK and output.num_failed:
        code = FAILED
    is_whole = mapping.stopped_by is None and code in (OK, FAILED) and state.run_id is None
    for problem in mapping.problems:
        note(problem)
    hidden = output.num_failed - len(mapping.problems)
    if mapping.problems and hidden > 0:
        note(f"... and {hidden} more {'row' if hidden == 1 else 'rows'} that failed")
    cost = state.cost
    if is_whole:
        state.finish()
    elif output.path is not None:
        is_one = output.num_done == 1
        written = f"{counted(output.num_done, 'row')} {'is' if is_one else 'are'} written"
        note(f"{written}; start the same command again to go on")
    if values["as_json"]:
        shown = {
            "rows": output.num_done,
            "failed": output.num_failed,
            "is_whole": is_whole,
            "usage": safe_plain(mapping.paid),
            "exit_code": code,
        }
        write(as_json(shown))
    if not values["quiet"]:
        took = shown_usage(mapping.paid, cost, None)
        note(f"{counted(output.num_done, 'row')}, {output.num_failed} failed  {took}")
    return code


@contextlib.contextmanager
def _shown(mapping: Mapping, values: dict[str, Any], total: int | None) -> Iterator[None]:
    """Show a progress bar where stderr is a terminal."""
    with opened_observers(events=values["events"], is_quiet=True) as observers:
        mapping.observers.extend(observers)
        console = stderr_console()
        if values["quiet"] or not console.is_terminal:
            yield
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[tokens]} tok"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, expand=True, redirect_stdout=False) as progress:
            task = progress.add_task("", total=total, tokens="0", rate="")
            mapping.observers.append(_Bar(mapping, progress, task))
            yield
            progress.update(task, completed=mapping.output.num_done)


class _Bar:
    """Moves the bar with the rows that are written."""

    def __init__(self, mapping: Mapping, progress: Any, task: Any) -> None:
        import time

        self._mapping = mapping
        self._progress = progress
        self._task = task
        self._clock = time.monotonic
        self._began_s = self._clock()
        self._shown_s = 0.0
        self._before = mapping.output.num_done

    def on_event(self, event: Event) -> None:
        now_s = self._clock()
        if now_s - self._shown_s < 0.1:
            return
        self._shown_s = now_s
        done = self._mapping.output.num_done
        rate = (done - self._before) / max(now_s - self._began_s, 1e-9)
        self._progress.update(
            self._task,
            completed=done,
            tokens=f"{self._mapping.paid.tokens:,}",
            rate=f"{rate:.1f} rows/s",
        )

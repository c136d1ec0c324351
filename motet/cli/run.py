"""`motet run`: run a program once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from motet.cli.calling import Invocation, read_invocation
from motet.cli.executing import Job, execute, opened_observers
from motet.cli.failures import FAILED, OK, cause_of, describe, is_refused, way_on
from motet.cli.inputs import inputs_of
from motet.cli.settings import Settings, read_settings
from motet.cli.streaming import StreamedText, final_prompt
from motet.cli.terminal import (
    as_json,
    known_cost,
    note,
    safe_plain,
    shown_usage,
    shown_value,
    summary_of,
    write,
)
from motet.errors import MotetError, RunFailedError
from motet.observers import ProgressTree

if TYPE_CHECKING:
    from motet.cli.loading import Found
    from motet.events import Observer
    from motet.refs import Ref
    from motet.runtime.result import Result

_SETTINGS = (
    "model", "price_prompt", "price_completion", "budget_tokens", "budget_calls",
    "budget_cost", "timeout", "max_concurrency", "seed", "store",
)  # fmt: skip


def settings_from(values: dict[str, Any]) -> Settings:
    """Take the settings out of a command's values."""
    return read_settings(**{name: values.pop(name, None) for name in _SETTINGS})


def run_command(found: Found, values: dict[str, Any]) -> int:
    """Run the program; print its value."""
    invocation = read_invocation(found, values)
    settings = settings_from(values)
    return run_invocation(invocation, settings, **_flags(values))


def _flags(values: dict[str, Any]) -> dict[str, Any]:
    return {
        "is_cached": not values["no_cache"],
        "events": values["events"],
        "is_quiet": values["quiet"],
        "is_json": values["as_json"],
        "is_streamed": values["stream"],
        "is_raw": values["raw"],
    }


def run_invocation(
    invocation: Invocation,
    settings: Settings,
    *,
    resume: str | None = None,
    is_cached: bool = True,
    events: str | None = None,
    is_quiet: bool = False,
    is_json: bool = False,
    is_streamed: bool = False,
    is_raw: bool = False,
) -> int:
    """Run `invocation`, print its value to stdout, and return the exit code."""
    ref = invocation.ref(settings)
    job = Job(
        ref=ref,
        settings=settings,
        is_cached=is_cached,
        resume=resume,
        stream=is_streamed,
        manifest=invocation.manifest(settings),
    )
    streamed: StreamedText | None = None
    # On the same terminal the tree gives way to the text.
    gives_way = is_streamed and not is_json and sys.stdout.isatty()
    with opened_observers(events=events, is_quiet=is_quiet, is_transient=gives_way) as observers:
        if is_streamed and not is_json:
            trees = [o for o in observers if isinstance(o, ProgressTree)]
            before_first = trees[0].close if trees and gives_way else None
            streamed = _streamed_text(ref, settings, is_raw, before_first)
            observers.append(streamed)
        outcome = _outcome(job, observers)
    result = None if isinstance(outcome, RunFailedError) else outcome
    is_written = streamed is not None and streamed.finish(result.value if result else None)
    if isinstance(outcome, RunFailedError):
        operation = invocation.found.operation
        names = [i.name for i in inputs_of(operation)] if operation is not None else []
        return tell_failed(
            outcome,
            is_json=is_json,
            is_kept=settings.store_or_none is not None,
            store_option=settings.store_option,
            has_max_tokens="max_tokens" in names,
        )
    result = outcome
    if is_json:
        cost = known_cost(result.cost, result.usage, is_priced=settings.is_priced)
        write(as_json(_result_json(result, cost)))
    elif not is_written:
        write(shown_value(result.value), raw=is_raw)
    summary = summary_of(result.value)
    if summary is not None and not is_quiet and not is_json:
        note(summary)
    if not is_quiet:
        took = shown_usage(result.usage, result.cost, result.duration_s)
        note(f"{took}  run {result.run_id}")
    return OK


def _outcome(job: Job, observers: list[Observer]) -> Result[Any] | RunFailedError:
    try:
        return execute(job, observers)
    except RunFailedError as exc:
        return exc


def _streamed_text(
    ref: Ref[Any], settings: Settings, is_raw: bool, before_first: Callable[[], None] | None
) -> StreamedText:
    from motet.runtime.planning import plan

    graph = plan(ref, model=settings.make_model(settings.model))
    return StreamedText(
        final_prompt(graph), is_raw=is_raw, stream=sys.stdout, before_first=before_first
    )


def _result_json(result: Result[Any], cost: float | None) -> dict[str, Any]:
    return {
        "value": safe_plain(result.value),
        "usage": safe_plain(result.usage),
        "cost": cost,
        "run_id": result.run_id,
        "duration_s": round(result.duration_s, 6),
    }


def tell_failed(
    error: RunFailedError,
    *,
    is_json: bool,
    is_kept: bool,
    store_option: str | None = None,
    has_max_tokens: bool = False,
) -> int:
    """Tell why a run failed and how to go on; return the exit code."""
    failure = describe(error)
    note(f"error: {failure.message}")
    if failure.hint:
        note(f"hint: {failure.hint}")
    partial = error.partial
    if partial is not None and partial.usage.calls:
        note(f"paid for so far: {shown_usage(partial.usage, partial.cost, None)}")
    cause: MotetError = cause_of(error)
    told = way_on(
        cause,
        error.run_id,
        is_kept=is_kept,
        has_max_tokens=has_max_tokens,
        store_option=store_option,
        has_replies=partial is None or partial.usage.calls > 0,
    )
    if told and not is_refused(error):
        note(told)
    if is_json:
        shown = {
            "error": {"type": type(cause).__name__, "message": failure.message},
            "exit_code": failure.code or FAILED,
            "run_id": error.run_id,
        }
        write(as_json(shown))
    return failure.code or FAILED

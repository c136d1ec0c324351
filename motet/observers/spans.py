"""Runs as OpenTelemetry traces, by its conventions for generative AI."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from motet.events import (
    CallCancelled,
    CallCreated,
    CallEvent,
    CallFailed,
    CallFinished,
    CallStarted,
    EngineCalled,
    EngineRetried,
    RunFinished,
    RunStarted,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from motet.events import Event


class OpenTelemetrySpans:
    """Records a span for the run, for each program call, each step and each prompt.

    A prompt's span is `chat {model}` with the attributes of the GenAI semantic conventions. Texts
    of prompts, completions and error messages are never recorded; only their counts and types.
    Answers from journal or cache are marked by `motet.source` and use no tokens.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        """Take spans to `tracer_provider`, or to the process's own."""
        from opentelemetry import trace

        self._tracer: Tracer = trace.get_tracer("motet", tracer_provider=tracer_provider)
        self._runs: dict[str, Span] = {}
        self._spans: dict[tuple[str, str], Span] = {}
        self._created: dict[tuple[str, str], CallCreated] = {}
        """Prompts and steps that wait for their inputs."""

    def on_event(self, event: Event) -> None:
        if isinstance(event, CallEvent):
            self._on_call_event(event)
        elif isinstance(event, RunStarted):
            self._runs[event.run_id] = self._tracer.start_span(
                f"run {event.program}",
                start_time=_ns(event.time_s),
                attributes={
                    "motet.run.id": event.run_id,
                    "motet.program": event.program,
                    "motet.run.is_resumed": event.is_resumed,
                },
            )
        elif isinstance(event, RunFinished):
            self._finish_run(event)

    def _on_call_event(self, event: CallEvent) -> None:
        key = (event.run_id, event.call_id)
        if isinstance(event, CallCreated):
            if event.kind in ("program", "map", "race"):
                self._start(key, event, event.time_s)
            elif event.kind != "collect":
                self._created[key] = event
        elif isinstance(event, CallStarted):
            created = self._created.pop(key, None)
            if created is not None:
                self._start(key, created, event.time_s)
        elif isinstance(event, EngineCalled):
            if key in self._spans:
                self._spans[key].set_attribute("motet.attempts", event.attempt)
        elif isinstance(event, EngineRetried):
            if key in self._spans:
                attributes = {"motet.attempt": event.attempt, "motet.wait_s": event.wait_s}
                self._spans[key].add_event("motet.retry", attributes, _ns(event.time_s))
        elif isinstance(event, (CallFinished, CallFailed, CallCancelled)):
            created = self._created.pop(key, None)
            if created is not None and not isinstance(event, CallCancelled):
                self._start(key, created, event.time_s)
            self._end(key, event)

    def _start(self, key: tuple[str, str], created: CallCreated, time_s: float) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context

        parent = self._spans.get((created.run_id, created.parent_id or ""))
        parent = parent or self._runs.get(created.run_id)
        name = f"{created.kind} {created.operation}"
        attributes: dict[str, Any] = {
            "motet.call.id": created.call_id,
            "motet.operation": created.operation,
            "motet.kind": created.kind,
        }
        kind = SpanKind.INTERNAL
        if created.kind == "prompt":
            kind = SpanKind.CLIENT
            name = f"chat {created.model}" if created.model else "chat"
            attributes["gen_ai.operation.name"] = "chat"
            if created.model:
                attributes["gen_ai.request.model"] = created.model
        self._spans[key] = self._tracer.start_span(
            name,
            context=set_span_in_context(parent) if parent is not None else None,
            kind=kind,
            attributes=attributes,
            start_time=_ns(time_s),
        )

    def _end(self, key: tuple[str, str], event: CallFinished | CallFailed | CallCancelled) -> None:
        span = self._spans.pop(key, None)
        if span is None:
            return
        if isinstance(event, CallFinished):
            span.set_attribute("motet.source", event.source)
            if event.usage.calls or event.usage.tokens:
                is_paid = event.source == "engine"
                span.set_attributes(
                    {
                        "gen_ai.usage.input_tokens": event.usage.prompt_tokens if is_paid else 0,
                        "gen_ai.usage.output_tokens": (
                            event.usage.completion_tokens if is_paid else 0
                        ),
                        "motet.cost": event.cost if is_paid else 0.0,
                    }
                )
        elif isinstance(event, CallFailed):
            _mark_failed(span, event.error_type)
        else:
            span.set_attribute("motet.is_cancelled", True)
        span.end(_ns(event.time_s))

    def _finish_run(self, event: RunFinished) -> None:
        for key in [k for k in self._spans if k[0] == event.run_id]:
            self._spans.pop(key).end(_ns(event.time_s))
        for key in [k for k in self._created if k[0] == event.run_id]:
            del self._created[key]
        span = self._runs.pop(event.run_id, None)
        if span is None:
            return
        span.set_attributes(
            {
                "motet.run.status": event.status,
                "gen_ai.usage.input_tokens": event.usage.prompt_tokens,
                "gen_ai.usage.output_tokens": event.usage.completion_tokens,
                "motet.cost": event.cost,
            }
        )
        if event.status == "failed":
            _mark_failed(span, (event.error or "").partition(":")[0] or "error")
        span.end(_ns(event.time_s))


def _mark_failed(span: Span, error_type: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR))


def _ns(time_s: float) -> int:
    """Wall-clock nanoseconds of a time on the monotonic clock."""
    return time.time_ns() - int((time.monotonic() - time_s) * 1e9)

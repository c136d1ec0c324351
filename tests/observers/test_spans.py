import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import motet
from motet import Model
from motet.errors import EngineUnavailableError
from motet.observers import OpenTelemetrySpans
from motet.testing import ScriptedEngine


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetrySpans(provider)


@motet.prompt(user="{{ secret_question }}")
def ask(secret_question: str) -> str: ...  # type: ignore[empty-body]


@motet.step
def upper(text: str) -> str:
    return text.upper()


@motet.program
async def inner(question: str, model: Model) -> str:
    text: str = await upper(ask.on(model)(question))
    return text


@motet.program
def outer(question: str, model: Model):
    return inner(question, model)


def by_name(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


def test_spans_follow_the_calls(exporter, spans):
    """Run, programs, steps and prompts are spans, each under the call that made it."""
    engine = ScriptedEngine(["answer here"])

    motet.run(outer("q", Model(engine, "stub")), store=None, observers=[spans])
    found = by_name(exporter)

    run = next(s for n, s in found.items() if n.startswith("run "))
    programs = {n.rpartition(":")[2]: s for n, s in found.items() if n.startswith("program ")}
    step = next(s for n, s in found.items() if n.startswith("step "))
    assert programs["outer"].parent.span_id == run.context.span_id
    assert programs["inner"].parent.span_id == programs["outer"].context.span_id
    assert found["chat stub"].parent.span_id == programs["inner"].context.span_id
    assert step.parent.span_id == programs["inner"].context.span_id
    assert {s.context.trace_id for s in found.values()} == {run.context.trace_id}


def test_a_prompt_has_the_genai_attributes(exporter, spans):
    """A prompt's span names operation, model and tokens as the conventions say."""
    engine = ScriptedEngine(["answer here"])

    motet.run(ask.on(Model(engine, "stub"))("two words"), store=None, observers=[spans])
    chat = by_name(exporter)["chat stub"]

    assert chat.kind is SpanKind.CLIENT
    assert chat.attributes["gen_ai.operation.name"] == "chat"
    assert chat.attributes["gen_ai.request.model"] == "stub"
    assert chat.attributes["gen_ai.usage.input_tokens"] == 2
    assert chat.attributes["gen_ai.usage.output_tokens"] == 2
    assert chat.end_time >= chat.start_time


def test_a_failure_sets_error_type_and_status(exporter, spans):
    """A failed call and its run carry `error.type` and the error status."""
    engine = ScriptedEngine(lambda request: ZeroDivisionError("private text"))

    with pytest.raises(motet.RunFailedError):
        motet.run(ask.on(Model(engine, "stub"))("q"), store=None, observers=[spans])
    found = by_name(exporter)

    for span in found.values():
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"]
        assert "private text" not in str(span.to_json())


def test_texts_are_never_recorded(exporter, spans):
    """Neither the prompt nor the completion stands in any span."""
    engine = ScriptedEngine(["hidden answer"])

    motet.run(outer("hidden question", Model(engine, "stub")), store=None, observers=[spans])

    for span in exporter.get_finished_spans():
        assert "hidden" not in span.to_json()


def test_retries_are_events_of_the_span(exporter, spans):
    """Each failed attempt is an event, and the number of attempts an attribute."""
    engine = ScriptedEngine([EngineUnavailableError("down"), "fine"])

    motet.run(ask.on(Model(engine, "stub"))("q"), store=None, observers=[spans])
    chat = by_name(exporter)["chat stub"]

    assert [event.name for event in chat.events] == ["motet.retry"]
    assert chat.attributes["motet.attempts"] == 2


def test_no_span_stays_open(exporter, spans):
    """Calls that a run cancels end with it."""

    @motet.program
    async def racing(model: Model) -> str:
        fast = ask.on(model)("fast")
        slow = ask.on(model)("slow")
        text: str = await motet.race(fast, slow)
        return text

    engine = ScriptedEngine({"fast": ["f"], "slow": ["s"]}, delay_s=_slow_delay)

    motet.run(racing(Model(engine, "stub")), store=None, observers=[spans])

    assert len([s for s in exporter.get_finished_spans() if s.name == "chat stub"]) == 2
    assert not spans._spans
    assert not spans._runs


def _slow_delay(request):
    return 30.0 if request.prompt[-1].content == "slow" else 0.0

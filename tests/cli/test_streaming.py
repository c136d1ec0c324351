import io
from typing import Any

from motet import Model, plan
from motet.cli.streaming import StreamedText, final_prompt
from motet.events import EngineCalled, TextStreamed
from motet.programs import best_of_n, mixture_of_agents

COMMON: dict[str, Any] = {
    "run_id": "r", "time_s": 0.0, "call_id": "c", "parent_id": None, "operation": "o",
}  # fmt: skip


def attempt(number, *texts):
    yield EngineCalled(**COMMON, model="m", attempt=number)
    for text in texts:
        yield TextStreamed(**COMMON, index=0, text=text)


def streamed(*events):
    stream = io.StringIO()
    printed = StreamedText("c", is_raw=False, stream=stream)
    for group in events:
        for event in group:
            printed.on_event(event)
    return printed, stream


def test_a_retry_with_the_same_text_goes_on():
    """Text that a retry repeats is not printed twice."""
    printed, stream = streamed(attempt(1, "one ", "two "), attempt(2, "one ", "two ", "three"))

    assert printed.finish("one two three")
    assert stream.getvalue() == "one two three\n"


def test_a_retry_with_another_text_begins_a_line():
    """Another text after a retry is printed whole on a line of its own."""
    printed, stream = streamed(attempt(1, "one "), attempt(2, "uno"))

    assert printed.finish("uno")
    assert stream.getvalue() == "one \nuno\n"


def test_the_final_prompt_is_the_one_that_gives_the_value():
    """Of a mixture it is the aggregator; a program that picks or grows has none."""
    model = Model("local:a")
    moa = plan(mixture_of_agents("q", proposers=[model], aggregator=model))
    best = plan(best_of_n("q", model=model, judge=model))

    names = {node.id: node.short_name for node in moa.nodes}
    assert names[final_prompt(moa) or ""] == "aggregate"
    assert final_prompt(best) is None


def test_the_tree_gives_way_to_the_first_text():
    """What was shown until then is ended once, before anything is written."""
    stream = io.StringIO()
    seen: list[str] = []
    printed = StreamedText(
        "c", is_raw=False, stream=stream, before_first=lambda: seen.append(stream.getvalue())
    )

    for event in attempt(1, "one ", "two"):
        printed.on_event(event)

    assert seen == [""]
    assert stream.getvalue() == "one two"

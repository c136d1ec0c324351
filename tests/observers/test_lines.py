import contextlib
import io
import json
from pathlib import Path
from typing import Any

from motet.engine import Usage
from motet.events import CallFinished, TextStreamed
from motet.observers import JsonLines


def test_each_event_is_one_ascii_line():
    """Every event is a JSON object on a line of its own, ASCII, with its class and fields."""
    stream = io.StringIO()
    observer = JsonLines(stream)
    common: dict[str, Any] = {
        "run_id": "r",
        "time_s": 1.5,
        "call_id": "c",
        "parent_id": None,
        "operation": "o",
    }

    observer.on_event(TextStreamed(**common, index=0, text="é\n\x1b\ud800"))
    observer.on_event(
        CallFinished(**common, usage=Usage(1, 2, 0, 1), cost=0.0, duration_s=0.1, source="engine")
    )
    lines = stream.getvalue().splitlines()

    assert stream.getvalue().isascii()
    assert json.loads(lines[0])["event"] == "TextStreamed"
    assert json.loads(lines[0])["text"] == "é\n\x1b\ud800"
    assert json.loads(lines[1])["usage"]["completion_tokens"] == 2


def test_each_line_is_flushed():
    """A reader sees an event before the next one comes."""

    class Stream(io.StringIO):
        flushes = 0

        def flush(self):
            self.flushes += 1

    stream = Stream()

    for index in range(3):
        JsonLines(stream).on_event(
            TextStreamed(
                run_id="r", time_s=0.0, call_id="c", parent_id=None, operation="o", index=index,
                text="x",
            )
        )  # fmt: skip

    assert stream.flushes == 3


def test_a_full_disk_is_told_once_and_ends_no_run(caplog):
    """Where no more can be written the observer says so once, without a traceback, and is silent."""
    with Path("/dev/full").open("w", encoding="ascii") as stream:
        observer = JsonLines(stream)
        for _ in range(3):
            observer.on_event(
                TextStreamed(
                    run_id="r", time_s=0.0, call_id="c", parent_id=None, operation="o", index=0,
                    text="x",
                )
            )  # fmt: skip
        with contextlib.suppress(OSError):
            stream.close()

    assert [record.getMessage().count("No space left") for record in caplog.records] == [1]
    assert all(record.exc_info is None for record in caplog.records)

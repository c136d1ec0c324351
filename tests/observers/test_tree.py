import io
import time

from rich.console import Console

from motet.engine import Usage
from motet.events import (
    CallCancelled,
    CallCreated,
    CallFailed,
    CallFinished,
    CallStarted,
    EngineRetried,
    RunFinished,
    RunStarted,
)
from motet.observers import ProgressTree


def common(call_id, operation="demo:propose", parent=None):
    return {
        "run_id": "r",
        "time_s": time.monotonic(),
        "call_id": call_id,
        "parent_id": parent,
        "operation": operation,
    }


def begun():
    return RunStarted(run_id="r", time_s=time.monotonic(), program="demo:all", is_resumed=False)


def created(call_id, operation="demo:propose", parent=None, kind="prompt", model="m"):
    shown = common(call_id, operation, parent)
    return CallCreated(**shown, kind=kind, inputs=(), model=model if kind == "prompt" else None)


def finished(call_id, operation="demo:propose", parent=None, source="engine"):
    usage = Usage(3, 4, 0, 1)
    shown = common(call_id, operation, parent)
    return CallFinished(**shown, usage=usage, cost=0.5, duration_s=0.1, source=source)


def tree_on(width=80, height=24, *, is_terminal=True, encoding="utf-8"):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    console = Console(
        file=stream, force_terminal=is_terminal, width=width, height=height, _environ={}
    )
    return ProgressTree(console), stream


def shown(tree):
    return tree.render().plain.splitlines()


def test_equal_calls_share_a_line_with_counts():
    """Equal calls are one leaf under their program, with how many are done."""
    tree, _ = tree_on()

    for event in [begun(), created("p", "demo:all", kind="program")]:
        tree.on_event(event)
    for i in range(18):
        tree.on_event(created(f"c{i}", parent="p"))
    for i in range(12):
        tree.on_event(CallStarted(**common(f"c{i}", parent="p")))
        tree.on_event(finished(f"c{i}", parent="p"))
    lines = shown(tree)
    tree.close()

    assert lines[0].startswith("all ")
    assert lines[1].startswith("└ propose on m")
    assert "12/18" in lines[1]
    assert "84 tok" in lines[1]
    assert "12/18 model calls" in lines[-1]
    assert all(len(line) <= 80 for line in lines)


def test_it_is_never_higher_than_the_terminal():
    """A run with more groups than lines is cut, and says so; what runs is kept."""
    tree, _ = tree_on(height=10)

    tree.on_event(begun())
    for i in range(200):
        tree.on_event(created(f"c{i}", f"demo:op{i}", kind="step"))
        tree.on_event(CallStarted(**common(f"c{i}", f"demo:op{i}")))
    lines = shown(tree)
    tree.close()

    assert len(lines) <= 9
    assert any("more lines" in line for line in lines)


def test_finished_branches_collapse_when_lines_are_short():
    """Where lines are short, the calls of a finished program are not shown any more."""
    tree, _ = tree_on(height=8)

    tree.on_event(begun())
    for p in range(3):
        tree.on_event(created(f"p{p}", f"demo:prog{p}", kind="program"))
        for i in range(3):
            tree.on_event(created(f"c{p}{i}", f"demo:op{i}", parent=f"p{p}"))
            if p < 2:
                tree.on_event(finished(f"c{p}{i}", f"demo:op{i}", parent=f"p{p}"))
        if p < 2:
            tree.on_event(finished(f"p{p}", f"demo:prog{p}"))
    lines = shown(tree)
    tree.close()

    assert [line.split()[0] for line in lines[:3]] == ["prog0", "prog1", "prog2"]
    assert sum("op" in line.split()[1] for line in lines[3:-1]) == 3


def test_ten_thousand_calls_are_cheap():
    """Counting 10,000 calls and drawing them takes well below a second of a core."""
    tree, _ = tree_on()
    events = [begun(), created("p", "demo:all", kind="program")]
    for i in range(10_000):
        events += [created(f"c{i}", parent="p"), CallStarted(**common(f"c{i}", parent="p"))]
        events.append(finished(f"c{i}", parent="p"))

    began = time.process_time()
    for event in events:
        tree.on_event(event)
    for _ in range(10):
        tree.render()
    took = time.process_time() - began
    tree.close()

    assert took < 1.0


def test_foreign_text_is_neither_markup_nor_control():
    """Names and errors that hold markup and escape sequences are shown as they are written."""
    tree, stream = tree_on(width=120)

    tree.on_event(begun())
    tree.on_event(created("c", "demo:[red]x[/red]\x1b[2J", model="[bold]m\x07\u202e"))
    tree.on_event(
        CallFailed(**common("c"), error_type="E", message="[/nope] \x1b]0;title\x07\nsecond")
    )
    text = "\n".join(shown(tree))
    tree.close()
    stream.flush()
    written = stream.buffer.getvalue().decode()

    assert "[bold]m\\x07\\u202e" in text
    assert "E: [/nope] \\x1b]0;title\\x07 second" in text
    assert "\x1b]0;" not in written
    assert "\x07" not in written


def test_states_have_marks_and_retries_are_counted():
    """Failed, cancelled, running and waiting calls each have their own mark."""
    tree, _ = tree_on()

    tree.on_event(begun())
    for i in range(5):
        tree.on_event(created(f"c{i}"))
    for i in range(4):
        tree.on_event(CallStarted(**common(f"c{i}")))
    tree.on_event(EngineRetried(**common("c3"), attempt=1, error="x", wait_s=0.1))
    tree.on_event(finished("c0"))
    tree.on_event(CallFailed(**common("c1"), error_type="E", message="m"))
    tree.on_event(CallCancelled(**common("c2")))
    line, footer = shown(tree)
    tree.close()

    assert "●✗◌◐○" in line
    assert "1 retried" in line
    assert "1 retries" in footer
    assert "cost 0.5" in footer


def test_without_a_terminal_nothing_is_written():
    """On a pipe the tree is silent."""
    tree, stream = tree_on(is_terminal=False)

    tree.on_event(begun())
    tree.on_event(created("c"))
    tree.on_event(
        RunFinished(
            run_id="r", time_s=0.0, status="finished", usage=Usage(), cost=0.0, duration_s=0.0
        )
    )
    stream.flush()

    assert stream.buffer.getvalue() == b""


def test_a_terminal_without_unicode_gets_ascii():
    """Marks and guides are ASCII where the terminal's encoding is."""
    tree, _ = tree_on(encoding="ascii")

    tree.on_event(begun())
    tree.on_event(created("p", "demo:all", kind="program"))
    tree.on_event(created("c", parent="p"))
    lines = shown(tree)
    tree.close()

    assert "\n".join(lines).isascii()
    assert lines[1].startswith("` propose")


def test_calls_from_journal_and_cache_are_marked_as_kept():
    """What was answered without the engine is counted apart."""
    tree, _ = tree_on()

    tree.on_event(begun())
    for i, source in enumerate(["journal", "cache", "engine"]):
        tree.on_event(created(f"c{i}"))
        tree.on_event(finished(f"c{i}", source=source))
    line = shown(tree)[0]
    tree.close()

    assert "2 kept" in line


def test_the_display_ends_with_the_run():
    """When the run ends the display stops, and its last state stays on the screen."""
    tree, stream = tree_on()

    tree.on_event(begun())
    tree.on_event(created("c"))
    tree.on_event(finished("c"))
    tree.on_event(
        RunFinished(
            run_id="r", time_s=0.0, status="finished", usage=Usage(3, 4, 0, 1), cost=0.0,
            duration_s=0.0,
        )
    )  # fmt: skip
    stream.flush()
    written = stream.buffer.getvalue().decode()

    assert "1/1 model calls" in written
    assert written.rstrip().endswith("\x1b[?25h")


def test_groups_stand_in_the_order_of_their_starts():
    """What began first is above what began later or waits."""
    tree, _ = tree_on()

    for event in [begun(), created("a", "demo:aggregate"), created("p", "demo:propose")]:
        tree.on_event(event)
    tree.on_event(CallStarted(**common("p")))
    tree.on_event(CallStarted(**common("a", "demo:aggregate")))
    lines = shown(tree)
    tree.close()

    assert [line.split()[0] for line in lines[:2]] == ["propose", "aggregate"]


def test_a_failure_is_shown_once():
    """A program that failed by its call does not repeat what that one's line says."""
    tree, _ = tree_on(width=100)

    tree.on_event(begun())
    tree.on_event(created("p", "demo:all", kind="program"))
    tree.on_event(created("c", parent="p"))
    for call_id in ("c", "p"):
        tree.on_event(CallFailed(**common(call_id), error_type="E", message="boom"))
    lines = shown(tree)
    tree.close()

    assert ["boom" in line for line in lines[:2]] == [False, True]


def test_the_time_stays_on_a_narrow_terminal():
    """At 40 columns counts give way, the name and the time remain."""
    tree, _ = tree_on(width=40)

    tree.on_event(begun())
    tree.on_event(created("c", "demo:a_long_name_of_an_operation"))
    tree.on_event(CallStarted(**common("c")))
    tree.on_event(EngineRetried(**common("c"), attempt=1, error="x", wait_s=0.1))
    tree.on_event(finished("c", source="cache"))
    line = shown(tree)[0]
    tree.close()

    assert len(line) <= 40
    assert line.endswith("s")
    assert line.startswith("a_long_name_o")
    assert "1/1" in line

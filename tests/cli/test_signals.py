import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path


def test_one_ctrl_c_waits_for_what_is_paid_for(slow_stub, spawn, motet):
    """A first Ctrl-C lets the requests in flight end, exits with 130 and tells how to resume."""
    args = ["prog.py:chain", "q", "--length", "6", "--model", slow_stub.url, "--store", "s.db"]
    process = spawn("run", *args)
    slow_stub.wait_for(2)

    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    [run_id] = re.findall(r"motet runs resume (\S+) --store s.db\n", stderr)
    resumed = motet("runs", "resume", run_id, "--store", "s.db", "--json")

    assert process.returncode == 130, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    assert resumed.exit_code == 0, resumed.stderr
    assert json.loads(resumed.stdout)["run_id"] == run_id
    assert len(slow_stub.digests) == 6
    assert max(Counter(slow_stub.digests).values()) == 1


def test_two_ctrl_c_stop_at_once(start_stub, spawn):
    """A second Ctrl-C ends the process without waiting for the server."""
    stub = start_stub("--delay-ms", "20000")
    process = spawn("run", "prog.py:wide", "q", "--model", stub.url, "--store", "s.db")
    stub.wait_for(4)

    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)

    assert time.monotonic() - began < 2
    assert process.returncode == 130
    assert re.search(r"motet runs resume \S+ --store s.db\n", stderr)
    assert "Traceback" not in stderr


def test_a_killed_run_resumes_to_the_same_value(slow_stub, spawn, motet, tmp_path):
    """After kill -9, `runs resume` gives what an undisturbed run gives, and asks the rest only."""
    args = ["prog.py:chain", "q", "--length", "5", "--model", slow_stub.url]
    process = spawn("run", *args, "--store", "s.db")
    slow_stub.wait_for(3)
    process.kill()
    process.wait()
    [record] = json.loads(motet("runs", "list", "--store", "s.db", "--json").stdout)

    resumed = motet("runs", "resume", record["run_id"][:17], "--store", "s.db", "--json")
    asked = Counter(slow_stub.digests)
    whole = motet("run", *args, "--store", "other.db", "--json")

    assert resumed.exit_code == 0, resumed.stderr
    assert json.loads(resumed.stdout)["value"] == json.loads(whole.stdout)["value"]
    assert len(asked) == 5
    assert sum(n - 1 for n in asked.values()) <= 1


def test_a_closed_pipe_is_no_error(spawn, stub):
    """When the reader of stdout has gone the command ends in silence."""
    read, write = os.pipe()
    os.close(read)

    process = spawn("run", "prog.py:wide", "q", "--model", stub.url, "--store", "none", "-q",
                    stdout=write)  # fmt: skip
    os.close(write)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 141
    assert stderr == ""


def test_a_full_stdout_is_told(spawn, stub):
    """Where stdout has no room the exit code is 1 and the reason is told."""
    with Path("/dev/full").open("w") as full:
        process = spawn("run", "prog.py:wide", "q", "--model", stub.url, "--store", "none", "-q",
                        stdout=full)  # fmt: skip
        _, stderr = process.communicate(timeout=20)

    assert process.returncode == 1
    assert "No space left" in stderr
    assert "Traceback" not in stderr


def on_terminal(*args):
    """Run the command with all streams on a terminal of 80 columns; return what it wrote."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "motet", *args], stdin=side, stdout=side, stderr=side,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )  # fmt: skip
    os.close(side)
    written = b""
    while True:
        try:
            data = os.read(main, 65536)
        except OSError:
            break
        if not data:
            break
        written += data
    os.close(main)
    assert process.wait(20) == 0
    return written.decode()


def test_a_models_control_characters_do_not_reach_the_terminal(motet):
    """On a terminal they are shown as escapes; through a pipe, or by --raw, the text is whole."""
    hostile = "\x1b]0;title\x07\x1b[2J[bold]x[/bold]\u202eend"
    args = ["run", "prog.py:hostile", "q", "--store", "none"]

    shown = on_terminal(*args)
    streamed = on_terminal(*args, "--stream", "-q")
    raw = on_terminal(*args, "--raw", "-q")
    piped = motet(*args)

    for text in (shown, streamed):
        assert "\\x1b]0;title\\x07\\x1b[2J[bold]x[/bold]\\u202eend" in text
        assert "\x1b]0;" not in text
        assert "\u202e" not in text
    assert hostile in raw
    assert piped.stdout == hostile + "\n"


def test_the_terminal_shows_a_tree(stub):
    """On a terminal the tree ends with all calls done."""
    shown = on_terminal("run", "prog.py:wide", "q", "--model", stub.url, "--store", "none")

    assert "4/4 model calls" in shown
    assert "●●●●" in shown


def test_help_is_quick():
    """`motet --help` takes well below a second."""
    best = 9.0
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "motet", "--help"], check=True, capture_output=True)
        best = min(best, time.monotonic() - began)

    assert best < 1.0

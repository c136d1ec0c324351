import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from typer.testing import CliRunner

PROGRAMS = '''
from __future__ import annotations
from typing import Callable, Literal
import pydantic
import motet
from motet import Chat, Model, program, prompt, step
from motet.testing import ScriptedEngine

class Point(pydantic.BaseModel):
    x: int
    y: int = 0

HOSTILE = "\\x1b]0;title\\x07\\x1b[2J[bold]x[/bold]\\u202eend"

@prompt(user="{{ text }}")
def ask(text: str) -> str: ...

@step
def describe(values: list[str]) -> dict[str, list[str]]:
    print("printed by a step")
    return {"values": values}

@program
def typed(text: str, *, count: int = 2, ratio: float | None = 0.5, loud: bool = False,
          kind: Literal["a", "b"] = "a", tags: list[str] = (), where: Point | None = None,
          table: dict[str, int] | None = None, seed: int = 7,
          convert: Callable[[str], str] | None = None):
    """Show what it was given.

    Args:
        text: What to show, in [brackets].
        count: How many.
        tags: Labels.
    """
    shown = [text, str(count), str(ratio), str(loud), kind, ",".join(tags), repr(where),
             repr(table), str(seed), convert(text) if convert else "-"]
    return describe(shown)

def shout(text: str) -> str:
    return text.upper()

@program
def ask_default(text: str):
    return ask(text)

@program
def ask_models(text: str, models: list[Model], judge: Model | None = None):
    return [ask.on(m)(text) for m in models] + ([ask.on(judge)(text)] if judge else [])

@program
def hostile(text: str):
    return ask.on(Model(ScriptedEngine(lambda request: HOSTILE)))(text)

@program
async def chain(text: str, length: int = 3, fail_at: int = -1) -> str:
    for i in range(length):
        if i == fail_at:
            raise ValueError(f"failed at {i}")
        text = await ask(f"{i} [[delay=50]] {text}")
    return text

@program
def wide(text: str, width: int = 4):
    return [ask(f"{text} {i}") for i in range(width)]

@step
def broken(text: str) -> str:
    raise ZeroDivisionError("no \\x1b[31m way")

@program
def fails(text: str):
    return broken(ask(text))

def undecorated(text):
    return text
'''


class Stub:
    """A stub server in a process of its own."""

    def __init__(self, folder, *options):
        self.count_file = folder / "requests.jsonl"
        command = [sys.executable, "-m", "motet.testing.stub_server", "--count-file"]
        self.process = subprocess.Popen(
            [*command, str(self.count_file), *options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def stats(self):
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats") as reply:
            return json.load(reply)

    @property
    def digests(self):
        if not self.count_file.exists():
            return []
        lines = self.count_file.read_text().splitlines()
        return [json.loads(line)["digest"] for line in lines]

    def wait_for(self, count, timeout_s=20.0):
        until = time.monotonic() + timeout_s
        while len(self.digests) < count:
            assert time.monotonic() < until, f"only {len(self.digests)} requests came"
            time.sleep(0.01)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A folder of its own, no settings from outside, modules of programs forgotten after."""
    for name in list(os.environ):
        if name.startswith(("MOTET_", "OPENAI_")):
            monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    before, path = set(sys.modules), list(sys.path)
    (tmp_path / "prog.py").write_text(PROGRAMS)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def start_stub(tmp_path):
    started = []

    def start(*options):
        started.append(Stub(tmp_path, *options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def stub(start_stub):
    return start_stub()


@pytest.fixture
def slow_stub(start_stub):
    return start_stub("--delay-ms", "400")


@pytest.fixture
def motet():
    """Run the command in this process: `motet("run", ...)` gives exit code, stdout, stderr."""
    from motet.cli.app import app

    def invoke(*args, stdin=None, env=None):
        return CliRunner().invoke(app, [str(a) for a in args], input=stdin, env=env)

    return invoke


@pytest.fixture
def spawn(tmp_path):
    """Start the command as a process of its own."""
    started = []

    def start(*args, **kwargs):
        command = [sys.executable, "-m", "motet", *map(str, args)]
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **kwargs}
        process = subprocess.Popen(command, **settings)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr, process.stdin):
            if stream is not None:
                stream.close()

"""A routed proposer, a cascade of programs and a jury on two real models: SmolLM2 on the local engine,
and on a vLLM server with an adapter.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import motet
from motet import Model, Result, Usage
from motet.events import EngineCalled
from motet.store import Store
from motet.store.records import CallRecord
from tests.serving.vllm.counting_proxy import CountingProxy
from tests.serving.vllm.http import run, write_adapter
from tests.serving.vllm.routed_jury_program import EXAMPLE, QUESTION, SEED, SMALL, Scoped, scoped

pytestmark = [pytest.mark.vllm, pytest.mark.model]

ROOT = Path(__file__).parents[3]
PRICES = {"smollm2?dtype=float32": 0.1, "minilm": 0.01}
"""Of a million tokens; the large model's is 1."""
PHASES = {
    "routing": ("embedded", 6),
    "second stage": ("aggregate", 1),
    "jury": ("name_better", 1),
}
"""Phase -> the operation, and its how manieth request, at which the process is killed."""


@pytest.fixture(scope="module")
def adapter(vllm_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name of an adapter that the server has loaded."""
    folder = write_adapter(tmp_path_factory.mktemp("style"), scale=0.01, seed=7)
    name = run(vllm_server, lambda engine: engine.load_adapter("style", str(folder)))
    yield name
    run(vllm_server, lambda engine: engine.unload_adapter(name))


@pytest.fixture(scope="module")
def proxy(vllm_server: Any, adapter: str) -> Iterator[CountingProxy]:
    made = CountingProxy(vllm_server.url, adapter)
    yield made
    made.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "whole.db"


@pytest.fixture(scope="module")
def whole(adapter: str, proxy: CountingProxy, store: Path) -> Result[Scoped]:
    """A run that nothing interrupts."""
    large = Model(f"{proxy.url('whole')}#{adapter}")
    return motet.run(scoped(large), store=store, seed=SEED, cache=False)


def journal(store: Path, run_id: str) -> list[CallRecord]:
    async def read() -> list[CallRecord]:
        opened = Store.open(store)
        try:
            return await opened.load_calls(run_id)
        finally:
            opened.close()

    return asyncio.run(read())


def paid_calls(store: Path, run_id: str) -> list[tuple[Any, ...]]:
    """The calls that an engine answered, with their place in the tree and what they used."""
    return sorted(
        (c.call_id, c.parent_id, c.operation, c.model, c.usage.tokens, round(c.cost, 12))
        for c in journal(store, run_id)
        if c.source == "engine"
    )


def cost(model: str | None, usage: Usage) -> float:
    return PRICES.get(model or "", 1.0) * usage.tokens / 1e6


def test_what_the_leaves_used_is_what_scope_run_and_journal_say(
    whole: Result[Scoped], adapter: str, proxy: CountingProxy, store: Path
) -> None:
    """To the token, over the whole tree; both engines are asked."""
    records = [c for c in journal(store, whole.run_id) if c.source == "engine"]
    leaves = [node for node in whole.graph if node.usage is not None and node.usage.calls]

    assert {c.model for c in records} == {"smollm2?dtype=float32", "minilm", adapter}
    assert {node.id for node in leaves} == {c.call_id for c in records}
    assert all(node.is_model_call for node in leaves)
    for found in (leaves, records):
        assert sum((each.usage for each in found), Usage()) == whole.usage
        costs = [cost(each.model, each.usage) for each in found]
        assert sum(costs) == pytest.approx(whole.cost, rel=1e-9)
    assert sum(c.cost for c in records) == pytest.approx(whole.cost, rel=1e-9)
    said = (whole.value.tokens, whole.value.calls, whole.value.cost)
    assert said == (whole.usage.tokens, whole.usage.calls, pytest.approx(whole.cost))
    on_server = {c.call_id for c in records if c.model == adapter}
    assert set(proxy.calls["whole"]) <= on_server
    assert len(proxy.calls["whole"]) + proxy.nameless["whole"] == len(on_server)
    assert len(whole.value.stages) == len(PHASES) == 3
    assert whole.value.is_judged
    assert 0 < whole.cost


def test_the_example_runs_on_the_command_line_and_a_second_time_for_nothing(
    whole: Result[Scoped], adapter: str, proxy: CountingProxy, store: Path
) -> None:
    command = [
        *(sys.executable, "-m", "motet", "run", f"{EXAMPLE}:routed_jury", QUESTION, "--json"),
        *("--small", SMALL, "--large", f"{proxy.url('line')}#{adapter}", "--sure", "2"),
        *("--max-tokens", "32", "--seed", str(SEED), "--store", str(store), "--quiet"),
    ]

    def printed() -> dict[str, Any]:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    first = printed()
    asked = proxy.nameless["line"], dict(proxy.calls["line"])
    second = printed()

    assert first["value"]["text"]
    assert first["cost"] > 0
    assert second["value"] == first["value"]
    assert (second["cost"], second["usage"]["calls"]) == (0.0, 0)
    assert (proxy.nameless["line"], proxy.calls["line"]) == asked


class Asked:
    """Keeps which calls went to an engine, and which the journal answered."""

    def __init__(self) -> None:
        self.calls: set[str] = set()

    def on_event(self, event: Any) -> None:
        if isinstance(event, EngineCalled):
            self.calls.add(event.call_id)


def killed(process: subprocess.Popen[str], operation: str, count: int) -> str:
    """Kill the process when that many requests of the operation went out; return its run's id."""
    assert process.stdout is not None
    run_id = ""
    for line in process.stdout:
        event = json.loads(line)
        run_id = run_id or event["run_id"]
        if event["event"] == "EngineCalled" and event["operation"].endswith(f":{operation}"):
            count -= 1
        if not count:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not count, f"it ended before its last {operation}"
    return run_id


def test_killed_in_any_phase_it_resumes_to_the_same_answer_and_tree(
    whole: Result[Scoped], adapter: str, proxy: CountingProxy, store: Path, tmp_path: Path
) -> None:
    """While it routes, in the cascade's second stage, and in the jury."""
    code = (
        "import sys; from tests.serving.vllm.routed_jury_program import main; main(*sys.argv[1:])"
    )
    children = {}
    for phase in PHASES:
        url, path = f"{proxy.url(phase.replace(' ', '-'))}#{adapter}", tmp_path / f"{phase}.db"
        children[phase] = subprocess.Popen(
            [sys.executable, "-c", code, url, str(path)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
    run_ids = {phase: killed(children[phase], *PHASES[phase]) for phase in PHASES}
    for child in children.values():
        assert child.stdout is not None
        child.stdout.close()
    tree, nums_kept = paid_calls(store, whole.run_id), []

    for phase, run_id in run_ids.items():
        path = tmp_path / f"{phase}.db"
        before = {c.call_id for c in journal(path, run_id) if c.source == "engine"}
        nums_kept.append(len(before))
        seen, client = Asked(), f"{phase.replace(' ', '-')}-again"
        large = Model(f"{proxy.url(client)}#{adapter}")

        result = motet.run(scoped(large), store=path, resume=run_id, cache=False, observers=[seen])

        assert not before & (seen.calls | set(proxy.calls[client]))
        assert before | seen.calls == {c[0] for c in tree}
        on_server = seen.calls & {c[0] for c in tree if c[3] == adapter}
        assert len(proxy.calls[client]) + proxy.nameless[client] == len(on_server)
        assert result.value == whole.value
        assert (result.usage.tokens, result.usage.calls) == (whole.usage.tokens, len(tree))
        assert result.cost == pytest.approx(whole.cost, rel=1e-9)
        assert paid_calls(path, run_id) == tree
    assert nums_kept == sorted(nums_kept)
    assert nums_kept[0] >= 4

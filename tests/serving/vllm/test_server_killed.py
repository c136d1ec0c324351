"""A server that dies in the middle of a run, and comes back."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

import motet
from motet import Model, Ref, program, prompt
from motet.errors import EngineUnavailableError, RunFailedError
from motet.events import CallFinished
from motet.serving.vllm.launch import free_port

pytestmark = pytest.mark.vllm

CALLS = 40


@prompt(user="Tell me about the number {{ number }}.", keep_cut_off=True)
def tell(number: int) -> str:
    raise NotImplementedError


@program
def telling(model: Model) -> list[Ref[str]]:
    return [tell.on(model, max_tokens=40, temperature=1.0)(i) for i in range(CALLS)]


class Watching:
    """Kills the server once so many calls are finished, and keeps who answered each call."""

    def __init__(self, after: int, kill: Any) -> None:
        self.sources: dict[str, str] = {}
        self._after = after
        self._kill = kill

    def on_event(self, event: Any) -> None:
        if isinstance(event, CallFinished) and event.usage is not None:
            self.sources[event.call_id] = event.source
            if len(self.sources) == self._after:
                threading.Thread(target=self._kill).start()


def test_a_run_pauses_when_its_server_is_killed_and_goes_on_when_it_is_back(
    start_vllm: Any, tmp_path: Any
) -> None:
    port = free_port()
    store = str(tmp_path / "runs.db")
    server = start_vllm(port=port)

    def kill() -> None:
        os.killpg(server.process.pid, signal.SIGKILL)

    first = Watching(5, kill)
    model = Model(f"{server.url}/v1#{server.model}")
    with pytest.raises(RunFailedError) as caught:
        motet.run(telling(model), store=store, seed=3, observers=[first], max_concurrency=4)
    assert isinstance(caught.value.__cause__, EngineUnavailableError)
    paid = {call for call, source in first.sources.items() if source == "engine"}
    assert 5 <= len(paid) < CALLS
    time.sleep(0.5)

    start_vllm(port=port)
    second = Watching(-1, None)
    result = motet.run(telling(model), store=store, resume=caught.value.run_id, observers=[second])

    assert len(result.value) == CALLS
    again = {call for call, source in second.sources.items() if source == "engine"}
    assert not paid & again
    assert len(again) <= CALLS - len(paid)

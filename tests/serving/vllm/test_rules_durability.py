"""Paired completions that end too early: by a budget, and with the process that asked for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import motet
from motet import Budget, Model
from motet.decoding import cfg, regex, weighted
from motet.errors import BudgetExhaustedError, RequestRejectedError, RunFailedError
from tests.serving.vllm.guided_program import Ids, guided, tell

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[3]
DRAINED_S = 4.0
"""Within which aborted requests have left the server; another worker's engine runs beside it."""


@pytest.fixture(scope="module")
def model(vllm_server: Any) -> Model:
    return Model(f"{vllm_server.url}/v1")


@pytest.fixture(scope="module")
def uninterrupted(model: Model) -> tuple[list[str], float]:
    """The program's value, and how long it takes in seconds."""
    motet.run(tell.on(model, max_tokens=1, decoding=cfg(1.5))("warmth"), store=None)
    started = time.monotonic()
    value = motet.run(guided(model), store=None, seed=3).value
    return value, time.monotonic() - started


def seconds_until_idle(server: Any) -> float:
    """Wait until the server neither runs a request nor has one waiting."""
    started = time.monotonic()
    while True:
        found = server.metrics()
        if not found["vllm:num_requests_running"] and not found["vllm:num_requests_waiting"]:
            return time.monotonic() - started
        assert time.monotonic() - started < 30
        time.sleep(0.02)


def check_resumed(model: Model, store: str, run_id: str, before: Ids, expected: list[str]) -> None:
    """Resume without a budget: the same value, and what was paid for is not asked again."""
    after = Ids()
    result = motet.run(
        guided(model), store=store, resume=run_id, budget=Budget(), observers=[after]
    )

    assert result.value == expected
    assert not before.paid & set(after.asked)
    assert before.paid | after.paid == set(before.asked) | set(after.asked)


def interrupted(model: Model, store: str, budget: Budget) -> tuple[RunFailedError, Ids]:
    seen = Ids()
    with pytest.raises(RunFailedError) as caught:
        motet.run(guided(model), store=store, seed=3, budget=budget, observers=[seen])
    assert set(seen.asked) - seen.paid, "nothing was being generated"
    return caught.value, seen


def test_tokens_that_run_out_abort_pairs_and_a_larger_budget_finishes_them(
    vllm_server: Any, model: Model, uninterrupted: tuple[list[str], float], tmp_path: Path
) -> None:
    store = str(tmp_path / "runs.db")

    error, seen = interrupted(model, store, Budget(max_tokens=2000))

    cause = error.__cause__
    assert isinstance(cause, BudgetExhaustedError)
    assert (cause.limit, cause.limit_value) == ("max_tokens", 2000)
    assert seconds_until_idle(vllm_server) < DRAINED_S
    assert len(seen.paid) == 2
    check_resumed(model, store, error.run_id, seen, uninterrupted[0])


def test_time_that_runs_out_aborts_pairs_and_more_of_it_finishes_them(
    vllm_server: Any, model: Model, uninterrupted: tuple[list[str], float], tmp_path: Path
) -> None:
    value, duration_s = uninterrupted
    store = str(tmp_path / "runs.db")

    error, seen = interrupted(model, store, Budget(timeout_s=duration_s / 3))

    cause = error.__cause__
    assert isinstance(cause, BudgetExhaustedError)
    assert cause.limit == "timeout_s"
    assert seconds_until_idle(vllm_server) < DRAINED_S
    check_resumed(model, store, error.run_id, seen, value)


def test_a_killed_client_leaves_nothing_running_and_its_run_can_be_resumed(
    vllm_server: Any, model: Model, uninterrupted: tuple[list[str], float], tmp_path: Path
) -> None:
    store = str(tmp_path / "runs.db")
    code = "import sys; from tests.serving.vllm.guided_program import main; main(*sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", code, model.url, store],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as client:
        assert client.stdout is not None
        told: dict[str, Any] = {"asked": []}
        while len(told["asked"]) < 5:
            told = json.loads(client.stdout.readline())
        while vllm_server.metrics()["vllm:num_requests_running"] < 2:
            time.sleep(0.01)
        os.kill(client.pid, signal.SIGKILL)
        client.wait()

    assert seconds_until_idle(vllm_server) < DRAINED_S
    before = Ids()
    before.asked, before.paid = told["asked"], set(told["paid"])
    assert len(before.paid) == 2
    check_resumed(model, store, told["run_id"], before, uninterrupted[0])


# ---- what a budget reserves ----------------------------------------------------------------------


def test_scores_side_by_side_use_what_was_reserved_and_no_more_than_the_budget(
    model: Model,
) -> None:
    words = ["red", "dark red"]
    alone = motet.run(tell.on(model).scores(words)("colours"), store=None).usage.tokens
    refs = [tell.on(model).scores(words)(topic) for topic in ["colours"] * 4]

    for limit, num_scored in ((4 * alone, 4), (4 * alone - 1, 3), (alone - 1, 0)):
        found = motet.run(motet.settled(refs), store=None, budget=Budget(max_tokens=limit))
        assert sum(each.is_success for each in found.value) == num_scored
        assert found.usage.tokens == num_scored * alone
        for outcome in found.value:
            assert outcome.is_success or isinstance(outcome.error, BudgetExhaustedError)


@pytest.mark.parametrize("rule", [cfg(1.5) & regex("(?=a)b"), weighted(regex("(?=a)b"))])
def test_a_constraint_that_does_not_compile_is_refused_at_once_with_its_reason(
    model: Model, rule: Any
) -> None:
    started = time.monotonic()

    with pytest.raises(RunFailedError) as caught:
        motet.run(tell.on(model, max_tokens=8, decoding=rule)("the sea"), store=None)

    cause = caught.value.__cause__
    assert isinstance(cause, RequestRejectedError)
    assert cause.status == 400
    assert "constraint regex" in str(cause)
    assert "look-around" in str(cause)
    assert time.monotonic() - started < 5

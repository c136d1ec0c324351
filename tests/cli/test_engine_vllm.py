import json
import urllib.request
from pathlib import Path

import pytest

from motet.serving.local.model_files import model_folder


@pytest.fixture(scope="session")
def smollm2():
    return model_folder("smollm2", None)


def session_of(leader):
    members = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(leader) and fields[0] != "Z":
            members.append(int(entry.name))
    return members


@pytest.mark.vllm
@pytest.mark.slow
def test_a_real_server_is_started_used_and_stopped(motet, smollm2, monkeypatch, tmp_path):
    """`up --detach` serves a chat, `run` uses it, and `down` leaves no process behind."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    up = motet(
        *("engine", "up", smollm2, "--port", 0, "--name", "smollm2", "--detach", "--json"),
        *("--timeout", 240, "--", "--max-model-len", "1024"),
    )
    assert up.exit_code == 0, up.stderr
    record = json.loads(up.stdout)
    try:
        [shown] = json.loads(motet("engine", "status", "--json").stdout)
        message = {"role": "user", "content": "What is the capital of France?"}
        body = {"model": "smollm2", "messages": [message], "max_tokens": 16, "temperature": 0}
        request = urllib.request.Request(
            record["url"] + "/v1/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            text = json.load(reply)["choices"][0]["message"]["content"]
        model = f"{record['url']}/v1#smollm2"
        run = motet("run", "prog.py:ask_default", "Say hello.", "--model", model, "--store", "none")
        before = session_of(record["pid"])
    finally:
        down = motet("engine", "down", record["name"])

    assert (shown["state"], shown["running"], shown["waiting"]) == ("healthy", 0, 0)
    assert "Paris" in text
    assert run.exit_code == 0, run.stderr
    assert run.stdout.strip()
    assert len(before) > 1
    assert down.exit_code == 0, down.stderr
    assert session_of(record["pid"]) == []

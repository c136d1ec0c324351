"""`motet route serve`: what it refuses before it listens, what it serves, how it ends."""

import json
import signal
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("sklearn")


@pytest.fixture
def router(motet, stub, tmp_path):
    """Knows that `small` answers kind 0 only, and `large` all."""
    table = tmp_path / "table.jsonl"
    rows = []
    for kind in (0, 1):
        rows += [
            {"prompt": f"kind {kind}", "model": "small", "score": 1 - kind, "cost": 1},
            {"prompt": f"kind {kind}", "model": "large", "score": 1, "cost": 10},
        ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = tmp_path / "router.npz"
    result = motet(
        "route", "train", table, "--router", "knn(k=1)", "-o", file,
        "--embedder", f"{stub.url}#stub", "--store", "none",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return file


@pytest.fixture
def serving(router, stub, spawn):
    """Start the command on a free port; return the process and the endpoint's URL."""

    def start(*more, url=stub.url):
        process = spawn(
            "route", "serve", router, "--embedder", f"{stub.url}#stub", "--port", "0",
            "--model", f"small={url}#stub", "--model", f"large={url}#stub",
            "--rule", "worth-its-price(willingness=20)", "--price", "small=1",
            "--price", "large=10", *more,
        )  # fmt: skip
        line = process.stdout.readline().strip()
        assert line.startswith("http://127.0.0.1:"), process.stderr.read()
        return process, line

    return start


def post(url, text, model="motet-router", **more):
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    request = urllib.request.Request(
        url + "/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def test_a_saved_router_answers_over_http_and_logs_its_decisions(serving, tmp_path):
    """The log has a line for each, with the cost by the token price, and the text where asked."""
    log = tmp_path / "log.jsonl"
    process, url = serving(
        "--log", log, "--log-text", "--explore", "0.2", "--seed", "3", "--token-price", "small=1/2"
    )
    answers = [post(url, f"kind {kind}")["motet"] for kind in (0, 1)]

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert [line["best"] for line in lines] == ["small", "large"]
    assert [line["prompt"] for line in lines] == ["kind 0", "kind 1"]
    assert [line["id"] for line in lines] == [answer["id"] for answer in answers]
    for line in lines:
        assert line["propensities"][line["best"]] == pytest.approx(0.9)
        assert (line["cost"] is not None) == (line["answered"] == "small")


def test_one_ctrl_c_lets_what_is_in_flight_end_and_takes_nothing_new(serving, stub):
    process, url = serving()
    found = []
    thread = threading.Thread(target=lambda: found.append(post(url, "[[delay=1500]] q", "small")))
    before = len(stub.digests)
    thread.start()
    stub.wait_for(before + 1)

    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        post(url, "q", "small")
    thread.join(20)
    _, stderr = process.communicate(timeout=20)

    assert found[0]["model"] == "small"
    assert process.returncode == 130
    assert "waiting for the requests in flight" in stderr
    assert "Traceback" not in stderr


def test_two_ctrl_c_end_at_once(serving, stub):
    process, url = serving()
    before = len(stub.digests)

    def ask():
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            post(url, "[[delay=20000]] q", "small")

    thread = threading.Thread(target=ask)
    thread.start()
    stub.wait_for(before + 1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    thread.join(20)

    assert process.returncode == 130
    assert time.monotonic() - began < 2


def test_a_member_that_is_away_at_the_start_is_told_and_serving_begins(serving, start_stub):
    gone = start_stub()
    gone.stop()
    process, url = serving(url=gone.url)
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(url, "kind 0")
    told = json.load(caught.value)
    caught.value.close()
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=20)

    assert caught.value.code == 503
    assert told["error"]["code"] == "upstream_unavailable"
    assert "small does not answer yet" in stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model", "third=http://127.0.0.1:9/v1"], "'third' is unknown to the router; it knows"),
        (["--model", "small"], "--model is 'small'; write NAME=URL"),
        (["--model", "small=http://h/v1", "--model", "small=http://h/v1"], "names 'small' twice"),
        (["--model", "small=nonsense"], "'nonsense' is no engine URL"),
        (["--rule", "cheapest"], "rule is 'cheapest'"),
        (["--rule", "worth-its-price"], "willingness"),
        (["--rule", "worth-its-price(willingness=1)"], "price of model 'small' is unknown"),
        (["--rule", "worth-its-price(willingness=1)"], "give it by --price small=NUMBER"),
        (["--rule", "best-within(max_price=1)", "--price", "small=2"], "no model costs at most 1"),
        (["--price", "huge=1"], "--price names 'huge'; the models are small"),
        (["--price", "small=x"], "--price is 'small=x'; write MODEL=NUMBER"),
        (["--price", "small=-1"], "--price is 'small=-1'"),
        (["--token-price", "small=1"], "--token-price is 'small=1'; write MODEL=NUMBER/NUMBER"),
        (["--explore", "1.5", "--log", "l"], "explore is 1.5"),
        (["--explore", "0.5"], "--explore is for the log"),
        (["--log-text"], "--log-text is for the log"),
        (["--log", "absent/l"], "absent/l cannot be written"),
        (["--port", "70000"], "--port is 70000"),
        (["--max-tokens", "0"], "max_tokens is 0"),
        (["--max-body", "0"], "max_body_bytes is 0"),
        (["--api-key", ""], "--api-key is empty"),
        (["--api-key", "key\n"], "--api-key begins or ends with a space"),
        (["--embedder", "local:minilm"], "it was trained on embeddings of"),
        (["--frobnicate", "1"], "No such option: --frobnicate"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name_before_it_listens(
    motet, router, stub, options, told
):
    own = [] if "--model" in options else ["--model", f"small={stub.url}#stub"]
    own += [] if "--embedder" in options else ["--embedder", f"{stub.url}#stub"]
    result = motet("route", "serve", router, "--port", "0", *own, *options)

    assert result.exit_code == 2, result.stderr
    assert told in " ".join(result.stderr.split())


def test_files_that_are_no_router_of_this_version_are_refused(motet, router, stub, tmp_path):
    import numpy as np

    with np.load(router) as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].tobytes())
    arrays["header"] = np.frombuffer(json.dumps({**header, "format": 99}).encode(), dtype=np.uint8)
    newer = tmp_path / "newer.npz"
    np.savez(newer, **arrays)
    (tmp_path / "text.npz").write_text("no router")
    common = ("--embedder", f"{stub.url}#stub", "--model", f"small={stub.url}#stub")

    for file, told in (
        (newer, "its format is 99; this motet reads 1"),
        (tmp_path / "text.npz", "text.npz is no router that `motet route train` saved"),
        (tmp_path / "absent.npz", "absent.npz cannot be read: there is no such file"),
    ):
        result = motet("route", "serve", file, "--port", "0", *common)
        assert result.exit_code == 2
        assert told in " ".join(result.stderr.split())


def test_an_embedder_of_another_size_is_refused(motet, router, stub, monkeypatch):
    """The right name in the file does not help where the vectors are of another length."""
    from motet.routing import saving

    load = saving.load
    monkeypatch.setattr(
        saving, "load", lambda path, *, embedder: load(path, embedder=f"{stub.url}#stub")
    )
    other = motet(
        "route", "serve", router, "--embedder", "local:minilm", "--port", "0",
        "--model", f"small={stub.url}#stub",
    )  # fmt: skip

    assert other.exit_code == 2, other.stderr
    assert "gives embeddings of 384 numbers; the router was trained on" in " ".join(
        other.stderr.split()
    )


def test_a_port_that_is_taken_is_told(motet, router, stub):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = motet(
            "route", "serve", router, "--port", port, "--embedder", f"{stub.url}#stub",
            "--model", f"small={stub.url}#stub",
        )  # fmt: skip

    assert result.exit_code == 2
    assert f"--port {port} cannot be listened at" in result.stderr

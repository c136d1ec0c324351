import asyncio
import json
import subprocess
import sys
import urllib.request

import pytest

from motet.errors import ConfigError
from motet.serving.vllm import layer_tap
from motet.serving.vllm.launch import SCHEDULER, Launch
from motet.serving.vllm.launch_process import is_healthy, kill_session, session_members
from tests.serving.vllm.conftest import FLAGS
from tests.serving.vllm.http import ask, run, write_adapter


def complete(url, **body):
    data = json.dumps({"model": "smollm2", "temperature": 0, **body}).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/completions", data, headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


@pytest.mark.vllm
def test_the_server_answers_and_counts(vllm_server):
    """A completion comes back, and the server's metrics count it."""
    before = vllm_server.metrics()["vllm:prompt_tokens_total"]

    reply = complete(vllm_server.url, prompt="The capital of France is", max_tokens=4)

    assert is_healthy(vllm_server.url)
    assert "Paris" in reply["choices"][0]["text"]
    used = vllm_server.metrics()["vllm:prompt_tokens_total"] - before
    assert used == reply["usage"]["prompt_tokens"]


@pytest.mark.vllm
@pytest.mark.slow
def test_a_stock_server_has_none_of_our_parts(plain_vllm_server, vllm_server):
    """It answers as the other does, and its log names no part of motet, as the other's does."""
    body = {"prompt": "One, two, three,", "max_tokens": 8}

    texts = [
        complete(s.url, **body)["choices"][0]["text"] for s in (plain_vllm_server, vllm_server)
    ]

    assert texts[0] == texts[1]
    assert "motet.serving" not in plain_vllm_server.log.read_text()
    assert "motet.serving" in vllm_server.log.read_text()


def command(**settings):
    launch = Launch(model="org/model", name="small", port=8000, **settings)
    return " ".join(launch.command())


def test_a_cpu_server_never_cuts_a_prompt_into_chunks():
    """On a CPU chunked prefill is off, as a seeded request that is cut ends the engine."""
    assert "--no-enable-chunked-prefill" in command(on_cpu=True)
    assert "--no-enable-chunked-prefill" not in command(on_cpu=False)


@pytest.mark.parametrize(
    ("extra", "dropped"),
    [
        (("--enable-chunked-prefill",), "--no-enable-chunked-prefill"),
        (("--block_size=64",), "--block-size 32"),
        (("--dtype", "float32"), "--dtype bfloat16"),
        (("--scheduling-policy", "fcfs"), "--scheduling-policy priority"),
    ],
)
def test_an_extra_flag_replaces_ours(extra, dropped):
    """However it is written, the user's flag stands once, and ours not at all."""
    made = command(on_cpu=True, extra=extra)

    assert dropped in command(on_cpu=True)
    assert dropped not in made
    assert made.endswith(" ".join(extra))


def test_a_value_that_looks_like_our_flag_is_none():
    """Only flags replace flags: a value after one does not."""
    assert "--block-size 32" in command(on_cpu=True, extra=("--seed", "block-size"))


@pytest.mark.parametrize(
    ("extra", "slots"),
    [
        (("--enable-lora",), "--max-loras 2"),
        (("--enable-lora", "--max-loras", "4"), "--max-loras 5"),
        (("--max_loras=4", "--enable-lora"), "--max-loras 5"),
        (("--enable-lora", "--max-loras", "x"), "--max-loras x"),
        (
            ("--enable-lora", "--max-loras", "4", "--max-cpu-loras=4"),
            "--max-loras 5 --max-cpu-loras 5",
        ),
        (("--enable-lora", "--max-cpu-loras", "9"), "--max-cpu-loras 9 --max-loras 2"),
    ],
)
def test_a_cpu_server_has_a_slot_more_than_adapters_are_told(extra, slots):
    """One slot stays empty for rows of the model itself; with a GPU the flags stay as they are."""
    made = command(on_cpu=True, extra=extra)

    assert made.endswith(slots)
    assert made.count("max") == command(on_cpu=True).count("max") + slots.count("--")
    assert command(on_cpu=False, extra=extra).endswith(" ".join(extra))


def test_without_adapters_no_slots_are_asked_for():
    """Flags that enable none are passed on as they are."""
    assert command(on_cpu=True, extra=("--max-loras", "4")).endswith("--max-loras 4")
    assert "lora" not in command(on_cpu=True)


@pytest.mark.vllm
@pytest.mark.slow
def test_the_model_itself_stays_as_it_is_beside_as_many_adapters_as_were_told(start_vllm, tmp_path):
    """One adapter on a server of its own: without the spare slot the base speaks like it."""
    flags = (*FLAGS[:-1], "1")
    assert flags[-2] == "--max-loras"
    server = start_vllm(flags=flags)
    adapter = write_adapter(tmp_path / "loud", scale=0.5, seed=2)

    async def act(engine):
        before = await engine.complete(ask("Name three fruits."))
        name = await engine.load_adapter("loud", str(adapter))
        # Side by side: a step without adapters leaves their weights out altogether.
        by_adapter, after = await asyncio.gather(
            engine.complete(ask("Name three fruits.", model=name, max_tokens=32)),
            engine.complete(ask("Name three fruits.", cache_salt="anew")),
        )
        return [reply.completions[0].text for reply in (before, by_adapter, after)]

    before, by_adapter, after = run(server, act)

    assert after == before != by_adapter


@pytest.mark.parametrize("flag", ["--port", "--host=::", "--model", "--served_model_name"])
def test_what_motet_sets_itself_cannot_be_an_extra_flag(flag):
    """Its own flags name the server's place, by which it is found again."""
    with pytest.raises(ConfigError, match="among the extra flags"):
        Launch(model="m", name="m", port=8000, extra=(flag, "x"))


def test_a_port_out_of_range_is_refused():
    """The message holds the port."""
    with pytest.raises(ConfigError, match="port is 70000"):
        Launch(model="m", name="m", port=70000)


def test_variables_of_the_user_win(monkeypatch):
    """The settings for a CPU give way to the environment, and that to the launch's own."""
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "3")
    monkeypatch.delenv("VLLM_ENABLE_V1_MULTIPROCESSING", raising=False)
    settings = {"model": "m", "name": "m", "port": 8000, "on_cpu": True}

    given = Launch(**settings).variables()
    own = Launch(**settings, environment={"VLLM_CPU_KVCACHE_SPACE": "5"}).variables()

    assert given["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert given["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert (given["VLLM_NO_USAGE_STATS"], given["DO_NOT_TRACK"]) == ("1", "1")
    assert own["VLLM_CPU_KVCACHE_SPACE"] == "5"


@pytest.mark.parametrize(("load", "threads"), [(0.0, None), (2.0, "1")])
def test_one_thread_where_the_machine_is_shared(monkeypatch, load, threads):
    """Threads that spin on busy cores are many times slower than one that does not."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    monkeypatch.setattr("os.cpu_count", lambda: 2)

    launch = Launch(model="m", name="m", port=8000, on_cpu=True)

    assert launch.variables().get("OMP_NUM_THREADS") == threads


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
    ],
)
def test_the_url_can_be_asked_from_this_machine(host, url):
    """A server that listens everywhere is asked on this machine's own address."""
    assert Launch(model="m", name="m", port=8000, host=host).url == url


def test_a_process_of_the_session_cannot_hide(tmp_path):
    """A child that left the process group, as some of vLLM's do, is stopped too."""
    script = tmp_path / "leader.py"
    script.write_text(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],\n"
        "                         process_group=0)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    leader = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    child = int(leader.stdout.readline())
    assert set(session_members(leader.pid)) == {leader.pid, child}

    kill_session(leader.pid)
    leader.wait()
    leader.stdout.close()

    assert session_members(leader.pid) == []


@pytest.mark.vllm
@pytest.mark.parametrize("on_cpu", [True, False])
def test_vllm_knows_every_flag(on_cpu):
    """Its own parser takes what motet sets, for a machine with a GPU too."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    launch = Launch(model="org/model", name="small", port=8000, on_cpu=on_cpu)
    flags = launch.command()[4:]

    parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(flags)

    assert parsed.scheduler_cls == SCHEDULER
    assert parsed.max_logprobs == -1
    assert parsed.enable_chunked_prefill is (False if on_cpu else None)
    assert parsed.async_scheduling is (None if on_cpu else False)


def test_layers_have_vllm_load_the_tapped_model(monkeypatch, tmp_path):
    """A Llama is loaded by the plug-in's name for it; any other architecture is refused by name."""
    monkeypatch.setattr("motet.serving.vllm.launch.has_module", lambda name: True)
    settings = {"name": "m", "port": 8000, "has_layers": True}
    (tmp_path / "config.json").write_text(
        '{"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 8}'
    )

    made = Launch(model=str(tmp_path), **settings).command()

    value = made[made.index("--hf-overrides") + 1]
    assert json.loads(value) == {
        "architectures": [layer_tap.ARCHITECTURE],
        layer_tap.LAYERS_SETTING: [4, 6],
    }
    (tmp_path / "config.json").write_text('{"architectures": ["MambaForCausalLM"]}')
    with pytest.raises(ConfigError, match="MambaForCausalLM"):
        Launch(model=str(tmp_path), **settings).command()

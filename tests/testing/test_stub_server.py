"""The stub server, asked by a plain client."""

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

import aiohttp
import pytest

from motet.errors import ConfigError
from motet.testing.stub_server import Faults, StubServer


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "stub", "messages": [{"role": "user", "content": text}], **fields}


def talk(server: StubServer, *bodies: dict[str, Any], path: str = "/chat/completions"):
    """Post the bodies one after another; return status, headers and body of each."""

    async def act():
        async with server, aiohttp.ClientSession() as session:
            answers = []
            for body in bodies:
                async with session.post(server.url + path, json=body) as response:
                    answers.append((response.status, response.headers, await response.read()))
            return answers

    return asyncio.run(act())


def content(answer) -> str:
    return str(json.loads(answer[2])["choices"][0]["message"]["content"])


def test_equal_requests_get_equal_replies():
    """The text depends on the prompt and the seed, on another server too."""
    bodies = [chat("a", seed=1), chat("a", seed=1), chat("a", seed=2), chat("b", seed=1)]

    first = [content(answer) for answer in talk(StubServer(), *bodies)]
    second = [content(answer) for answer in talk(StubServer(), *bodies)]

    assert first == second
    assert first[0] == first[1]
    assert len(set(first)) == 3


def test_n_choices_come_in_order_with_usage():
    """A request for n gets n different choices, and the usage adds up."""
    [answer] = talk(StubServer(), chat("one two three", n=3))

    reply = json.loads(answer[2])
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in reply["choices"]}) == 3
    words = sum(len(choice["message"]["content"].split()) for choice in reply["choices"])
    assert reply["usage"]["completion_tokens"] == words
    assert reply["usage"]["total_tokens"] == words + reply["usage"]["prompt_tokens"]


def test_a_stream_has_the_text_of_the_reply():
    """The streamed pieces join to the text that the same request gets unstreamed."""
    plain, streamed = talk(
        StubServer(), chat("q"), chat("q", stream=True, stream_options={"include_usage": True})
    )

    lines = streamed[2].decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    pieces = [event["choices"][0]["delta"]["content"] for event in events[:-1]]
    assert "".join(pieces) == content(plain)
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["usage"] == json.loads(plain[2])["usage"]


def test_raw_completions_and_token_ids():
    """`/v1/completions` takes texts and token ids."""
    answers = talk(
        StubServer(),
        {"model": "stub", "prompt": "once upon", "logprobs": 2},
        {"model": "stub", "prompt": [1, 2, 3], "max_tokens": 2},
        path="/completions",
    )

    text, ids = (json.loads(answer[2]) for answer in answers)
    assert "".join(text["choices"][0]["logprobs"]["tokens"]) == text["choices"][0]["text"]
    assert ids["usage"]["prompt_tokens"] == 3
    assert ids["choices"][0]["finish_reason"] == "length"


def test_a_marker_delays_one_request():
    """`[[delay=N]]` in the prompt adds N milliseconds."""
    start = time.monotonic()
    talk(StubServer(), chat("[[delay=150]] q"))

    assert time.monotonic() - start >= 0.15


@pytest.mark.parametrize(
    ("fault", "status"), [("error_500", 500), ("error_429", 429), ("garbage", 200)]
)
def test_faults_with_an_answer(fault, status):
    """A fault of rate 1 comes every time."""
    settings: dict[str, Any] = {fault: 1.0, "retry_after_s": 7}
    server = StubServer(faults=Faults(**settings))

    answers = talk(server, chat("q"), chat("q"))

    assert [answer[0] for answer in answers] == [status, status]
    assert answers[0][1].get("Retry-After") == ("7" if fault == "error_429" else None)
    assert server.faulted == {fault: 2}


@pytest.mark.parametrize("fault", ["drop", "half"])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_faults_that_close_the_connection(fault, is_streamed):
    """A dropped connection and a half body are errors of the client's connection."""
    settings: dict[str, Any] = {fault: 1.0}

    with pytest.raises(aiohttp.ClientError):
        talk(StubServer(faults=Faults(**settings)), chat("q", stream=is_streamed))


def test_replies_that_are_proper_but_no_use():
    """An empty reply has no text; a cut-off one ends with `length`."""
    [empty] = talk(StubServer(faults=Faults(empty=1)), chat("q"))
    [cut] = talk(StubServer(faults=Faults(cut_off=1)), chat("q"))

    assert content(empty) == ""
    assert json.loads(cut[2])["choices"][0]["finish_reason"] == "length"


def test_a_hang_ends_when_the_client_goes_away():
    """A request that hangs is counted as aborted once its client has left."""

    async def act():
        async with StubServer(faults=Faults(hang=1)) as server, aiohttp.ClientSession() as session:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await session.post(f"{server.url}/chat/completions", json=chat("q"))
            async with asyncio.timeout(1):
                while not server.num_aborted:  # noqa: ASYNC110 - another party counts
                    await asyncio.sleep(0.005)
            return server.in_flight

    assert asyncio.run(act()) == 0


def test_fault_draws_do_not_depend_on_arrival():
    """Which requests fail is decided by seed, body and repetition, at the given rates."""
    faults = Faults(error_500=0.3, drop=0.2, seed=5)

    drawn = [faults.draw(str(number), 0) for number in range(2000)]

    assert drawn == [faults.draw(str(number), 0) for number in range(2000)]
    assert drawn != [faults.draw(str(number), 1) for number in range(2000)]
    assert 520 < drawn.count("error_500") < 680
    assert 330 < drawn.count("drop") < 470
    with pytest.raises(ConfigError, match="sum to 1"):
        Faults(drop=0.6, hang=0.6)


def test_the_server_process_logs_and_counts(tmp_path):
    """As a process the server prints its url, logs each request to a file, and tells its counts."""
    log = tmp_path / "requests.jsonl"
    command = [sys.executable, "-m", "motet.testing.stub_server", "--count-file", str(log)]
    with subprocess.Popen(
        [*command, "--delay-ms", "1"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        async def act():
            async with aiohttp.ClientSession() as session:
                for _ in range(2):
                    async with session.post(f"{url}/chat/completions", json=chat("q")) as response:
                        await response.read()
                async with session.get(f"{url.removesuffix('/v1')}/stats") as response:
                    return await response.json()

        try:
            stats = asyncio.run(act())
        finally:
            process.terminate()

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["attempt"] for line in lines] == [0, 1]
    assert stats["counts"] == {lines[0]["digest"]: 2}
    assert (stats["num_requests"], stats["peak_in_flight"]) == (2, 1)
    assert process.returncode == 0


def test_limits_names_and_keys():
    """Too many at once get a 429, other models a 404, a wrong key a 401, long prompts a 400."""
    busy = talk(StubServer(max_in_flight=0), chat("q"))
    other = talk(StubServer(), chat("q") | {"model": "none"})
    locked = talk(StubServer(api_key="secret"), chat("q"))
    long = talk(StubServer(context_tokens=10), chat("word " * 11))

    assert [answers[0][0] for answers in (busy, other, locked, long)] == [429, 404, 401, 400]

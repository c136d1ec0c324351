"""What the engine finds out about a server, and what it does with it."""

import asyncio

import pytest

from motet.decoding import stops_at
from motet.engine import Capability, Constraint, LearningEngine, Request, RuleEngine, Sampling
from motet.errors import (
    ConfigError,
    EngineUnavailableError,
    ModelNotFoundError,
    ProcessorMismatchError,
    PromptTooLongError,
)
from motet.serving.decoding import wire
from motet.serving.openai import connect
from motet.serving.openai.detection import GENERIC_CAPABILITIES
from motet.testing.stub_server import StubServer
from motet.types import Message
from tests.serving.openai.fake_vllm import FIELDS, FakeVLLM, with_engine

PROCESSOR = f"version={wire.VERSION}"


def ask(prompt="q", *, model=None, constraint=None, cache_salt=None, request_id=None, **sampling):
    return Request(
        model=model,
        prompt=prompt,
        sampling=Sampling(**{"max_tokens": 3} | sampling),
        constraint=constraint,
        cache_salt=cache_salt,
        request_id=request_id,
    )


async def prepared(engine):
    await engine.prepare()
    return engine


def test_the_engine_is_one_that_learns_and_has_rules():
    """Both optional protocols are kept."""
    engine = connect("http://127.0.0.1:9/v1")

    assert isinstance(engine, LearningEngine)
    assert isinstance(engine, RuleEngine)
    assert engine.decoding_rules == {}
    assert engine.server_version is None


def test_nothing_is_asked_before_prepare():
    """Connecting and completing ask for the completion alone."""
    server = FakeVLLM()

    with_engine(server, lambda engine: engine.complete(ask(model="m")))

    assert server.paths == ["/v1/completions"]


def test_vllm_is_found_and_asked_once():
    """Its version, context and capabilities are known; preparing again, or at once, is free."""
    server = FakeVLLM()

    async def act(engine):
        await asyncio.gather(engine.prepare(), engine.prepare())
        num_paths = len(server.paths)
        await engine.prepare()
        assert len(server.paths) == num_paths
        assert server.paths.count("/version") == 1
        return engine

    engine = with_engine(server, act)

    assert engine.server_version == "0.32.0"
    assert engine.context_tokens == 100
    more = {Capability.PREFIX_CACHE, Capability.SCORE, Capability.LORA, Capability.NEXT_TOKENS}
    assert engine.capabilities == GENERIC_CAPABILITIES | more
    assert engine.decoding_rules == {"stop": "stop strings", "constraint": "structured outputs"}


def test_a_generic_server_keeps_the_generic_capabilities():
    """A server without vLLM's paths is taken for no more than it was; its context is learnt."""

    async def act():
        async with StubServer(context_tokens=77, has_embeddings=False) as server:
            engine = connect(server.url)
            await engine.prepare()
            await engine.aclose()
            return engine

    engine = asyncio.run(act())

    assert engine.capabilities == GENERIC_CAPABILITIES
    assert engine.decoding_rules == {}
    assert engine.server_version is None
    assert engine.context_tokens == 77


def test_a_server_that_is_down_can_be_asked_again():
    """`prepare` raises while the server is away, and learns once it is there."""
    server = FakeVLLM()
    server.is_down = True

    async def act(engine):
        with pytest.raises(EngineUnavailableError):
            await engine.prepare()
        assert engine.capabilities == GENERIC_CAPABILITIES
        server.is_down = False
        await engine.prepare()
        assert engine.server_version == "0.32.0"

    with_engine(server, act)

    with pytest.raises(EngineUnavailableError):
        asyncio.run(connect("http://127.0.0.1:9/v1").prepare())


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("structured_outputs", Capability.GRAMMAR),
        ("continue_final_message", Capability.CONTINUE),
    ],
)
def test_a_field_that_the_version_lacks_is_no_capability(name, capability):
    """The schema decides, so that a program which needs the field is refused."""
    server = FakeVLLM(fields=tuple(field for field in FIELDS if field != name))

    engine = with_engine(server, prepared)

    assert capability not in engine.capabilities


def test_without_a_schema_the_version_decides():
    """An old version lacks named logprobs; this one has them."""
    old = with_engine(FakeVLLM(version="0.9.2", has_schema=False), prepared)
    new = with_engine(FakeVLLM(version="0.32.1.dev3+cpu", has_schema=False), prepared)

    assert not {Capability.SCORE, Capability.GRAMMAR} & old.capabilities
    assert {Capability.SCORE, Capability.GRAMMAR} <= new.capabilities


def test_adapters_are_a_capability_where_the_route_is():
    """Without `/v1/load_lora_adapter` there is no LORA."""
    engine = with_engine(FakeVLLM(has_adapters=False), prepared)

    assert Capability.LORA not in engine.capabilities


@pytest.mark.parametrize(("runner", "name"), [(1, "V1"), (2, "V2")])
def test_the_processor_tells_its_version_and_runner(runner, name):
    """With the plug-in all kinds but dola run in the engine, on the runner that is live."""
    engine = with_engine(FakeVLLM(processor=PROCESSOR, runner=runner), prepared)

    how = f"processor, {name} runner"
    kinds = ("cfg", "cad", "adacad", "trie", "length", "weighted")
    assert {kind: engine.decoding_rules[kind] for kind in kinds} == dict.fromkeys(kinds, how)
    assert "dola" not in engine.decoding_rules


@pytest.mark.parametrize(
    ("layers", "is_live"), [("layers=16-28", True), ("layers=none", False), ("", False)]
)
def test_dola_needs_the_tap(layers, is_live):
    """It is among the rules only where the processor names the layers that it sees."""
    engine = with_engine(FakeVLLM(processor=f"{PROCESSOR} {layers}"), prepared)

    assert ("dola" in engine.decoding_rules) is is_live


def test_another_version_of_the_processor_is_refused():
    """Who asks for rules gets an error with both numbers; plain requests still work."""

    async def act(engine):
        await engine.prepare()
        assert (await engine.complete(ask(model="m"))).completions[0].text
        with pytest.raises(ProcessorMismatchError):
            await engine.complete(ask(model="m", decoding=stops_at("x")))
        with pytest.raises(ProcessorMismatchError, match="version 99") as raised:
            _ = engine.decoding_rules
        return raised.value

    error = with_engine(FakeVLLM(processor="version=99"), act)

    assert (error.server_version, error.client_version) == (99, wire.VERSION)


@pytest.mark.parametrize(("max_logprobs", "is_whole"), [(20, False), (999, False), (1000, True)])
def test_pairs_are_mixed_outside_where_all_logprobs_come(max_logprobs, is_whole):
    """Without the plug-in, the whole vocabulary's logprobs are what a pair needs."""
    engine = with_engine(FakeVLLM(max_logprobs=max_logprobs), prepared)

    found = {kind: how for kind, how in engine.decoding_rules.items() if "loop" in how}
    pairs = dict.fromkeys(("cfg", "cad", "adacad"), "one-token loop")
    assert found == (pairs if is_whole else {})


def test_vllms_own_fields_are_used_once_it_is_known():
    """Token ids are asked for, a salt and a request's id travel, schemas are structured outputs."""
    server = FakeVLLM()
    schema = Constraint("json_schema", {"type": "object"})

    async def act(engine):
        await engine.prepare()
        server.bodies.clear()
        server.headers.clear()
        chat = (Message.user("q"),)
        request = ask(chat, constraint=schema, cache_salt="s", request_id="r-1", temperature=0.5)
        await engine.complete(request)
        return (await engine.complete(ask("ab"))).completions[0]

    completion = with_engine(server, act)

    body = server.bodies[0]
    assert body["structured_outputs"] == {"json": {"type": "object"}}
    assert "response_format" not in body
    assert (body["return_token_ids"], body["cache_salt"]) == (True, "s")
    assert server.headers[0]["x-request-id"] == "r-1"
    assert "x-request-id" not in server.headers[1]
    assert completion.token_ids == (99, 100, 101)


@pytest.mark.parametrize("request_id", ["a\nb: c", "\u00e9"])
def test_an_id_that_no_header_may_have_is_left_out(request_id):
    """The request is served all the same."""
    server = FakeVLLM()

    async def act(engine):
        await engine.prepare()
        server.headers.clear()
        await engine.complete(ask(request_id=request_id))

    with_engine(server, act)

    assert not {"x-request-id", "b"} & server.headers[0].keys()


def test_a_field_that_vllm_would_ignore_is_refused_by_name():
    """`guided_regex` is gone, and vLLM says nothing of it; a field that is there passes."""

    async def act(engine):
        await engine.prepare()
        await engine.complete(ask(extra={"return_token_ids": False}))
        await engine.complete(ask(extra={"guided_regex": "a+"}))

    with pytest.raises(ConfigError, match=r"guided_regex.*0\.32\.0"):
        with_engine(FakeVLLM(), act)


def test_a_constraint_is_refused_where_it_would_be_ignored():
    """A version without structured outputs answers as it likes, so it is not asked."""
    server = FakeVLLM(fields=tuple(name for name in FIELDS if name != "structured_outputs"))

    async def act(engine):
        await engine.prepare()
        await engine.complete(ask(constraint=Constraint("regex", "a+")))

    with pytest.raises(ConfigError, match="regex"):
        with_engine(server, act)


def test_an_unknown_model_comes_with_those_that_are_served():
    """The error names the models and adapters that are there."""
    server = FakeVLLM()
    server.adapters = ["style@1"]

    with pytest.raises(ModelNotFoundError, match="nobody.*serves m, style@1"):
        with_engine(server, lambda engine: engine.complete(ask(model="nobody")))


def test_a_prompt_that_is_too_long_comes_with_both_numbers():
    """They are the prompt's tokens and the context's."""
    with pytest.raises(PromptTooLongError) as raised:
        with_engine(FakeVLLM(), lambda engine: engine.complete(ask((5,) * 120, model="m")))

    assert (raised.value.prompt_tokens, raised.value.max_tokens) == (120, 100)


def test_a_length_that_vllm_did_not_count_out_is_asked_for():
    """Where vLLM says 'at least', the number is that of `/tokenize`."""
    server = FakeVLLM()
    server.wrong = lambda body: (
        "This model's maximum context length is 100 tokens. However, your prompt contains at "
        "least 101 input tokens, which exceeds this limit even without any output tokens."
    )

    with pytest.raises(PromptTooLongError) as raised:
        with_engine(server, lambda engine: engine.complete(ask("x" * 300, model="m")))

    assert (raised.value.prompt_tokens, raised.value.max_tokens) == (300, 100)

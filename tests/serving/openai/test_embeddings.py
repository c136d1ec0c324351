"""Embeddings over HTTP: what a server is asked, and what its vectors become."""

from __future__ import annotations

import asyncio

import pytest

import motet
from motet import Budget, Message, Model, prompt
from motet.engine import Capability, Request, Sampling, Usage
from motet.errors import (
    CapabilityError,
    ConfigError,
    EngineUnavailableError,
    GarbledReplyError,
    ModelNotFoundError,
    PromptTooLongError,
    RunFailedError,
)
from motet.serving.openai.embeddings import read_embedding
from motet.testing.derived import derived_vector
from motet.testing.stub_server import Faults, StubServer
from motet.types import Embedding
from tests.serving.openai.fake_vllm import FakePooler, FakeVLLM, refusal, serving, with_engine

CHAT = (Message.system("s"), Message.user("q"))
CLOSED = "<system>s.<user>q."


@prompt(user="{{ text }}")
def text_of(text: str) -> str:
    raise NotImplementedError


def asking(given="ab", *, model=None, is_embedded=True, extra=None, **fields):
    sampling = Sampling(extra=extra or {})
    return Request(model=model, prompt=given, sampling=sampling, is_embedded=is_embedded, **fields)


@pytest.mark.parametrize(
    ("given", "length"), [("ab", 2), (CHAT, len(CLOSED)), ((97, 98, 99), 3), ("", 0)]
)
def test_texts_chats_and_token_ids_are_embedded_as_they_are(given, length):
    """Each is a request of its own; no turn is begun behind a chat; numbers travel as base64."""
    server = FakePooler("embed")

    reply = with_engine(server, lambda engine: engine.complete(asking(given)))

    assert reply.embedding == Embedding((float(length), -1.0))
    assert reply.completions == ()
    assert reply.usage == Usage(length, 0, 0, 1)
    assert reply.model == "m"
    assert server.bodies[-1]["encoding_format"] == "base64"


@pytest.mark.parametrize("has_schema", [True, False])
def test_a_server_of_embeddings_is_found(has_schema):
    """Whether or not it shows its schema; it can do nothing else."""

    async def act(engine):
        assert Capability.EMBED not in engine.capabilities
        await engine.prepare()
        return engine

    engine = with_engine(FakePooler("embed", has_schema=has_schema), act)

    more = {Capability.EMBED, Capability.PREFIX_CACHE, Capability.LORA}
    assert engine.capabilities == more
    assert engine.context_tokens == 100


@pytest.mark.parametrize("server", [FakeVLLM(), FakePooler("classify"), FakePooler("x")])
def test_other_servers_of_vllm_embed_nothing(server):
    """They say so by a typed error, before they are asked."""

    async def act(engine):
        await engine.prepare()
        assert Capability.EMBED not in engine.capabilities
        with pytest.raises(ConfigError, match="no embedding model"):
            await engine.complete(asking())

    with_engine(server, act)

    assert "/v1/embeddings" not in server.paths


def on_stub(act, **settings):
    async def running():
        async with StubServer(**settings) as server:
            server.bodies = []
            engine = motet.serving.openai.connect(server.url)
            try:
                return await act(engine, server)
            finally:
                await engine.aclose()

    return asyncio.run(running())


def test_any_server_that_has_the_path_embeds_texts():
    """It is asked for the plain form, of which vLLM's own fields are no part; what would change the
    vector's form is refused.
    """

    async def act(engine, server):
        reply = await engine.complete(asking("one two", priority=3, cache_salt="s"))
        assert Capability.EMBED in engine.capabilities
        assert reply.embedding == Embedding(derived_vector("one two"))
        assert reply.usage == Usage(2, 0, 0, 1)
        [body] = server.bodies
        assert body == {"model": "stub", "input": "one two"}
        with pytest.raises(ConfigError, match="chat of several turns"):
            await engine.complete(asking(CHAT))
        for name in ("encoding_format", "embed_dtype", "endianness"):
            with pytest.raises(ConfigError, match=f"'{name}'"):
                await engine.complete(asking(extra={name: "float16"}))

    on_stub(act)


def test_a_server_without_the_path_embeds_nothing():
    """It is asked once, with nothing to embed."""

    async def act(engine, server):
        for _ in range(2):
            with pytest.raises(ConfigError, match="no embedding model"):
                await engine.complete(asking())
        assert Capability.EMBED not in engine.capabilities
        assert server.paths["/v1/embeddings"] == 1

    on_stub(act, has_embeddings=False)


@pytest.mark.parametrize(
    ("status", "said", "is_able"),
    [
        (404, "Not Found", False),
        (405, "Method Not Allowed", False),
        (404, "model '' not found", True),
        (422, "Field required", True),
        (500, "KeyError: 'model'", True),
    ],
)
def test_what_a_server_says_of_an_empty_request_tells_whether_it_embeds(status, said, is_able):
    """No path is no; a complaint about what is missing, or a failure over it, is yes."""

    class Other(FakeVLLM):
        def __init__(self):
            super().__init__()
            del self.routes["/version"]
            self.routes["/v1/embeddings"] = lambda body: refusal(status, said)

    async def act(engine):
        await engine.prepare()
        return Capability.EMBED in engine.capabilities

    assert with_engine(Other(), act) is is_able


def test_settings_of_vllm_travel_and_unknown_ones_are_refused():
    """Priority, salt, an adapter's own salt, and a field that the server has."""
    server = FakePooler("embed")

    async def act(engine):
        await engine.complete(
            asking(priority=-2, cache_salt="s", extra={"truncate_prompt_tokens": 5})
        )
        with pytest.raises(ConfigError, match="'best_of'"):
            await engine.complete(asking(extra={"best_of": 2}))
        with pytest.raises(ConfigError, match="'input'"):
            await engine.complete(asking(extra={"input": "c"}))
        name = await engine.load_adapter("a", "/good")
        await engine.complete(asking(model=name))

    with_engine(server, act)

    first, last = server.bodies[-2:]
    assert (first["priority"], first["cache_salt"], first["truncate_prompt_tokens"]) == (-2, "s", 5)
    assert last["model"].startswith("a@")
    assert last["cache_salt"] not in (None, "s")


def test_errors_of_the_server_are_motets():
    """A model it has not, and a text too long; with its length. Others go on."""

    async def act(engine):
        with pytest.raises(ModelNotFoundError, match="serves m"):
            await engine.complete(asking(model="other"))
        found = await asyncio.gather(
            *(engine.complete(asking("x" * n)) for n in (1, 101, 2)), return_exceptions=True
        )
        assert [type(each).__name__ for each in found] == ["Reply", "PromptTooLongError", "Reply"]
        assert isinstance(found[1], PromptTooLongError)
        assert found[1].prompt_tokens == 101

    with_engine(FakePooler("embed"), act)


def test_a_server_that_fails_is_told():
    """A 500 is a failure that may pass."""

    async def act(engine, server):
        with pytest.raises(EngineUnavailableError, match="500"):
            await engine.complete(asking())

    on_stub(act, faults=Faults(error_500=1.0))


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"embedding": [1.0]}, {"embedding": [1.0]}],
        [{"index": 0}],
        [{"embedding": []}],
        [{"embedding": [None]}],
        [{"embedding": ["1.5"]}],
        [{"embedding": [[1.0]]}],
        [{"embedding": [float("nan")]}],
        [{"embedding": [10**400]}],
        [{"embedding": "!"}],
        [{"embedding": ""}],
        [{"embedding": None}],
        None,
    ],
)
def test_what_is_no_vector_is_a_garbled_reply(data):
    with pytest.raises(GarbledReplyError, match="embedding"):
        read_embedding({"data": data})


def test_what_an_embedding_uses_is_known_before_to_the_token():
    """As the server counts it, with a chat's last turn closed."""

    async def act(engine):
        for given in (CHAT, "ab#", (97, 98)):
            request = asking(given)
            most = await engine.most_usage(request)
            used = (await engine.complete(request)).usage
            assert (most.prompt_tokens, most.completion_tokens) == (used.prompt_tokens, 0)

    with_engine(FakePooler("embed"), act)


def run_on(server, act):
    async def running():
        async with serving(server) as url:
            return await act(url)

    return asyncio.run(running())


def test_a_program_asks_for_embeddings_within_its_budget():
    """The server is found to be one by the run itself; one token less is refused unpaid."""

    async def act(url):
        bound = text_of.on(Model(url)).embeddings()
        result = await motet.arun(bound("abc"), store=None, budget=Budget(max_tokens=3))
        with pytest.raises(RunFailedError, match="max_tokens"):
            await motet.arun(bound("abc"), store=None, budget=Budget(max_tokens=2))
        return result

    server = FakePooler("embed")
    result = run_on(server, act)

    assert result.value == Embedding((3.0, -1.0))
    assert result.usage.prompt_tokens == 3
    assert len([body for body in server.bodies if body["input"] == "abc"]) == 1


def test_plan_asks_a_server_whether_it_embeds():
    """Only one that does not is a problem of the program."""

    async def act(url):
        ref = text_of.on(Model(url)).embeddings()("q")
        return await asyncio.to_thread(lambda: motet.plan(ref).problems)

    assert run_on(FakePooler("embed"), act) == ()
    for other in (FakeVLLM(), FakePooler("classify")):
        [problem] = run_on(other, act)
        assert isinstance(problem, CapabilityError)
        assert "embed" in str(problem)

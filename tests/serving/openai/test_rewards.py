"""Rewards over HTTP: what a pooling server is asked, and what its numbers become."""

from __future__ import annotations

import asyncio

import pytest

import motet
from motet import Budget, Message, Model, prompt
from motet.engine import Capability, Request, Sampling, Usage
from motet.errors import (
    CapabilityError,
    ConfigError,
    GarbledReplyError,
    ModelNotFoundError,
    PromptTooLongError,
    RunFailedError,
)
from motet.serving.openai.rewards import read_rewards
from motet.testing.stub_server import StubServer
from motet.types import Rewards
from tests.serving.openai.fake_vllm import FakePooler, FakeVLLM, serving, with_engine

CHAT = (Message.user("q"), Message.assistant("a#b#"))
CLOSED = "<user>q.<assistant>a#b#."


@prompt(user="{{ question }}", assistant="{{ answer }}")
def judged(question: str, answer: str) -> str:
    raise NotImplementedError


def asking(given=CHAT, *, model=None, is_rewarded=True, extra=None, **fields):
    sampling = Sampling(extra=extra or {})
    return Request(model=model, prompt=given, sampling=sampling, is_rewarded=is_rewarded, **fields)


def test_a_whole_text_has_one_row_and_its_tokens_are_counted():
    """The last turn is closed, no turn is begun behind it, and nothing is activated."""
    server = FakePooler("classify", num_classes=2)

    reply = with_engine(server, lambda engine: engine.complete(asking()))

    assert reply.rewards == ((len(CLOSED), len(CLOSED) + 1),)
    assert reply.completions == ()
    assert reply.usage == Usage(len(CLOSED), 0, 0, 1)
    assert reply.model == "m"
    body = server.bodies[-1]
    assert (body["task"], body["use_activation"]) == ("classify", False)


def test_a_process_reward_model_has_a_row_for_each_tag():
    """Also none at all, which is not this floor's matter."""
    server = FakePooler("token_classify")

    tagged = with_engine(server, lambda engine: engine.complete(asking()))
    bare = with_engine(server, lambda engine: engine.complete(asking((Message.user("q"),))))

    assert tagged.rewards == ((CLOSED.index("#") + 1,), (CLOSED.rindex("#") + 1,))
    assert bare.rewards == ()


@pytest.mark.parametrize("given", ["ab#", (97, 98, 35)])
def test_texts_and_token_ids_are_rewarded_as_they_are(given):
    """No template stands around them."""
    reply = with_engine(FakePooler("classify"), lambda engine: engine.complete(asking(given)))

    assert reply.rewards == ((3.0,),)


@pytest.mark.parametrize("has_schema", [True, False])
@pytest.mark.parametrize("task", ["classify", "token_classify"])
def test_a_pooling_server_can_reward_and_nothing_else(task, has_schema):
    """Whether or not it shows its schema."""
    server = FakePooler(task, has_schema=has_schema)

    async def act(engine):
        await engine.prepare()
        return engine

    engine = with_engine(server, act)

    more = {Capability.REWARD, Capability.PREFIX_CACHE, Capability.LORA}
    assert engine.capabilities == more
    assert engine.context_tokens == 100


@pytest.mark.parametrize("has_schema", [True, False])
def test_a_server_of_embeddings_neither_rewards_nor_completes(has_schema):
    """It is a pooler whose numbers are no rewards."""
    server = FakePooler("embed", has_schema=has_schema)

    async def act(engine):
        await engine.prepare()
        assert not {Capability.REWARD, Capability.LOGPROBS} & engine.capabilities
        with pytest.raises(ConfigError, match="pooler"):
            await engine.complete(asking(is_rewarded=False))
        with pytest.raises(ConfigError, match="no reward model"):
            await engine.complete(asking())

    with_engine(server, act)

    assert [body["input"] for body in server.bodies] == ["a"]  # by which it was found out


@pytest.mark.parametrize("is_prepared", [True, False])
@pytest.mark.parametrize("given", [CHAT, "text"])
def test_a_completion_on_a_pooling_server_is_refused_with_the_reason(given, is_prepared):
    """Also where nobody asked before what the server is."""

    async def act(engine):
        if is_prepared:
            await engine.prepare()
        with pytest.raises(ConfigError, match="runs its model as a pooler"):
            await engine.complete(asking(given, is_rewarded=False))
        with pytest.raises(ConfigError, match="runs its model as a pooler"):
            await engine.tokens()

    server = FakePooler("classify")
    with_engine(server, act)

    sent = [path for path in server.paths if path.endswith("/completions")]
    assert len(sent) == (not is_prepared)


def test_servers_that_complete_are_no_reward_models():
    """vLLM's, with and without a schema, and others."""

    async def act(engine):
        await engine.prepare()
        assert Capability.REWARD not in engine.capabilities
        assert Capability.STREAM in engine.capabilities
        with pytest.raises(ConfigError, match="no reward model"):
            await engine.complete(asking())

    async def on_stub():
        async with StubServer() as server:
            engine = motet.serving.openai.connect(server.url)
            await act(engine)
            await engine.aclose()

    for has_schema in (True, False):
        server = FakeVLLM(has_schema=has_schema)
        with_engine(server, act)
        assert server.paths.count("/pooling") == (not has_schema)
    asyncio.run(on_stub())


def test_settings_of_vllm_travel_and_unknown_ones_are_refused():
    """Priority, salt, an adapter's own salt, and a field that the server has."""
    server = FakePooler("classify")

    async def act(engine):
        await engine.complete(
            asking(priority=-2, cache_salt="s", extra={"truncate_prompt_tokens": 5})
        )
        with pytest.raises(ConfigError, match="'best_of'"):
            await engine.complete(asking(extra={"best_of": 2}))
        with pytest.raises(ConfigError, match="'task'"):
            await engine.complete(asking(extra={"task": "embed"}))
        name = await engine.load_adapter("a", "/good")
        await engine.complete(asking(model=name))

    with_engine(server, act)

    first, last = server.bodies[-2:]
    assert (first["priority"], first["cache_salt"], first["truncate_prompt_tokens"]) == (-2, "s", 5)
    assert last["model"].startswith("a@")
    assert last["cache_salt"] not in (None, "s")


def test_errors_of_the_server_are_motets():
    """A model it has not, and a prompt too long; with its length."""

    async def act(engine):
        with pytest.raises(ModelNotFoundError, match="serves m"):
            await engine.complete(asking(model="other"))
        with pytest.raises(PromptTooLongError) as caught:
            await engine.complete(asking("x" * 101))
        assert caught.value.prompt_tokens == 101

    with_engine(FakePooler("classify"), act)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "data": [1.0]}, {"index": 1, "data": [1.0]}],
        [{"index": 0}],
        [{"index": 0, "data": "1234"}],
        [{"index": 0, "data": [None]}],
        [{"index": 0, "data": [[1.0], []]}],
        [{"index": 0, "data": [[1.0], 2.0]}],
        [{"index": 0, "data": [float("nan")]}],
        [{"index": 0, "data": [[float("inf")]]}],
        [{"index": 0, "data": None}],
    ],
)
def test_what_are_no_rewards_is_a_garbled_reply(data):
    with pytest.raises(GarbledReplyError, match="rewards"):
        read_rewards({"data": data})


def test_what_a_reward_uses_is_known_before_to_the_token():
    """As the server counts it: with the last turn closed."""

    async def act(engine):
        for given in (CHAT, "ab#", (97, 98)):
            request = asking(given)
            most = await engine.most_usage(request)
            used = (await engine.complete(request)).usage
            assert (most.prompt_tokens, most.completion_tokens) == (used.prompt_tokens, 0)

    with_engine(FakePooler("classify"), act)


def run_on(server, act):
    async def running():
        async with serving(server) as url:
            return await act(url)

    return asyncio.run(running())


def test_a_program_asks_for_rewards_within_its_budget():
    """The server is found to be one by the run itself; one token less is refused unpaid."""
    size = len("<user>q.<assistant>a#.")

    async def act(url):
        bound = judged.on(Model(url)).rewards()
        result = await motet.arun(bound("q", "a#"), store=None, budget=Budget(max_tokens=size))
        with pytest.raises(RunFailedError, match="max_tokens"):
            await motet.arun(bound("q", "a#"), store=None, budget=Budget(max_tokens=size - 1))
        return result

    server = FakePooler("token_classify")
    result = run_on(server, act)

    assert result.value == Rewards((float(size - 1),))
    assert result.usage.prompt_tokens == size
    assert len([body for body in server.bodies if "messages" in body]) == 1


def test_plan_asks_a_server_whether_it_rewards():
    """Only one that does not is a problem of the program."""

    async def act(url):
        ref = judged.on(Model(url)).rewards()("q", "a")
        return await asyncio.to_thread(lambda: motet.plan(ref).problems)

    assert run_on(FakePooler("classify"), act) == ()
    for other in (FakeVLLM(), FakePooler("embed")):
        [problem] = run_on(other, act)
        assert isinstance(problem, CapabilityError)
        assert "reward" in str(problem)

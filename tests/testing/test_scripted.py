"""The scripted engine and the law checks."""

import asyncio

import pytest

from motet.engine import Capability, Completion, Request, Sampling, Usage
from motet.errors import ConfigError, EngineUnavailableError
from motet.testing import Delayed, ScriptedEngine, check_engine
from motet.types import Message


def ask(prompt, *, n: int = 1, **sampling) -> Request:
    return Request(model="m", prompt=prompt, sampling=Sampling(**sampling), n=n)


def texts(engine: ScriptedEngine, *requests: Request) -> list[list[str]]:
    async def act():
        return [[c.text for c in (await engine.complete(r)).completions] for r in requests]

    return asyncio.run(act())


def test_a_function_answers():
    """A script may be a function of the request."""
    engine = ScriptedEngine(lambda request: f"{request.model}: {request.prompt}")

    assert texts(engine, ask("hello")) == [["m: hello"]]


def test_a_table_answers_by_last_message_then_by_what_the_prompt_holds():
    """An exact key wins over one that is only part of the prompt; an unknown prompt is an error."""
    engine = ScriptedEngine({"blue": "part", "why blue?": "exact"})
    chat = (Message.system("be brief"), Message.user("why blue?"))

    assert texts(engine, ask(chat), ask("is it blue or red")) == [["exact"], ["part"]]
    with pytest.raises(ConfigError, match="no reply for the prompt 'green'"):
        texts(engine, ask("green"))


def test_a_list_is_taken_in_order_by_each_prompt():
    """Each prompt starts at the list's beginning, and a list that is used up is an error."""
    engine = ScriptedEngine(["one", "two"])

    assert texts(engine, ask("a"), ask("b"), ask("a")) == [["one"], ["one"], ["two"]]
    with pytest.raises(ConfigError, match="no more replies"):
        texts(engine, ask("a"))


def test_an_exception_is_raised():
    """An error in the script is raised, and the next reply is for the next attempt."""
    error = EngineUnavailableError("gone")
    engine = ScriptedEngine({"q": [error, "yes"]})

    with pytest.raises(EngineUnavailableError) as raised:
        texts(engine, ask("q"))

    assert raised.value is error
    assert texts(engine, ask("q")) == [["yes"]]


def test_n_completions_keep_their_order():
    """A tuple gives each completion its own text; another length than n is an error."""
    engine = ScriptedEngine({"q": ("a", Completion("b"), "c")})

    assert texts(engine, ask("q", n=3)) == [["a", "b", "c"]]
    with pytest.raises(ConfigError, match="2 completions were asked for"):
        texts(engine, ask("q", n=2))


def test_unscripted_texts_depend_on_prompt_seed_and_index():
    """Without a script equal requests get equal texts, and others get others."""
    requests = [ask("q", n=2, seed=1), ask("q", n=2, seed=2), ask("r", n=2, seed=1)]

    first, again = texts(ScriptedEngine(), *requests), texts(ScriptedEngine(), *requests)

    assert first == again
    assert len({text for group in first for text in group}) == 6


def test_stop_and_max_tokens_end_a_text():
    """Texts end at a stop text, or are cut off after `max_tokens` words."""

    async def act():
        engine = ScriptedEngine(lambda request: "one two three")
        return [
            (await engine.complete(request)).completions[0]
            for request in (ask("q", stop=(" three",)), ask("q", max_tokens=2))
        ]

    stopped, cut = asyncio.run(act())

    assert (stopped.text, stopped.finish_reason, stopped.stop_reason) == (
        "one two",
        "stop",
        " three",
    )
    assert (cut.text, cut.finish_reason) == ("one two ", "length")


def test_usage_counts_words():
    """Usage is the words of the prompt and of all completions, and one call."""
    engine = ScriptedEngine(["a b c"])

    reply = asyncio.run(engine.complete(ask("two words", n=2)))

    assert reply.usage == Usage(prompt_tokens=2, completion_tokens=6, calls=1)


def test_deltas_join_to_the_text():
    """With `on_delta`, each completion's text comes word by word."""
    deltas: list[tuple[int, str]] = []
    engine = ScriptedEngine({"q": ("a b", "c")})

    asyncio.run(engine.complete(ask("q", n=2), lambda index, text: deltas.append((index, text))))

    assert deltas == [(0, "a "), (0, "b"), (1, "c")]


def test_logprobs_come_where_asked_for():
    """Logprobs have an entry a word, with as many alternatives as asked for."""
    engine = ScriptedEngine(lambda request: "one two")

    async def act(num: int | None):
        return (await engine.complete(ask("q", logprobs=num))).completions[0].logprobs

    none, some = asyncio.run(act(None)), asyncio.run(act(3))

    assert none == ()
    assert [each.token for each in some] == ["one ", "two"]
    assert all(len(each.top) == 3 and each.logprob < 0 for each in some)


def test_calls_are_recorded():
    """Requests, the peak of calls in flight, and aborted calls can be read afterwards."""
    engine = ScriptedEngine({"slow": Delayed(30, "never"), "q": "yes"}, delay_s=0.001)

    async def act():
        slow = asyncio.ensure_future(engine.complete(ask("slow")))
        await asyncio.gather(*(engine.complete(ask("q")) for _ in range(4)))
        slow.cancel()
        await asyncio.wait([slow])

    asyncio.run(act())

    assert [request.prompt for request in engine.requests] == ["slow", "q", "q", "q", "q"]
    assert (engine.peak_in_flight, engine.in_flight, engine.num_aborted) == (5, 0, 1)


def test_the_scripted_engine_keeps_the_laws():
    """`check_engine` has nothing against the double itself."""
    engine = ScriptedEngine(delay_s=0.02)

    asyncio.run(check_engine(engine))

    assert engine.num_aborted == 1


class Unordered(ScriptedEngine):
    async def complete(self, request, on_delta=None):
        reply = await super().complete(request, on_delta)
        return type(reply)(reply.completions[::-1], reply.usage)


class Deaf(ScriptedEngine):
    async def complete(self, request, on_delta=None):
        try:
            return await super().complete(request, on_delta)
        except asyncio.CancelledError:
            raise RuntimeError("not now") from None


class Foreign(ScriptedEngine):
    async def complete(self, request, on_delta=None):
        if request.model:
            raise KeyError(request.model)
        return await super().complete(request, on_delta)


class Short(ScriptedEngine):
    async def complete(self, request, on_delta=None):
        reply = await super().complete(request, on_delta)
        return type(reply)(reply.completions[:1], reply.usage)


class Guessing(ScriptedEngine):
    async def count_tokens(self, prompt):
        return 1.5


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (Unordered, "joined by index"),
        (Deaf, "CancelledError"),
        (Foreign, "foreign KeyError"),
        (Short, "1 completions came, not 3"),
        (Guessing, "count_tokens"),
    ],
)
def test_broken_engines_are_found(broken, law):
    """`check_engine` names the law that an engine breaks."""
    engine = broken(delay_s=0.02)

    with pytest.raises(AssertionError, match=law):
        asyncio.run(check_engine(engine))


def test_capabilities_are_settable():
    """A double may claim less, so that refusals can be tested."""
    engine = ScriptedEngine(name="plain", capabilities=frozenset({Capability.SEED}))

    assert (engine.capabilities, engine.url) == (frozenset({Capability.SEED}), "scripted:plain")

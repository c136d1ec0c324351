"""Next tokens over HTTP, against a server whose logprobs depend on the whole prefix."""

import json
import math

import pytest
from aiohttp import web

from motet.engine import Capability, Request, Sampling
from motet.errors import CapabilityError, ConfigError, GarbledReplyError, PromptTooLongError
from motet.types import Message
from tests.serving.openai.fake_vllm import EOS, FIELDS, FakeVLLM, logprob, with_engine

PROMPT = (10, 11, 12)
WHOLE = 1000


def tell(server, *requests):
    async def act(engine):
        await engine.tokens()
        server.bodies.clear()
        server.paths.clear()
        return [await engine.complete(each) for each in requests]

    return with_engine(server, act)


def asked(k, *, prompt=PROMPT, written=(), sampling=None, **fields):
    return Request(
        model=None,
        prompt=prompt,
        sampling=sampling or Sampling(),
        next_tokens=k,
        written=written,
        **fields,
    )


def ranked(prefix):
    return sorted(range(WHOLE), key=lambda token: (-logprob(prefix, token), token))


def test_the_likeliest_come_with_the_end_whatever_it_weighs():
    server = FakeVLLM()

    [reply] = tell(server, asked(3, written=(97, 98), priority=2, cache_salt="s"))

    told, prefix = reply.next_tokens, (*PROMPT, 97, 98)
    assert list(told.ids) == [*ranked(prefix)[:3], EOS]
    assert list(told.logprobs) == [logprob(prefix, token) for token in told.ids]
    assert told.ends == (EOS,)
    assert told.text == "ab"
    [body] = server.bodies
    assert body["prompt"] == list(prefix)
    assert (body["max_tokens"], body["allowed_token_ids"], body["logprobs"]) == (1, [EOS], 3)
    assert (body["priority"], body["cache_salt"]) == (2, "s")
    assert reply.usage.prompt_tokens == 5
    assert reply.usage.calls == 1


def test_the_whole_vocabulary_comes_by_id():
    server = FakeVLLM(max_logprobs=WHOLE)

    [reply] = tell(server, asked(-1, are_texts_wanted=False))

    told = reply.next_tokens
    assert list(told.ids) == list(range(WHOLE))
    assert list(told.logprobs) == pytest.approx([logprob(PROMPT, t) for t in range(WHOLE)])
    assert told.texts == ()


@pytest.mark.parametrize(("k", "told"), [(21, "21 tokens"), (-1, "the whole vocabulary")])
def test_a_server_that_tells_fewer_is_an_error_that_names_its_flag(k, told):
    with pytest.raises(CapabilityError, match=f"{told}.*max allowed: 20.*--max-logprobs -1"):
        tell(FakeVLLM(), asked(k))


def test_chat_and_texts_are_asked_for_once():
    """The chat's ids and each token's text stay known, so a token costs one request."""
    server = FakeVLLM()
    chat = (Message.user("q"),)

    replies = tell(server, asked(5, prompt=chat), asked(5, prompt=chat), asked(5, prompt=chat))

    assert server.paths.count("/tokenize") == 1
    assert server.paths.count("/detokenize") == 2  # the texts, and that of the end between them
    assert server.paths.count("/v1/completions") == 3
    for reply in replies:
        told = reply.next_tokens
        assert told.texts == tuple("" if t == EOS else chr(t) for t in told.ids)


def test_texts_are_right_where_the_end_cannot_part_them():
    """Where a token's own text holds that of the end, each is asked for by itself."""

    class Odd:
        def decode(self, ids, skip_special_tokens):
            return "".join("<end>" if token == EOS else f"<end>{token}" for token in ids)

    server = FakeVLLM(tokenizer=Odd())

    [reply] = tell(server, asked(3))

    told = reply.next_tokens
    assert told.texts == tuple("" if token == EOS else f"<end>{token}" for token in told.ids)


def test_a_server_without_the_fields_does_not_say_that_it_can():
    fields = tuple(field for field in FIELDS if field != "allowed_token_ids")

    async def act(engine):
        await engine.prepare()
        return engine.capabilities

    assert Capability.NEXT_TOKENS in with_engine(FakeVLLM(), act)
    assert Capability.NEXT_TOKENS not in with_engine(FakeVLLM(fields=fields), act)


def test_settings_that_do_not_go_with_next_tokens_are_refused():
    cases = [
        (asked(0), ConfigError, "next_tokens is 0"),
        (asked(3, n=2), ConfigError, "does not go with n"),
        (asked(3, sampling=Sampling(extra={"odd": 1})), ConfigError, "holds 'odd'"),
        (asked(3, sampling=Sampling(extra={"logprobs": 1})), ConfigError, "holds 'logprobs'"),
        (asked(3, written=(5,) * 100), PromptTooLongError, "100 tokens"),
    ]
    for wrong, error, message in cases:
        with pytest.raises(error, match=message):
            tell(FakeVLLM(), wrong)


def test_what_it_may_use_is_known_before():
    server = FakeVLLM()

    async def act(engine):
        await engine.prepare()
        return await engine.most_usage(asked(3, written=(5, 6)))

    usage = with_engine(server, act)

    assert (usage.prompt_tokens, usage.completion_tokens) == (5, 1)


GARBAGE = {
    "no choice": lambda choices: [],
    "two choices": lambda choices: choices * 2,
    "no logprobs": lambda choices: [shown(choices[0], {})],
    "NaN": lambda choices: [shown(choices[0], {"token_id:1": math.nan, "token_id:2": -1.0})],
    "inf": lambda choices: [shown(choices[0], {"token_id:1": math.inf})],
    "above 0": lambda choices: [shown(choices[0], {"token_id:1": 3.0})],
    "null": lambda choices: [shown(choices[0], {"token_id:1": None})],
    "an id below 0": lambda choices: [shown(choices[0], {"token_id:-5": -1.0})],
    "a text": lambda choices: [shown(choices[0], {"one": -1.0})],
}


def shown(choice, top):
    return choice | {"logprobs": choice["logprobs"] | {"top_logprobs": [top]}}


@pytest.mark.parametrize("k", [3, -1])
@pytest.mark.parametrize("garbled", list(GARBAGE.values()), ids=list(GARBAGE))
def test_a_reply_that_is_no_distribution_is_garbled_and_may_be_asked_again(garbled, k):
    class Garbling(FakeVLLM):
        is_garbled = False

        async def complete(self, request, body):
            reply = await super().complete(request, body)
            if not self.is_garbled:
                return reply
            told = json.loads(reply.body)
            told["choices"] = garbled(told["choices"])
            return web.Response(text=json.dumps(told), content_type="application/json")

    server = Garbling(max_logprobs=WHOLE)

    async def act(engine):
        await engine.tokens()
        server.is_garbled = True
        return await engine.complete(asked(k, are_texts_wanted=False))

    with pytest.raises(GarbledReplyError) as failed:
        with_engine(server, act)
    assert failed.value.retryable

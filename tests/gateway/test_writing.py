"""Replies in OpenAI's form: what an engine told stands in the answer and in the last chunk."""

import json

import pytest

from motet.engine import Completion, Reply, TokenLogprob, Usage
from motet.gateway.reading import read_request
from motet.gateway.writing import event, last_chunk, write_reply
from motet.types import ToolCall

CALLED = Completion(
    text="", finish_reason="tool_calls", tool_calls=(ToolCall("c1", "add", '{"a": 1}'),),
    reasoning="hm",
)  # fmt: skip


def asked(**more):
    body = {"model": "m", "messages": [{"role": "user", "content": "q"}], **more}
    return read_request(body, is_chat=True, max_tokens=5)


def test_calls_of_tools_stand_in_the_message_and_in_the_last_chunk():
    reply = Reply((CALLED,), Usage(3, 2, 1, 1))
    body = write_reply(reply, asked(), {"id": "x"})
    chunk = last_chunk(0, CALLED, is_chat=True)

    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    message = body["choices"][0]["message"]
    assert message["tool_calls"] == [call]
    assert message["content"] is None
    assert message["reasoning_content"] == chunk["delta"]["reasoning_content"] == "hm"
    assert body["choices"][0]["finish_reason"] == chunk["finish_reason"] == "tool_calls"
    assert chunk["delta"]["tool_calls"] == [{"index": 0, **call}]
    assert body["usage"] == {
        "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "told"),
    [("stop", "stop"), ("length", "length"), ("refusal", "content_filter"), ("abort", "stop")],
)
def test_reasons_to_end_are_those_that_openai_has(reason, told):
    completion = Completion(text="t", finish_reason=reason, refusal="no")

    assert last_chunk(0, completion, is_chat=True)["finish_reason"] == told
    assert last_chunk(0, completion, is_chat=True)["delta"]["refusal"] == "no"
    assert last_chunk(0, completion, is_chat=False) == {
        "index": 0, "text": "", "finish_reason": told,
    }  # fmt: skip


def test_logprobs_are_told_where_they_were_asked_for():
    completion = Completion(text="é", logprobs=(TokenLogprob("é", -0.5, top=(("e", -1.0),)),))
    reply = Reply((completion,), Usage())

    told = write_reply(reply, asked(logprobs=True, top_logprobs=1), {})["choices"][0]
    silent = write_reply(reply, asked(), {})["choices"][0]

    [token] = told["logprobs"]["content"]
    assert (token["token"], token["logprob"], token["bytes"]) == ("é", -0.5, [195, 169])
    assert token["top_logprobs"][0]["token"] == "e"
    assert silent["logprobs"] is None


@pytest.mark.parametrize("text", ["a\n\nb", "data: [DONE]\n\n", "\ud800", "\u2028\r", "x" * 10**5])
def test_a_text_stays_inside_its_event(text):
    """No text of a model ends an event, or begins another."""
    written = event({"text": text})

    assert written.startswith(b"data: ")
    assert written.endswith(b"\n\n")
    assert written.count(b"\n") == 2
    assert json.loads(written[6:]) == {"text": text}

"""Requests as JSON bodies."""

import json
from typing import Any

import pytest

from motet.engine import Constraint, Request, Sampling
from motet.errors import ConfigError
from motet.serving.openai.bodies import write_request
from motet.types import Message, ToolCall

USER = (Message.user("hi"),)


def write(prompt: Any = USER, *, is_streamed: bool = False, **fields: Any):
    fields.setdefault("sampling", Sampling(max_tokens=5))
    request = Request(model="m", prompt=prompt, **fields)
    path, content = write_request(request, "m", is_streamed=is_streamed)
    return path, json.loads(content)


def test_a_plain_chat_has_nothing_that_was_not_asked_for():
    """Settings left to the engine are not sent."""
    assert write() == (
        "/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5},
    )


def test_texts_and_token_ids_go_to_completions():
    """A raw text and token ids are prompts of the other endpoint."""
    assert write("once") == ("/completions", {"model": "m", "prompt": "once", "max_tokens": 5})
    assert write((1, 2))[1]["prompt"] == [1, 2]


def test_every_sampling_setting_is_sent():
    """Each setting has its field of the API."""
    sampling = Sampling(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        max_tokens=7,
        stop=("a", "b"),
        seed=3,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        repetition_penalty=1.1,
        extra={"cache_salt": "x", "vllm_xargs": {"k": [1]}},
    )

    body = write(sampling=sampling, n=3, priority=-2)[1]

    assert body | {"model": 0, "messages": 0} == {
        "model": 0,
        "messages": 0,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "max_tokens": 7,
        "stop": ["a", "b"],
        "seed": 3,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "repetition_penalty": 1.1,
        "n": 3,
        "priority": -2,
        "cache_salt": "x",
        "vllm_xargs": {"k": [1]},
    }


def test_logprobs_differ_by_endpoint():
    """Chat takes a flag and a number, completions a number; 0 asks for the chosen token only."""
    sampling = Sampling(logprobs=0)

    assert write(sampling=sampling)[1].items() >= {"logprobs": True, "top_logprobs": 0}.items()
    assert write("x", sampling=sampling)[1]["logprobs"] == 0


def test_an_unfinished_turn_is_continued():
    """A chat that ends with the assistant's turn asks to go on with that turn."""
    body = write((*USER, Message.assistant("The answer ")))[1]

    assert body["continue_final_message"] is True
    assert body["add_generation_prompt"] is False
    assert body["messages"][-1] == {"role": "assistant", "content": "The answer "}


def test_tool_turns():
    """Tool calls and their answers are written in the API's form."""
    call = Message("assistant", "", (ToolCall("c1", "f", "{}"),))
    answer = Message("tool", "42", tool_call_id="c1")

    messages = write((*USER, call, answer))[1]["messages"]

    function = {"name": "f", "arguments": "{}"}
    assert messages[1]["tool_calls"] == [{"id": "c1", "type": "function", "function": function}]
    assert messages[2] == {"role": "tool", "content": "42", "tool_call_id": "c1"}


@pytest.mark.parametrize(
    ("constraint", "field", "expected"),
    [
        (Constraint("choice", ("a", "b")), "structured_outputs", {"choice": ["a", "b"]}),
        (Constraint("regex", "a+"), "structured_outputs", {"regex": "a+"}),
        (Constraint("grammar", "start: x"), "structured_outputs", {"grammar": "start: x"}),
        (
            Constraint("json_schema", {"type": "object"}),
            "response_format",
            {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": {"type": "object"}, "strict": True},
            },
        ),
    ],
)
def test_constraints(constraint, field, expected):
    """JSON schemas go by the standard's field, the others by vLLM's."""
    assert write(constraint=constraint)[1][field] == expected


def test_streaming_asks_for_usage():
    """A stream reports its usage too."""
    body = write(is_streamed=True)[1]

    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("name", ["model", "messages", "n", "stream", "max_tokens", "seed", "echo"])
def test_extra_fields_do_not_override(name):
    """A field that motet sets itself may not stand in `extra`; the error names it."""
    with pytest.raises(ConfigError, match=f"'{name}'"):
        write(sampling=Sampling(seed=1, extra={name: 1}))


def test_requests_that_cannot_be_carried():
    """Decoding rules, empty prompts and values that are no JSON are refused before sending."""

    class Rule:
        identity = "cfg(1.5)"

        def __call__(self, prompt_ids, output_ids, logits):
            return logits

    with pytest.raises(ConfigError, match=r"cfg\(1.5\)"):
        write(sampling=Sampling(decoding=(Rule(),)))
    with pytest.raises(ConfigError, match="empty"):
        write(())
    with pytest.raises(ConfigError, match="JSON"):
        write(sampling=Sampling(extra={"x": float("nan")}))
    with pytest.raises(ConfigError, match="JSON"):
        write(sampling=Sampling(extra={"x": object()}))  # type: ignore[dict-item]

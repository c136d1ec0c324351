"""Whole and streamed replies, read from JSON values."""

import math

import pytest

from motet.engine import TokenLogprob, Usage
from motet.errors import GarbledReplyError
from motet.serving.openai.replies import decode, read_reply
from motet.serving.openai.streams import StreamedReply
from motet.types import ToolCall


def choice(content="hi", finish="stop", index=0, **fields):
    message = {"role": "assistant", "content": content} | fields.pop("message", {})
    return {"index": index, "message": message, "finish_reason": finish, **fields}


def read(*choices, n=None, **fields):
    return read_reply({"choices": list(choices), **fields}, n=n or len(choices), model="asked")


def test_a_plain_reply():
    """Text, finish reason, usage and model are read; the engine's own model name wins."""
    usage = {
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 16},
    }

    reply = read(choice(stop_reason="END"), usage=usage, model="served")

    assert reply.completions[0].text == "hi"
    assert reply.completions[0].stop_reason == "END"
    assert reply.usage == Usage(20, 5, 16, 1)
    assert (reply.model, read(choice()).model) == ("served", "asked")


def test_choices_are_sorted_by_index():
    """Completions come in index order, whatever the server's order is."""
    reply = read(choice("b", index=1), choice("c", index=2), choice("a", index=0))

    assert [each.text for each in reply.completions] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("eos_token", "stop"),
        ("length", "length"),
        ("content_filter", "refusal"),
        ("tool_calls", "tool_calls"),
        ("abort", "abort"),
    ],
)
def test_finish_reasons(said, meant):
    """The servers' finish reasons are put into motet's words."""
    assert read(choice(finish=said)).completions[0].finish_reason == meant


def test_a_refusal():
    """A null content with a refusal is an outcome, not a garbled reply."""
    completion = read(choice(None, message={"refusal": "I must not"})).completions[0]

    assert (completion.text, completion.finish_reason) == ("", "refusal")
    assert completion.refusal == "I must not"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart(name):
    """Thinking that the server parted from the text is no text, under either name."""
    completion = read(choice(None, "length", message={name: "hmm"})).completions[0]

    assert (completion.text, completion.reasoning) == ("", "hmm")


def test_tool_calls():
    """Tool calls are read as data; their arguments may be malformed JSON."""
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{oops"}}]

    completion = read(choice(None, "tool_calls", message={"tool_calls": calls})).completions[0]

    assert completion.tool_calls == (ToolCall("c1", "f", "{oops"),)
    assert (completion.text, completion.finish_reason) == ("", "tool_calls")


def test_logprobs_of_chat_and_of_completions():
    """Both forms give the same values, best first, with token ids where they fit."""
    expected = (
        TokenLogprob("a", -0.5, 7, (("a", -0.5), ("b", -1.5))),
        TokenLogprob("c", -2.0, 8, (("d", -0.1), ("c", -2.0))),
    )
    tops = [[("b", -1.5), ("a", -0.5)], [("c", -2.0), ("d", -0.1)]]
    chat = {
        "content": [
            {
                "token": token,
                "logprob": logprob,
                "top_logprobs": [{"token": t, "logprob": p} for t, p in top],
            }
            for (token, logprob), top in zip([("a", -0.5), ("c", -2.0)], tops, strict=True)
        ]
    }
    text = {
        "tokens": ["a", "c"],
        "token_logprobs": [-0.5, -2],
        "top_logprobs": [dict(top) for top in tops],
    }

    from_chat = read(choice(logprobs=chat, token_ids=[7, 8])).completions[0]
    from_text = read(
        {"index": 0, "text": "ac", "finish_reason": "stop", "logprobs": text, "token_ids": [7, 8]}
    ).completions[0]

    assert from_chat.logprobs == from_text.logprobs == expected
    assert from_chat.token_ids == (7, 8)


def test_missing_usage_is_never_estimated():
    """Without usage, completion tokens are the logprobs that came, else 0."""
    logprobs = {"content": [{"token": "a", "logprob": -1.0}] * 3}

    assert read(choice(logprobs=logprobs)).usage == Usage(0, 3, 0, 1)
    assert read(choice("many words here")).usage == Usage(0, 0, 0, 1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [choice(), choice(index=1)]},
        {"choices": ["text"]},
        {"choices": [{"finish_reason": "stop"}]},
        {"choices": [choice(None)]},
        {"choices": [choice(3)]},
        {"choices": [choice([{"type": "text"}])]},
        {"choices": [choice(finish=None)]},
        {"choices": [choice(finish="whatever")]},
        {"choices": [choice(finish=["stop"])]},
        {"choices": [{"message": "hi", "finish_reason": "stop"}]},
        {"choices": [choice(message={"refusal": 3})]},
        {"choices": [choice(message={"tool_calls": [{"id": 1}]})]},
        {"choices": [choice(message={"tool_calls": 7})]},
        {"choices": [choice(token_ids="ab")]},
        {"choices": [choice(logprobs={"content": [{"token": "a"}]})]},
        {"choices": [choice(logprobs={"tokens": ["a"], "token_logprobs": []})]},
        {"choices": [choice(logprobs=[1])]},
        {"choices": [choice()], "usage": "much"},
        {"choices": [choice()], "usage": {"prompt_tokens": -1}},
        {"choices": [choice()], "usage": {"completion_tokens": "3"}},
    ],
    ids=str,
)
def test_a_body_that_breaks_the_promise(body):
    """Every departure from the API's form is a garbled reply."""
    with pytest.raises(GarbledReplyError):
        read_reply(body, n=1, model="m")


@pytest.mark.parametrize("indices", [(0, 0), (1, 2), (None, 1), (0, "1")])
def test_indices_must_be_complete(indices):
    """Two choices have the indices 0 and 1, each once."""
    with pytest.raises(GarbledReplyError):
        read(*(choice(index=index) for index in indices))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"x"', b"\xff", b"{" * 10**5, b"null"])
def test_a_body_that_is_no_json_object(body):
    """Anything but a JSON object is a garbled reply, quoted in short."""
    with pytest.raises(GarbledReplyError) as raised:
        decode(body)

    assert len(str(raised.value)) < 700


def stream(*events, n=1):
    deltas: list[tuple[int, str]] = []
    joined = StreamedReply(n, lambda index, text: deltas.append((index, text)))
    for event in events:
        joined.add({"choices": event} if isinstance(event, list) else event)
    return deltas, joined


def test_a_stream_joins_to_the_same_reply():
    """Deltas of several choices, logprobs, tool calls and usage add up to one body."""
    entry = {"token": "a", "logprob": -1.0}
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{"}}
    deltas, joined = stream(
        [{"index": 0, "delta": {"role": "assistant", "content": ""}}],
        [{"index": 1, "delta": {"reasoning_content": "hm"}}],
        [{"index": 0, "delta": {"content": "on"}, "logprobs": {"content": [entry]}}],
        [{"index": 1, "delta": {"tool_calls": [call]}}],
        [{"index": 1, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}}],
        [{"index": 0, "delta": {"content": "e"}, "logprobs": {"content": [entry]}}],
        [{"index": 1, "delta": {}, "finish_reason": "tool_calls"}],
        [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "!"}],
        {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 9}},
        n=2,
    )

    reply = read_reply(joined.body(), n=2, model="m")

    assert deltas == [(0, "on"), (0, "e")]
    assert joined.is_finished
    assert reply.completions[0].text == "one"
    assert reply.completions[0].stop_reason == "!"
    assert len(reply.completions[0].logprobs) == 2
    assert reply.completions[1].reasoning == "hm"
    assert reply.completions[1].tool_calls == (ToolCall("c1", "f", "{}"),)
    assert reply.usage == Usage(4, 9, 0, 1)


def test_a_stream_of_raw_text():
    """The pieces of `/completions` join too, logprobs included."""
    part = {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"a": -1.0}]}

    _, joined = stream(
        [{"index": 0, "text": "a", "logprobs": part}],
        [{"index": 0, "text": "b", "logprobs": dict(part, tokens=["b"]), "finish_reason": "stop"}],
    )

    completion = read_reply(joined.body(), n=1, model="m").completions[0]
    assert completion.text == "ab"
    assert [each.token for each in completion.logprobs] == ["a", "b"]
    assert math.isclose(sum(each.logprob for each in completion.logprobs), -2.0)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"choices": 3},
        {"choices": ["x"]},
        {"choices": [{"index": 5, "delta": {}}]},
        {"choices": [{"index": "0", "delta": {}}]},
        {"choices": [{"index": 0}]},
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"index": 0, "delta": {"content": 3}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 4}]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": ["x"]}}]},
    ],
    ids=str,
)
def test_an_event_that_breaks_the_promise(event):
    """A malformed event is a garbled reply."""
    with pytest.raises(GarbledReplyError):
        stream(event)


def test_an_error_of_the_callback_is_the_callers():
    """What `on_delta` raises is not taken for a garbled reply."""

    def fail(index: int, text: str) -> None:
        raise KeyError(text)

    with pytest.raises(KeyError):
        StreamedReply(1, fail).add({"choices": [{"index": 0, "delta": {"content": "x"}}]})

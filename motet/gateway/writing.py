"""Replies in OpenAI's form: whole, or as the chunks of a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from motet.engine import Completion, Reply, Usage
from motet.gateway.reading import Asked


def head(
    identity: str, created: int, model: str, *, is_chat: bool, is_chunk: bool
) -> dict[str, Any]:
    """Return what every body and every chunk begins with."""
    kind = "chat.completion" if is_chat else "text_completion"
    suffix = ".chunk" if is_chat and is_chunk else ""
    return {"id": identity, "object": kind + suffix, "created": created, "model": model}


def write_reply(reply: Reply, asked: Asked, start: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a whole answer."""
    choices = [
        _choice(index, completion, asked) for index, completion in enumerate(reply.completions)
    ]
    return {**start, "choices": choices, "usage": write_usage(reply.usage)}


def write_usage(usage: Usage) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.tokens,
    }
    if usage.cached_tokens:
        shown["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return shown


def first_chunk(index: int) -> dict[str, Any]:
    return {"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}


def text_chunk(index: int, text: str, *, is_chat: bool) -> dict[str, Any]:
    shown = {"delta": {"content": text}} if is_chat else {"text": text}
    return {"index": index, **shown, "finish_reason": None}


def last_chunk(index: int, completion: Completion, *, is_chat: bool) -> dict[str, Any]:
    """Return the chunk that ends a choice; what engines tell at the end only stands in it."""
    if not is_chat:
        return {"index": index, "text": "", "finish_reason": _finish(completion)}
    delta: dict[str, Any] = {}
    if completion.tool_calls:
        calls = _tool_calls(completion)
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
    if completion.refusal is not None:
        delta["refusal"] = completion.refusal
    if completion.reasoning is not None:
        delta["reasoning_content"] = completion.reasoning
    return {"index": index, "delta": delta, "finish_reason": _finish(completion)}


def event(data: Mapping[str, Any] | str) -> bytes:
    """Return a server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data)
    return f"data: {text}\n\n".encode()


def _choice(index: int, completion: Completion, asked: Asked) -> dict[str, Any]:
    shown: dict[str, Any] = {"index": index}
    if asked.is_chat:
        message: dict[str, Any] = {"role": "assistant", "content": completion.text}
        if completion.tool_calls:
            message["tool_calls"] = _tool_calls(completion)
            message["content"] = completion.text or None
        message["refusal"] = completion.refusal
        if completion.reasoning is not None:
            message["reasoning_content"] = completion.reasoning
        shown["message"] = message
    else:
        shown["text"] = completion.text
    shown["finish_reason"] = _finish(completion)
    if completion.stop_reason is not None:
        shown["stop_reason"] = completion.stop_reason
    shown["logprobs"] = _logprobs(completion, asked)
    return shown


def _finish(completion: Completion) -> str:
    return {"refusal": "content_filter", "abort": "stop"}.get(
        completion.finish_reason, completion.finish_reason
    )


def _tool_calls(completion: Completion) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in completion.tool_calls
    ]


def _logprobs(completion: Completion, asked: Asked) -> dict[str, Any] | None:
    if "logprobs" not in asked.settings:
        return None
    if asked.is_chat:
        return {
            "content": [
                {
                    **_token(each.token, each.logprob),
                    "top_logprobs": [_token(*top) for top in each.top],
                }
                for each in completion.logprobs
            ]
        }
    return {
        "tokens": [each.token for each in completion.logprobs],
        "token_logprobs": [each.logprob for each in completion.logprobs],
        "top_logprobs": [dict(each.top) for each in completion.logprobs],
    }


def _token(token: str, logprob: float) -> dict[str, Any]:
    shown = list(token.encode("utf-8", "surrogatepass"))
    return {"token": token, "logprob": logprob, "bytes": shown}

"""Replies of OpenAI's API, whole or streamed, read into motet's values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from motet.engine import Completion, FinishReason, Reply, TokenLogprob, Usage
from motet.errors import GarbledReplyError
from motet.types import ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping

_FINISH_REASONS: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "content_filter": "refusal",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "abort": "abort",
}
_QUOTED_CHARACTERS = 120


def decode(body: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise GarbledReplyError(f"the reply is no JSON: {quote(body)}") from exc
    if not isinstance(decoded, dict):
        raise GarbledReplyError(f"the reply is no JSON object: {quote(body)}")
    return decoded


def quote(body: bytes) -> str:
    text = body[: _QUOTED_CHARACTERS * 4].decode("utf-8", "replace")
    return repr(text[:_QUOTED_CHARACTERS])


def read_reply(body: Mapping[str, Any], *, n: int, model: str) -> Reply:
    """Read a whole reply to a request for `n` completions.

    The tokens are those that the server reports. Where it reports none, completion tokens are
    the logprobs or token ids that came with the text, else 0: they are never estimated.

    Raises:
        GarbledReplyError: the body is not what the API promises.
    """
    choices = body.get("choices")
    if not isinstance(choices, list):
        raise GarbledReplyError("the reply has no choices")
    if len(choices) != n:
        raise GarbledReplyError(f"the reply has {len(choices)} choices; {n} were asked for")
    if n == 1:
        completions: tuple[Completion, ...] = (_read_choice(choices[0]),)
    else:
        placed = {_index(choice): choice for choice in choices}
        if placed.keys() != set(range(n)):
            raise GarbledReplyError(f"the choices have the indices {sorted(placed)}, not 0 to n-1")
        completions = tuple(_read_choice(placed[index]) for index in range(n))
    named = body.get("model")
    return Reply(
        completions,
        read_usage(body.get("usage"), completions),
        named if isinstance(named, str) and named else model,
    )


def _index(choice: Any) -> int:
    index = choice.get("index") if isinstance(choice, dict) else None
    if type(index) is not int:
        raise GarbledReplyError("a choice has no index")
    return index


def _read_choice(choice: Any) -> Completion:
    if not isinstance(choice, dict):
        raise GarbledReplyError("a choice is no object")
    named = choice.get("finish_reason")
    finish = _FINISH_REASONS.get(named) if isinstance(named, str) else None
    if finish is None:
        raise GarbledReplyError(f"a choice has the finish reason {named!r}")
    refusal = reasoning = None
    tool_calls: tuple[ToolCall, ...] = ()
    if "message" in choice:
        message = choice["message"]
        if not isinstance(message, dict):
            raise GarbledReplyError("a choice's message is no object")
        text = message.get("content")
        refusal = _optional_text(message, "refusal")
        # vLLM renamed the field in 2026.
        reasoning = _optional_text(message, "reasoning_content") or _optional_text(
            message, "reasoning"
        )
        if message.get("tool_calls"):
            tool_calls = _read_tool_calls(message["tool_calls"])
        if refusal is not None:
            finish = "refusal"
        if text is None and (tool_calls or reasoning or finish in ("refusal", "length")):
            text = ""
    else:
        text = choice.get("text")
    if not isinstance(text, str):
        raise GarbledReplyError(f"a choice's text is {type(text).__name__}, not a string")
    token_ids = _read_token_ids(choice.get("token_ids"))
    logprobs = choice.get("logprobs")
    stop_reason = choice.get("stop_reason")
    return Completion(
        text,
        finish,
        stop_reason if isinstance(stop_reason, str) else None,
        token_ids,
        _read_logprobs(logprobs, token_ids) if logprobs is not None else (),
        refusal,
        reasoning,
        tool_calls,
    )


def _optional_text(message: Mapping[str, Any], name: str) -> str | None:
    value = message.get(name)
    if value is not None and not isinstance(value, str):
        raise GarbledReplyError(f"a message's {name} is {type(value).__name__}, not a string")
    return value


def _read_tool_calls(calls: Any) -> tuple[ToolCall, ...]:
    try:
        return tuple(
            ToolCall(
                str(call.get("id") or ""),
                _text(call["function"]["name"]),
                _text(call["function"]["arguments"]),
            )
            for call in calls
        )
    except (AttributeError, KeyError, TypeError) as exc:
        raise GarbledReplyError("a choice's tool calls are malformed") from exc


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _read_token_ids(ids: Any) -> tuple[int, ...]:
    if ids is None:
        return ()
    if not isinstance(ids, list) or not all(type(token) is int for token in ids):
        raise GarbledReplyError("a choice's token ids are no list of numbers")
    return tuple(ids)


def _read_logprobs(logprobs: Any, token_ids: tuple[int, ...]) -> tuple[TokenLogprob, ...]:
    """Read both forms: chat's `content` of objects, and the parallel lists of completions."""
    try:
        if "tokens" in logprobs:
            tops = logprobs.get("top_logprobs") or ()
            rows = [
                (token, logprob, tops[place].items() if tops and tops[place] else ())
                for place, (token, logprob) in enumerate(
                    zip(logprobs["tokens"], logprobs["token_logprobs"], strict=True)
                )
            ]
        else:
            rows = [
                (
                    entry["token"],
                    entry["logprob"],
                    [(top["token"], top["logprob"]) for top in entry.get("top_logprobs") or ()],
                )
                for entry in logprobs.get("content") or ()
            ]
        has_ids = len(token_ids) == len(rows)
        return tuple(
            TokenLogprob(
                _text(token),
                float(logprob),
                token_ids[place] if has_ids else None,
                tuple(sorted(((t, float(p)) for t, p in top), key=lambda pair: -pair[1])),
            )
            for place, (token, logprob, top) in enumerate(rows)
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
        raise GarbledReplyError("a choice's logprobs are malformed") from exc


def read_usage(usage: Any, completions: tuple[Completion, ...] = ()) -> Usage:
    """Read what a request took; without the server's word, count what came with the text."""
    if usage is None:
        counted = sum(len(each.logprobs) or len(each.token_ids) for each in completions)
        return Usage(0, counted, 0, 1)
    if not isinstance(usage, dict):
        raise GarbledReplyError("the reply's usage is no object")
    details = usage.get("prompt_tokens_details")
    return Usage(
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
        _count(details, "cached_tokens") if isinstance(details, dict) else 0,
        1,
    )


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    if value is None:
        return 0
    if type(value) is not int or value < 0:
        raise GarbledReplyError(f"the reply's {name} is {value!r}")
    return value

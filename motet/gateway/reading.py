"""Requests in OpenAI's form, read into what motet's engines take; nothing is dropped silently."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from motet.engine import Constraint, Request, Sampling
from motet.errors import ConfigError
from motet.gateway.refusals import Refusal
from motet.types import Chat, Message, Role, ToolCall

_SAMPLING: Final = (
    *("temperature", "top_p", "top_k", "min_p", "seed", "stop", "presence_penalty"),
    *("frequency_penalty", "repetition_penalty"),
)
"""Fields that are settings of motet's own, under the same name."""
_PASSED: Final = (
    *("tools", "tool_choice", "parallel_tool_calls", "logit_bias", "reasoning_effort"),
    *("user", "chat_template_kwargs", "stop_token_ids", "ignore_eos", "min_tokens"),
)
"""Fields that an engine over HTTP sends on as they are; other engines refuse them by name."""
_SHARED: Final = (*_SAMPLING, *_PASSED, "model", "stream", "stream_options", "n", "max_tokens")
CHAT_FIELDS: Final = frozenset(
    {
        *_SHARED,
        *("messages", "logprobs", "top_logprobs", "max_completion_tokens", "response_format"),
        *("continue_final_message", "add_generation_prompt"),
    }
)
TEXT_FIELDS: Final = frozenset({*_SHARED, "prompt", "logprobs"})
MOST_COMPLETIONS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A completion request."""

    model: str
    prompt: Chat | str | tuple[int, ...]
    settings: Mapping[str, Any]
    """Of the sampling, as far as the client said."""
    n: int
    constraint: Constraint | None
    is_streamed: bool
    has_usage: bool
    """Whether a stream is to end with the usage."""

    @property
    def is_chat(self) -> bool:
        first = self.prompt[0] if self.prompt else None
        return isinstance(first, Message)

    def request(self, name: str | None, sampling: Sampling) -> Request:
        """Return the engine's request.

        Args:
            name: Of the model at its engine.
            sampling: The model's defaults, which the client's settings go over.
        """
        return Request(
            model=name,
            prompt=self.prompt,
            sampling=sampling.updated(self.settings),
            n=self.n,
            constraint=self.constraint,
        )


def read_body(data: bytes) -> dict[str, Any]:
    """Return the body's object.

    Raises:
        Refusal: It is no JSON object.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise Refusal(400, f"the body is no JSON: {exc}", "invalid_json") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object", "invalid_json")
    return body


def read_request(body: dict[str, Any], *, is_chat: bool, max_tokens: int) -> Asked:
    """Read the body of `/chat/completions`, or of `/completions`. A null is as if it were absent.

    Args:
        max_tokens: Where the client names none.

    Raises:
        Refusal: A field is unknown or wrong; names it.
    """
    given = {name: value for name, value in body.items() if value is not None}
    known = CHAT_FIELDS if is_chat else TEXT_FIELDS
    for name in given:
        if name not in known:
            raise Refusal(400, f"unknown setting {name!r:.80}", "unknown_parameter", name[:80])
    model = _text(given, "model")
    prompt = _chat(given) if is_chat else _prompt(given)
    is_streamed = _flag(given, "stream")
    has_usage = _has_usage(given, is_streamed=is_streamed)
    constraint, settings = _format(given.pop("response_format", None))
    settings |= {name: given[name] for name in _SAMPLING if name in given}
    settings["max_tokens"] = _max_tokens(given, max_tokens)
    logprobs = _logprobs(given, is_chat=is_chat)
    if logprobs is not None:
        if is_streamed:
            raise _wrong("logprobs", "it does not go with stream: engines tell them at the end")
        settings["logprobs"] = logprobs
    n = given.get("n", 1)
    if type(n) is not int or not 1 <= n <= MOST_COMPLETIONS:
        raise _wrong("n", f"it is {n!r}; it must be a whole number from 1 to {MOST_COMPLETIONS}")
    extra = {name: given[name] for name in _PASSED if name in given} | settings.pop("extra", {})
    if extra:
        settings["extra"] = extra
    try:
        Sampling().updated(settings)
    except ConfigError as exc:
        raise Refusal(400, str(exc), "invalid_value", str(exc).split(" ", 1)[0]) from None
    return Asked(
        model=model,
        prompt=prompt,
        settings=settings,
        n=n,
        constraint=constraint,
        is_streamed=is_streamed,
        has_usage=has_usage,
    )


def _wrong(name: str, why: str) -> Refusal:
    return Refusal(400, f"{name}: {why}", "invalid_value", name)


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise _wrong(name, f"it is {value!r:.80}; it must be a text")
    return value


def _flag(given: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise _wrong(name, f"it is {value!r:.80}; it must be true or false")
    return value


def _has_usage(given: Mapping[str, Any], *, is_streamed: bool) -> bool:
    options = given.get("stream_options", {})
    if not isinstance(options, dict):
        raise _wrong("stream_options", f"it is {options!r:.80}; it must be an object")
    if options and not is_streamed:
        raise _wrong("stream_options", "it goes with stream only")
    for name in options:
        if name != "include_usage":
            raise _wrong(f"stream_options.{name}", "it is unknown")
    return _flag(options, "include_usage")


def _max_tokens(given: Mapping[str, Any], default: int) -> Any:
    names = [name for name in ("max_tokens", "max_completion_tokens") if name in given]
    if len(names) > 1:
        raise _wrong("max_completion_tokens", "max_tokens is given too, which is the same")
    return given[names[0]] if names else default


def _logprobs(given: Mapping[str, Any], *, is_chat: bool) -> Any:
    if not is_chat:
        return given.get("logprobs")
    if not _flag(given, "logprobs"):
        if "top_logprobs" in given:
            raise _wrong("top_logprobs", "it needs logprobs: true")
        return None
    return given.get("top_logprobs", 0)


def _format(value: Any) -> tuple[Constraint | None, dict[str, Any]]:
    """Return `response_format` as a constraint, or as a field that is passed on."""
    if value is None:
        return None, {}
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return None, {}
    if kind == "json_object":
        return None, {"extra": {"response_format": value}}
    if kind != "json_schema":
        raise _wrong(
            "response_format", f"it is {value!r:.80}; its type must be text, json_object or "
            "json_schema"
        )  # fmt: skip
    told = value.get("json_schema")
    schema = told.get("schema") if isinstance(told, dict) else None
    if not isinstance(schema, dict):
        raise _wrong("response_format", "json_schema must hold an object as its schema")
    return Constraint("json_schema", schema), {}


def _prompt(given: Mapping[str, Any]) -> str | tuple[int, ...]:
    value = given.get("prompt")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], (str, list)):
        value = value[0]
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(type(each) is int for each in value):
        return tuple(value)
    if isinstance(value, list) and len(value) > 1:
        raise _wrong("prompt", f"it holds {len(value)} prompts; send one a request")
    raise _wrong("prompt", f"it is {value!r:.80}; it must be a text or a list of token ids")


def _chat(given: Mapping[str, Any]) -> Chat:
    turns = given.get("messages")
    if not isinstance(turns, list) or not turns:
        raise _wrong("messages", f"it is {turns!r:.80}; it must be a list of messages")
    chat = tuple(_message(turn, f"messages[{place}]") for place, turn in enumerate(turns))
    is_continued = _flag(given, "continue_final_message")
    if _flag(given, "add_generation_prompt", not is_continued) == is_continued:
        raise _wrong("add_generation_prompt", "it must be the contrary of continue_final_message")
    if (chat[-1].role == "assistant") != is_continued:
        raise _wrong(
            "messages",
            "the last is an assistant's exactly where continue_final_message is true",
        )
    return chat


_ASIDE: Final = ("reasoning", "reasoning_content")
"""What servers write beside an assistant's reply, and clients send back: no part of the chat."""


def _message(turn: Any, place: str) -> Message:
    if not isinstance(turn, dict):
        raise _wrong(place, f"it is {turn!r:.80}; it must be an object")
    given = {name: value for name, value in turn.items() if value is not None}
    for name in list(given):
        if given.get("role") == "assistant" and (name in _ASIDE or given[name] == []):
            del given[name]
        elif name not in ("role", "content", "tool_calls", "tool_call_id"):
            raise _wrong(f"{place}.{name}", "it is unknown here")
    role = given.get("role")
    if role not in get_args(Role):
        known = ", ".join(get_args(Role))
        raise _wrong(f"{place}.role", f"it is {role!r:.80}; it must be one of {known}")
    calls = given.get("tool_calls", [])
    if calls and role != "assistant":
        raise _wrong(f"{place}.tool_calls", "only an assistant's message has them")
    if not isinstance(calls, list):
        raise _wrong(f"{place}.tool_calls", "it must be a list")
    call_id = given.get("tool_call_id")
    if (role == "tool") != isinstance(call_id, str):
        raise _wrong(f"{place}.tool_call_id", "a tool's message, and no other, has one, a text")
    if "content" not in given and not calls:
        raise _wrong(f"{place}.content", "it is missing")
    return Message(
        cast("Role", role),
        _content(given.get("content", ""), f"{place}.content"),
        tuple(_tool_call(call, f"{place}.tool_calls[{i}]") for i, call in enumerate(calls)),
        call_id,
    )


def _content(value: Any, place: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise _wrong(place, f"it is {value!r:.80}; it must be a text or a list of parts")
    texts = []
    for index, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(text, str) or len(part) > 2:
            raise _wrong(f"{place}[{index}]", f"its type is {kind!r:.80}; only texts are taken")
        texts.append(text)
    return "".join(texts)


def _tool_call(value: Any, place: str) -> ToolCall:
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(function, dict) or value.get("type", "function") != "function":
        raise _wrong(place, "it must be a call of a function")
    identity, name, arguments = (
        value.get("id"), function.get("name"), function.get("arguments")
    )  # fmt: skip
    if not (isinstance(identity, str) and isinstance(name, str) and isinstance(arguments, str)):
        raise _wrong(place, "id, name and arguments must be texts")
    return ToolCall(identity, name, arguments)

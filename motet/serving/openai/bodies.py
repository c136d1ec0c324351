"""Requests, written as the JSON bodies of OpenAI's API with vLLM's extra fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from motet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motet.engine import Constraint, Request
    from motet.serving.openai.detection import ServerFacts
    from motet.types import JSON, Chat, Message

CHAT_PATH = "/chat/completions"
TEXT_PATH = "/completions"
POOLING_PATH = "/pooling"
"""Below the server's root, as vLLM has it."""

PLAIN_FIELDS: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)
_OWN_FIELDS = frozenset(
    {
        *("echo", "input", "messages", "model", "n", "prompt", "stream", "stream_options"),
        *("embed_dtype", "encoding_format", "endianness"),
    }
)
"""Fields that would change the reply's form, set by motet in this request or not."""

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode
"""ASCII only, so lone surrogates and control characters travel as escapes."""


def write_request(
    request: Request, model: str, *, is_streamed: bool, facts: ServerFacts | None = None
) -> tuple[str, bytes]:
    """Return the path below the base url, and the body to post there.

    Args:
        request: What to ask for.
        model: The model's name at the server.
        is_streamed: Whether the reply comes in events.
        facts: What is known of the server; vLLM's own fields are used where it is one.

    Raises:
        ConfigError: the request asks for what this API, or this server, cannot carry.
    """
    sampling = request.sampling
    if sampling.decoding:
        names = ", ".join(rule.identity for rule in sampling.decoding)
        raise ConfigError(f"decoding is {names}; an OpenAI-compatible server takes no such rules")
    body: dict[str, Any] = {"model": model}
    path = _write_prompt(request.prompt, body)
    body["max_tokens"] = sampling.max_tokens
    for name in PLAIN_FIELDS:
        value = getattr(sampling, name)
        if value is not None:
            body[name] = value
    if request.n != 1:
        body["n"] = request.n
    if sampling.stop:
        body["stop"] = sampling.stop
    if sampling.logprobs is not None:
        if path is CHAT_PATH:
            body["logprobs"] = True
            body["top_logprobs"] = sampling.logprobs
        else:
            body["logprobs"] = sampling.logprobs
    if request.constraint is not None:
        body |= constraint_fields(request.constraint, facts)
    if request.priority:
        body["priority"] = request.priority
    if is_streamed:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    add_extra(body, sampling.extra)
    if facts is not None:
        known = facts.chat_fields if path is CHAT_PATH else facts.text_fields
        check_extra(sampling.extra, known, facts.version)
        body = _server_fields(request.cache_salt, model, facts) | body
    return path, encode(body)


def add_extra(body: dict[str, Any], extra: Mapping[str, JSON]) -> None:
    """Put `extra` into `body`.

    Raises:
        ConfigError: It names a field that is there already, or is motet's own.
    """
    for name, value in extra.items():
        if name in body or name in _OWN_FIELDS:
            raise ConfigError(f"sampling.extra holds {name!r}, a field that motet sets itself")
        body[name] = value


def check_extra(extra: Mapping[str, JSON], known: frozenset[str] | None, version: str) -> None:
    """Refuse fields that the server has not, since vLLM passes over them without a word.

    Raises:
        ConfigError: names the field.
    """
    for name in extra if known is not None else ():
        if name not in known:  # type: ignore[operator]
            raise ConfigError(f"sampling.extra holds {name!r}, which vLLM {version} would ignore")


def write_reward(request: Request, model: str, facts: ServerFacts) -> bytes:
    """Write the body of vLLM's `/pooling` that asks for the model's numbers before activation.

    Raises:
        ConfigError: the request asks for what this server cannot carry.
    """
    body: dict[str, Any] = {"model": model, "task": facts.reward_task, "use_activation": False}
    write_whole(request.prompt, body, "input")
    if request.priority:
        body["priority"] = request.priority
    salt = facts.salt(request.cache_salt, model)
    if salt is not None:
        body["cache_salt"] = salt
    extra = request.sampling.extra
    add_extra(body, extra)
    check_extra(extra, facts.pooling_fields, facts.version)
    return encode(body)


def write_count(prompt: Chat | str, model: str, *, is_whole: bool = False) -> bytes:
    """Write the body of vLLM's `/tokenize`; a whole prompt is not to be gone on with."""
    body: dict[str, Any] = {"model": model}
    if is_whole:
        write_whole(prompt, body, "prompt")
    else:
        _write_prompt(prompt, body)
    return encode(body)


def encode(body: dict[str, Any]) -> bytes:
    try:
        return _encode(body).encode("ascii")
    except (TypeError, ValueError, RecursionError) as exc:
        raise ConfigError(f"the request holds a value that JSON has not: {exc}") from exc


def _write_prompt(prompt: Chat | str | tuple[int, ...], body: dict[str, Any]) -> str:
    if isinstance(prompt, str):
        body["prompt"] = prompt
        return TEXT_PATH
    if not prompt:
        raise ConfigError("the prompt is empty; it must hold a message or a token")
    last = prompt[-1]
    if isinstance(last, int):
        body["prompt"] = prompt
        return TEXT_PATH
    body["messages"] = [_write_message(message) for message in prompt]  # type: ignore[arg-type]
    if last.role == "assistant":
        body["continue_final_message"] = True
        body["add_generation_prompt"] = False
    return CHAT_PATH


def write_whole(
    prompt: Chat | str | tuple[int, ...], body: dict[str, Any], text_field: str
) -> None:
    if _write_prompt(prompt, body) is CHAT_PATH:
        body.pop("continue_final_message", None)
        body["add_generation_prompt"] = False
    else:
        body[text_field] = body.pop("prompt")


def _write_message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        written["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written


def constraint_fields(constraint: Constraint, facts: ServerFacts | None) -> dict[str, Any]:
    """Write a constraint as fields of a request.

    Raises:
        ConfigError: this version of vLLM would ignore them.
    """
    is_schema = constraint.kind == "json_schema"
    if facts is not None and facts.is_vllm:
        if not facts.has("structured_outputs"):
            raise ConfigError(
                f"the constraint is {constraint.kind}; vLLM {facts.version} "
                "has no structured_outputs and would ignore it"
            )
        return {"structured_outputs": {"json" if is_schema else constraint.kind: constraint.value}}
    if not is_schema:
        return {"structured_outputs": {constraint.kind: constraint.value}}
    schema = {"name": "reply", "schema": constraint.value, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _server_fields(cache_salt: str | None, model: str, facts: ServerFacts) -> dict[str, Any]:
    """Ask vLLM for token ids, and keep an adapter's version to a prefix cache of its own."""
    fields: dict[str, Any] = {}
    if not facts.is_vllm:
        return fields
    if facts.has("return_token_ids"):
        fields["return_token_ids"] = True
    salt = facts.salt(cache_salt, model)
    if salt is not None:
        fields["cache_salt"] = salt
    return fields

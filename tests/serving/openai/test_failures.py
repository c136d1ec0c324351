"""Foreign errors and error replies, as motet's errors."""

import asyncio
import inspect
import json
import time
from email.utils import formatdate

import aiohttp
import httpx
import pytest

from motet.errors import (
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    GarbledReplyError,
    ModelNotFoundError,
    PromptTooLongError,
    RateLimitedError,
    RequestRejectedError,
)
from motet.serving.openai.failures import map_error_object, map_exception, map_status


def exceptions_of(module) -> list[type[Exception]]:
    found = {value for value in vars(module).values() if inspect.isclass(value)}
    return sorted(
        (value for value in found if issubclass(value, Exception) and value is not Warning),
        key=lambda value: value.__name__,
    )


def make(cls: type[Exception]) -> Exception:
    """Make one without its constructor's arguments, which differ from class to class."""
    members = {"__init__": lambda self: None, "__str__": lambda self: "told so"}
    error: Exception = type(cls.__name__, (cls,), members)()
    return error


FOREIGN = [
    *exceptions_of(httpx),
    *exceptions_of(aiohttp),
    *exceptions_of(aiohttp.http_exceptions),
    OSError,
    ConnectionResetError,
    TimeoutError,
    asyncio.TimeoutError,
    RuntimeError,
    ValueError,
]


@pytest.mark.parametrize("cls", FOREIGN, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_no_foreign_error_leaks(cls):
    """Every exception of httpx and aiohttp becomes an error of motet's engines."""
    error = make(cls)

    mapped = map_exception(error)

    assert isinstance(mapped, EngineError)
    assert type(mapped).__module__ == "motet.errors"


def test_the_cause_says_what_happened():
    """httpx-aiohttp calls every dropped connection a timeout; motet looks at the cause."""
    dropped = httpx.ConnectTimeout("")
    dropped.__cause__ = aiohttp.ServerDisconnectedError()
    late = httpx.ReadTimeout("")
    late.__cause__ = aiohttp.SocketTimeoutError("late")

    assert type(map_exception(dropped)) is EngineUnavailableError
    assert type(map_exception(late)) is EngineTimeoutError
    assert type(map_exception(httpx.ConnectTimeout("late"))) is EngineTimeoutError
    assert type(map_exception(httpx.ConnectError("refused"))) is EngineUnavailableError
    assert type(map_exception(httpx.DecodingError("bad gzip"))) is GarbledReplyError


def answer(status: int, message: str = "no", headers=None, **fields) -> EngineError:
    body = json.dumps({"error": {"message": message, **fields}}).encode()
    return map_status(status, body, httpx.Headers(headers))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, RequestRejectedError),
        (400, RequestRejectedError),
        (401, RequestRejectedError),
        (403, RequestRejectedError),
        (404, RequestRejectedError),
        (408, EngineTimeoutError),
        (409, RequestRejectedError),
        (422, RequestRejectedError),
        (429, RateLimitedError),
        (500, EngineUnavailableError),
        (502, EngineUnavailableError),
        (503, EngineUnavailableError),
        (504, EngineTimeoutError),
        (529, EngineUnavailableError),
    ],
)
def test_each_status_has_its_error(status, expected):
    """The error's class follows from the status, and its message quotes the server."""
    error = answer(status, "because I say so")

    assert type(error) is expected
    assert str(status) in str(error)
    assert status == 302 or "because I say so" in str(error)
    assert getattr(error, "status", status) == status


def test_an_unknown_model_is_told_from_an_unknown_path():
    """A 404 about the model is its own error; another 404 hints at the url."""
    by_message = answer(404, "The model `x` does not exist.", type="NotFoundError")
    by_code = answer(400, "what?", code="model_not_found")
    by_path = map_status(404, b'{"detail":"Not Found"}', {})

    assert type(by_message) is type(by_code) is ModelNotFoundError
    assert type(by_path) is RequestRejectedError
    assert "Not Found" in str(by_path)
    assert "/v1" in str(by_path)


def test_a_refused_key_says_how_to_give_one():
    """401 and 403 name the setting."""
    assert "api_key" in str(answer(401))
    assert "api_key" in str(answer(403))


def test_long_messages_are_cut():
    """At most 500 characters of the server's words are quoted, JSON or not."""
    in_json = answer(400, "x" * 10_000)
    plain = map_status(400, b"y" * 10_000, {})

    assert str(in_json).count("x") == 500
    assert str(plain).count("y") == 500


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[]", b'"text"', b'{"error": 3}', b'{"error": null}', b"[" * 10**5]
)
def test_any_body_may_come_with_an_error(body):
    """A status is mapped whatever the body is."""
    assert type(map_status(500, body, {})) is EngineUnavailableError


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3", 3.0), ("0.5", 0.5), ("0", 0.0), ("soon", None), ("-1", None), ("", None)],
)
def test_retry_after_in_seconds(value, expected):
    """Retry-After is read where it is a number, on 429 and on 5xx."""
    for status in (429, 503):
        error = answer(status, headers={"Retry-After": value})

        assert isinstance(error, (RateLimitedError, EngineUnavailableError))
        assert error.retry_after_s == expected


def test_retry_after_as_a_date():
    """Retry-After may be a date; one that has passed means now."""
    future = answer(429, headers={"retry-after": formatdate(time.time() + 10, usegmt=True)})
    past = answer(429, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})

    assert isinstance(future, RateLimitedError)
    assert isinstance(past, RateLimitedError)
    assert 8 < (future.retry_after_s or 0) <= 10
    assert past.retry_after_s == 0


@pytest.mark.parametrize(
    ("message", "prompt_tokens", "max_tokens"),
    [
        (
            (
                "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens"
                " (2000 in the messages, 1000 in the completion). Please reduce the length of the"
                " messages or completion."
            ),
            2000,
            2048,
        ),
        (
            "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens.",
            3000,
            2048,
        ),
        (
            (
                "This model's maximum context length is 4097 tokens, however you requested 4162 tokens"
                " (1090 in your prompt; 3072 for the completion). Please reduce your prompt."
            ),
            1090,
            4097,
        ),
        (
            (
                "This model's maximum context length is 262144 tokens. However, you requested 128000"
                " output tokens and your prompt contains at least 134145 input tokens, for a total of"
                " at least 262145 tokens. Please reduce the length of the input prompt."
            ),
            134145,
            262144,
        ),
        (
            (
                "This model's maximum context length is 2048 tokens. However, your request has 3000"
                " input tokens. Please reduce the length of the input messages."
            ),
            3000,
            2048,
        ),
        (
            (
                "'max_tokens' or 'max_completion_tokens' is too large: 4000. This model's maximum"
                " context length is 2048 tokens and your request has 100 input tokens"
                " (4000 > 2048 - 100)."
            ),
            100,
            2048,
        ),
        (
            "The decoder prompt (length 3000) is longer than the maximum model length of 2048.",
            3000,
            2048,
        ),
        (
            (
                "This model's maximum context length is 128000 tokens. However, your messages resulted"
                " in 130000 tokens."
            ),
            130000,
            128000,
        ),
        ("`inputs` must have less than 4095 tokens. Given: 5000", 5000, 4095),
        (
            "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
            5000,
            4096,
        ),
        ("the prompt is longer than the maximum context length", None, None),
    ],
)
def test_a_prompt_that_is_too_long(message, prompt_tokens, max_tokens):
    """The servers' ways of saying so are known, and both numbers are read where they stand."""
    error = answer(400, message)

    assert isinstance(error, PromptTooLongError)
    assert (error.prompt_tokens, error.max_tokens) == (prompt_tokens, max_tokens)


def test_llama_cpp_gives_the_numbers_as_fields():
    """Fields win over the text."""
    error = answer(
        400,
        "the request exceeds the available context size (4096 tokens), try increasing it",
        type="exceed_context_size_error",
        n_prompt_tokens=5000,
        n_ctx=4096,
    )

    assert isinstance(error, PromptTooLongError)
    assert (error.prompt_tokens, error.max_tokens) == (5000, 4096)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "boom", "code": 500}, EngineUnavailableError),
        ({"message": "boom"}, EngineUnavailableError),
        ("boom", EngineUnavailableError),
        ({"message": "slow", "code": 429}, RateLimitedError),
        ({"message": "slow", "code": "rate_limit_exceeded"}, RateLimitedError),
        ({"message": "bad", "code": 400}, RequestRejectedError),
        ({"message": "x", "code": "context_length_exceeded"}, PromptTooLongError),
        ({"message": "x", "code": "model_not_found"}, ModelNotFoundError),
    ],
)
def test_an_error_inside_a_proper_reply(error, expected):
    """An `error` that came with status 200 is mapped by its own code."""
    assert type(map_error_object(error)) is expected

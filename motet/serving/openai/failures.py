"""What goes wrong with an HTTP server, as motet's errors."""

from __future__ import annotations

import json
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import httpx

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

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUOTED_CHARACTERS = 500
_TIMEOUTS = (TimeoutError, httpx.TimeoutException)
_NOT_HTTP = (aiohttp.ClientResponseError, httpx.DecodingError, httpx.RemoteProtocolError)
_BAD_URL = (
    aiohttp.InvalidURL,
    aiohttp.TooManyRedirects,
    httpx.InvalidURL,
    httpx.TooManyRedirects,
    httpx.UnsupportedProtocol,
)
_CODE_STATUS: Final = {
    "context_length_exceeded": 400,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
}
_TOO_LONG = re.compile(
    r"maximum context length|maximum model length|context size|context_length_exceeded"
    r"|model's context length|prompt is too long|inputs` (?:tokens )?(?:\+|must have)",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"(?:maximum context length (?:is|of)|maximum model length of|context size \(|less than"
    r"|must be <=|context length \(|>)\s*(\d+)",
    re.IGNORECASE,
)
_PROMPT_TOKENS = (
    re.compile(r"\((\d+) in (?:the messages|your prompt|the prompt)", re.IGNORECASE),
    re.compile(
        r"(?:at least |has |contains |: )(\d+) (?:input tokens|tokens from the input)",
        re.IGNORECASE,
    ),
    re.compile(r"(?:resulted in|given:|prompt \(length|input \() ?(\d+)", re.IGNORECASE),
    re.compile(r"prompt is too long: (\d+)", re.IGNORECASE),
    re.compile(r"requested (?:a total of )?(\d+) tokens", re.IGNORECASE),
)
"""In order: the prompt's own tokens first, then those of prompt and completion together."""


def map_exception(exc: Exception) -> EngineError:
    """Turn any error of httpx or aiohttp into motet's own."""
    # httpx-aiohttp calls a dropped connection a ConnectTimeout; its cause has the truth.
    cause = exc.__cause__
    origin = cause if isinstance(cause, (aiohttp.ClientError, TimeoutError)) else exc
    described = f"{type(origin).__name__}: {origin}" if str(origin) else type(origin).__name__
    if isinstance(origin, _TIMEOUTS):
        return EngineTimeoutError(f"no answer in time ({described})")
    if isinstance(origin, _BAD_URL):
        return EngineError(f"the engine's url does not work ({described})")
    if isinstance(origin, _NOT_HTTP) and not isinstance(origin, aiohttp.ClientHttpProxyError):
        return GarbledReplyError(f"the reply is no proper HTTP ({described})")
    if isinstance(origin, aiohttp.ClientConnectorError) and origin.args:
        return EngineUnavailableError(
            f"nothing answers at {origin.host}:{origin.port} ({origin.os_error})"
        )
    return EngineUnavailableError(f"the connection dropped ({described})")


def map_status(status: int, body: bytes, headers: Mapping[str, str]) -> EngineError:
    """Turn a reply whose status is not 200 into an error."""
    error = _read_error(body)
    message = _message(error, body)
    if 300 <= status < 400:
        message = f"it redirects to {headers.get('location', 'nowhere')[:_QUOTED_CHARACTERS]}"
    return _map(status, message, error, _retry_after_s(headers))


def map_error_object(error: Any) -> EngineError:
    """Turn the `error` of a body or event that came with status 200 into an error."""
    fields = error if isinstance(error, dict) else {"message": str(error)}
    code = fields.get("code")
    status = code if type(code) is int else _CODE_STATUS.get(str(code), 500)
    return _map(status, _message(fields, b""), fields, None)


def _map(
    status: int, message: str, error: Mapping[str, Any], retry_after_s: float | None
) -> EngineError:
    said = f"the engine answered {status}: {message}"
    code = str(error.get("code") or error.get("type") or "")
    if status in (408, 504):
        return EngineTimeoutError(said)
    if status == 429:
        return RateLimitedError(said, retry_after_s=retry_after_s)
    if status >= 500 or status < 300:
        return EngineUnavailableError(said, retry_after_s=retry_after_s, status=status)
    if code == "model_not_found" or (status == 404 and "model" in f"{message} {code}".lower()):
        return ModelNotFoundError(said)
    if status in (400, 413, 422) and (_TOO_LONG.search(message) or _TOO_LONG.search(code)):
        return PromptTooLongError(
            said,
            prompt_tokens=_number(error, "n_prompt_tokens", _PROMPT_TOKENS, message),
            max_tokens=_number(error, "n_ctx", (_LIMIT,), message),
        )
    if status in (401, 403):
        said += " (give the engine's key as api_key)"
    elif status == 404:
        said += " (the url of most servers ends in /v1)"
    return RequestRejectedError(said, status=status)


def _read_error(body: bytes) -> dict[str, Any]:
    """Find the error object, whatever the server puts around it."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(decoded, dict):
        return {}
    error = decoded.get("error")
    if isinstance(error, dict):
        return error
    return decoded if error is None else {"message": error}


def _message(error: Mapping[str, Any], body: bytes) -> str:
    for name in ("message", "detail"):
        value = error.get(name)
        if value:
            return (value if isinstance(value, str) else json.dumps(value))[:_QUOTED_CHARACTERS]
    text = body[: _QUOTED_CHARACTERS * 4].decode("utf-8", "replace").strip()
    return text[:_QUOTED_CHARACTERS] or "no message"


def _number(
    error: Mapping[str, Any], field: str, patterns: tuple[re.Pattern[str], ...], message: str
) -> int | None:
    value = error.get(field)
    if type(value) is int:
        return value
    for pattern in patterns:
        found = pattern.search(message)
        if found:
            return int(found[1])
    return None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After`: seconds, or an HTTP date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value, re.ASCII):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None

"""What the gateway answers where it has no completion: errors in OpenAI's form."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from motet.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    GarbledReplyError,
    MotetError,
    PromptTooLongError,
    RateLimitedError,
    RequestRejectedError,
)

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_log = logging.getLogger(__name__)
_OF_KEYS = frozenset({401, 403})
_CLIENTS_FAULT = frozenset({400, 409, 413, 415, 422})
"""Statuses of an upstream server that are the request's own fault."""


class Refusal(Exception):
    """An answer that is no completion."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        """The field of the request that is wrong."""
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status)
        if kind is None:
            kind = "invalid_request_error" if self.status < 500 else "api_error"
        shown = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": shown}


def is_away(error: MotetError) -> bool:
    """Whether another model may answer where this one failed: it is not there, or is broken.

    A 429 is passed on: what a client is told to wait for must not burden the other models.
    """
    return isinstance(error, (EngineUnavailableError, EngineTimeoutError, GarbledReplyError))


def refusal_of(error: MotetError, member: str) -> Refusal:
    """Return what a client is told of `error`, which `member` failed with."""
    said = f"{member}: {error}"
    if isinstance(error, (ConfigError, CapabilityError)):
        return Refusal(400, said, "unsupported_parameter")
    if isinstance(error, PromptTooLongError):
        return Refusal(400, said, "context_length_exceeded")
    if isinstance(error, RateLimitedError):
        return Refusal(429, said, "rate_limit_exceeded", headers=_retry_after(error.retry_after_s))
    if isinstance(error, RequestRejectedError) and error.status in _OF_KEYS:
        _log.error("%s: %r", member, str(error))  # may tell the key: not for clients
        return Refusal(502, f"the server of {member} refused the gateway's key", "upstream_failed")
    if isinstance(error, RequestRejectedError) and error.status in _CLIENTS_FAULT:
        return Refusal(error.status, said, "upstream_refused")
    if isinstance(error, EngineTimeoutError):
        return Refusal(504, said, "upstream_timeout")
    if isinstance(error, EngineUnavailableError):
        status = 503 if error.is_away else 502
        headers = _retry_after(error.retry_after_s)
        return Refusal(status, said, "upstream_unavailable", headers=headers)
    if isinstance(error, EngineError):
        return Refusal(502, said, "upstream_failed")
    if isinstance(error, DataError):
        return Refusal(422, f"no model can be chosen: {error}", "no_model")
    return Refusal(500, said, "internal_error")


def _retry_after(seconds: float | None) -> dict[str, str]:
    is_told = seconds is not None and math.isfinite(seconds)
    return {"Retry-After": str(math.ceil(seconds))} if is_told else {}  # type: ignore[arg-type]

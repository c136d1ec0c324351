"""The gateway's HTTP server, on aiohttp.

aiohttp is a dependency already, as the client of engines over HTTP, and its server cancels a
handler when its client goes away, which aborts the engine's request. A framework for APIs would be
a further dependency for five routes, whose bodies motet checks itself.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from motet.engine import Capability, OnDelta, Reply
from motet.errors import ConfigError, DataError, MotetError
from motet.gateway.exchange import GONE, Exchange
from motet.gateway.members import Member
from motet.gateway.policy import Policy
from motet.gateway.reading import Asked, read_body, read_request
from motet.gateway.refusals import Refusal, is_away, refusal_of
from motet.gateway.writing import (
    event,
    first_chunk,
    head,
    last_chunk,
    text_chunk,
    write_reply,
    write_usage,
)
from motet.routing.decision_log import DecisionLog
from motet.search.settings import whole

ROUTER = "motet-router"
"""Name of the router among the models."""
_log = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the gateway takes, and grants."""

    max_tokens: int = 1024
    """Of a completion whose client names no number."""
    max_body_bytes: int = 8 * 2**20

    def __post_init__(self) -> None:
        whole("max_tokens", self.max_tokens)
        whole("max_body_bytes", self.max_body_bytes)


class Gateway:
    """Answers by the member that a policy chooses.

    Args:
        policy: Chooses.
        members: Who may answer, by name.
        log: Gets a line for each decision.
        has_text: Whether the log tells prompts; digests, else.
        has_fallback: Whether the next best member is asked where one is away.
        api_key: What clients must send; None lets everybody in.

    Raises:
        ConfigError: A member is called as the router.
    """

    def __init__(
        self,
        policy: Policy,
        members: Mapping[str, Member],
        *,
        log: DecisionLog | None = None,
        has_text: bool = False,
        has_fallback: bool = False,
        api_key: str | None = None,
        limits: Limits = Limits(),
    ) -> None:
        if ROUTER in members:
            raise ConfigError(f"model {ROUTER!r} is the router's own name; give it another")
        self._policy = policy
        self._members = dict(members)
        self._decisions = log
        self._has_text = has_text
        self._has_fallback = has_fallback
        self._api_key = api_key
        self._limits = limits
        self._created = int(time.time())
        self.in_flight = 0

    def app(self) -> web.Application:
        app = web.Application(
            client_max_size=self._limits.max_body_bytes, middlewares=[self._guard]
        )
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._on_chat),
                web.post("/v1/completions", self._on_text),
                web.get("/v1/models", self._on_models),
                web.get("/v1/models/{name:.+}", self._on_model),
                web.get("/health", self._on_health),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Have every failure leave as an error in OpenAI's form."""
        try:
            self._authenticate(request)
            return await handler(request)
        except Refusal as exc:
            refusal = exc
        except web.HTTPRequestEntityTooLarge:
            most = self._limits.max_body_bytes
            refusal = Refusal(413, f"the body is larger than {most} bytes", "too_large")
        except web.RequestPayloadError:
            refusal = Refusal(400, "the body is not encoded as its headers say", "invalid_body")
        except web.HTTPException as exc:
            refusal = Refusal(exc.status, f"{request.method} {request.path}: {exc.reason}")
        except ConnectionError:
            raise  # the client has gone
        except Exception:  # a bug must not end the connection without a word
            _log.exception("a request failed")
            refusal = _failed()
        return web.json_response(refusal.body(), status=refusal.status, headers=refusal.headers)

    def _authenticate(self, request: web.Request) -> None:
        if self._api_key is None or request.path == "/health":
            return
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        sent = key.strip().encode("utf-8", "surrogateescape")
        if kind.lower() != "bearer" or not hmac.compare_digest(sent, self._api_key.encode()):
            raise Refusal(401, "the API key is missing or wrong", "invalid_api_key")

    async def _on_health(self, request: web.Request) -> web.Response:
        log = self._decisions
        shown: dict[str, Any] = {"status": "ok", "in_flight": self.in_flight}
        if log is not None:
            shown["log"] = {"is_failing": log.is_failing, "num_lost": log.num_lost}
        return web.json_response(shown)

    async def _on_models(self, request: web.Request) -> web.Response:
        found = [self._model(name) for name in (ROUTER, *self._members)]
        return web.json_response({"object": "list", "data": found})

    async def _on_model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self._check_name(name)
        return web.json_response(self._model(name))

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "motet"}

    def _check_name(self, name: str) -> None:
        if name != ROUTER and name not in self._members:
            known = ", ".join((ROUTER, *self._members))
            raise Refusal(
                404,
                f"there is no model {name!r:.80}; there are {known}",
                "model_not_found",
                "model",
            )

    async def _on_chat(self, request: web.Request) -> web.StreamResponse:
        return await self._on_completion(request, is_chat=True)

    async def _on_text(self, request: web.Request) -> web.StreamResponse:
        return await self._on_completion(request, is_chat=False)

    async def _on_completion(self, request: web.Request, *, is_chat: bool) -> web.StreamResponse:
        started_s = time.monotonic()
        if request.content_type != "application/json":
            # A page of another site may send a form or plain text without asking, but no JSON.
            raise Refusal(
                415,
                f"Content-Type is {request.content_type!r:.80}; it must be application/json",
                "unsupported_media_type",
            )
        body = read_body(await request.read())
        asked = read_request(body, is_chat=is_chat, max_tokens=self._limits.max_tokens)
        self._check_name(asked.model)
        prefix = "chatcmpl" if is_chat else "cmpl"
        exchange = Exchange(id=f"{prefix}-{uuid.uuid4().hex}", asked=asked, started_s=started_s)
        self.in_flight += 1
        try:
            await self._route(exchange)
            if asked.is_streamed:
                return await self._stream(request, exchange)
            return await self._answer(exchange)
        except Refusal as exc:
            exchange.status, exchange.error = exc.status, exc.message
            if exchange.chosen:
                raise Refusal(
                    exc.status, exc.message, exc.code, exc.param,
                    {**exc.headers, "x-motet-id": exchange.id},
                ) from exc  # fmt: skip
            raise
        except (asyncio.CancelledError, ConnectionError):
            exchange.status, exchange.error = GONE, "the client went away"
            raise
        except Exception as exc:
            exchange.status, exchange.error = 500, type(exc).__name__
            raise
        finally:
            self.in_flight -= 1
            if exchange.chosen and self._decisions is not None:
                self._decisions.write(exchange.logged(has_text=self._has_text))

    async def _route(self, exchange: Exchange) -> None:
        """Find out who is to answer."""
        asked = exchange.asked
        if asked.model != ROUTER:
            exchange.chosen = exchange.current = asked.model
            return
        if isinstance(asked.prompt, tuple) and not asked.is_chat:
            raise Refusal(
                400, "prompt: token ids cannot be routed; name a model", "invalid_value", "prompt"
            )
        try:
            exchange.drawn = await self._policy.draw(asked.prompt)  # type: ignore[arg-type]
        except MotetError as exc:
            raise _unroutable(exc) from exc
        exchange.route_s = exchange.elapsed_s
        exchange.chosen = exchange.current = exchange.drawn.chosen

    async def _complete(self, exchange: Exchange, on_delta: OnDelta | None) -> Reply:
        """Ask the chosen member, and others where it is away and nothing was said yet."""
        while True:
            name = exchange.current
            member = self._members[name]
            try:
                _check_able(member, exchange.asked)
                reply = await member.complete(exchange.asked, on_delta)
            except MotetError as exc:
                other = self._next(exchange, exc)
                if other is None:
                    raise refusal_of(exc, name) from exc
                exchange.tried.append(name)
                exchange.current = other
            else:
                exchange.note_reply(member, reply)
                return reply

    def _next(self, exchange: Exchange, error: MotetError) -> str | None:
        has_begun = exchange.first_token_s is not None
        if not self._has_fallback or has_begun or not is_away(error):
            return None
        tried = (*exchange.tried, exchange.current)
        # Nothing was estimated for a client that named a member: that one is not replaced.
        return self._policy.next_best(exchange.estimates, tried)

    async def _answer(self, exchange: Exchange) -> web.Response:
        reply = await self._complete(exchange, None)
        body = write_reply(reply, exchange.asked, self._head(exchange, is_chunk=False))
        body["motet"] = exchange.shown()
        return web.json_response(body, headers=exchange.headers())

    async def _stream(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """Send server-sent events; what fails before the first of them is a plain error."""
        asked = exchange.asked
        items: asyncio.Queue[tuple[int, str] | Reply | Refusal] = asyncio.Queue()

        def on_delta(index: int, text: str) -> None:
            if exchange.first_token_s is None:
                exchange.first_token_s = round(exchange.elapsed_s, 6)
            items.put_nowait((index, text))

        async def produce() -> None:
            try:
                items.put_nowait(await self._complete(exchange, on_delta))
            except Refusal as exc:
                items.put_nowait(exc)
            except Exception:  # the stream may have begun, so it has to end as one
                _log.exception("a stream failed")
                items.put_nowait(_failed())

        producing = asyncio.create_task(produce())
        try:
            item = await items.get()
            if isinstance(item, Refusal):
                raise item
            response = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream; charset=utf-8",
                    "Cache-Control": "no-cache",
                    **exchange.headers(),
                }
            )
            await response.prepare(request)
            start = self._head(exchange, is_chunk=True)

            async def send(*choices: dict[str, Any]) -> None:
                await response.write(event({**start, "choices": list(choices)}))

            if asked.is_chat:
                for index in range(asked.n):
                    await send(first_chunk(index))
            while isinstance(item, tuple):
                await send(text_chunk(*item, is_chat=asked.is_chat))
                item = await items.get()
            if isinstance(item, Refusal):
                exchange.status, exchange.error = item.status, item.message
                await response.write(event(item.body()))
            else:
                for index, completion in enumerate(item.completions):
                    await send(last_chunk(index, completion, is_chat=asked.is_chat))
                if asked.has_usage:
                    usage = write_usage(item.usage)
                    await response.write(event({**start, "choices": [], "usage": usage}))
            await response.write(event("[DONE]"))
            await response.write_eof()
            return response
        finally:
            producing.cancel()
            await asyncio.wait([producing])

    def _head(self, exchange: Exchange, *, is_chunk: bool) -> dict[str, Any]:
        return head(
            exchange.id,
            int(time.time()),
            exchange.current,
            is_chat=exchange.asked.is_chat,
            is_chunk=is_chunk,
        )


def _check_able(member: Member, asked: Asked) -> None:
    """Refuse what an engine would pass over.

    Raises:
        ConfigError: Names the field.
    """
    able = member.engine.capabilities
    needed = {
        "logprobs": Capability.LOGPROBS if "logprobs" in asked.settings else None,
        "response_format": Capability.GRAMMAR if asked.constraint is not None else None,
        "seed": Capability.SEED if "seed" in asked.settings else None,
        "continue_final_message": Capability.CONTINUE if _is_continued(asked) else None,
    }
    for name, capability in needed.items():
        if capability is not None and capability not in able:
            raise ConfigError(f"the engine does not carry {name!r}")


def _is_continued(asked: Asked) -> bool:
    last = asked.prompt[-1] if asked.prompt else None
    return getattr(last, "role", None) == "assistant"


def _failed() -> Refusal:
    return Refusal(500, "the gateway failed; its log says why", "internal_error")


def _unroutable(error: MotetError) -> Refusal:
    if isinstance(error, (ConfigError, DataError)):
        return Refusal(422, f"the prompt cannot be routed: {error}", "no_model")
    return refusal_of(error, "the router's embedder")

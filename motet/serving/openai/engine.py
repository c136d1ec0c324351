"""The engine over HTTP: connections, calls, and what the server is asked about itself."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from motet.engine import Capability
from motet.errors import (
    ConfigError,
    EngineError,
    EngineUnavailableError,
    GarbledReplyError,
    ModelNotFoundError,
    RequestRejectedError,
)
from motet.serving.openai.bodies import CHAT_PATH, TEXT_PATH, write_count, write_request
from motet.serving.openai.failures import map_error_object, map_exception, map_status
from motet.serving.openai.replies import decode, read_reply
from motet.serving.openai.sse import EventParser
from motet.serving.openai.streams import StreamedReply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from motet.engine import OnDelta, Reply, Request
    from motet.types import Chat

GENERIC_CAPABILITIES = frozenset(
    {
        Capability.LOGPROBS,
        Capability.SEED,
        Capability.STREAM,
        Capability.GRAMMAR,
        Capability.CONTINUE,
    }
)
"""What a server is taken to do while nothing more is known of it."""

_KEEPALIVE_S = 4.0
"""Below uvicorn's 5 s, so that a request never meets a connection that the server is closing."""
_CONNECT_TIMEOUT_S = 20.0
_STREAM_TAIL_S = 0.25
"""How long to wait for a stream to close after its last event."""
_MAX_SINGLE_WRITE = 2**20
"""aiohttp warns of larger bodies, since writing them at once holds up the event loop."""
_PART_BYTES = 2**16
_MODELS_PATH = "/models"
_TOKENIZE_PATH = "/tokenize"


def connect(
    url: str,
    *,
    api_key: str | None = None,
    timeout_s: float = 600.0,
    max_concurrency: int = 256,
) -> OpenAIEngine:
    """Make an engine over the OpenAI-compatible server at `url`; nothing is sent yet.

    Args:
        url: Base of the API, such as `http://host:8000/v1`. A fragment names the model for
            requests that name none: `http://host:8000/v1#my-model`.
        api_key: Sent as a bearer token.
        timeout_s: Longest silence of the server, in seconds. A reply that is not streamed is
            silent until it is whole.
        max_concurrency: Most requests to keep in flight.

    Raises:
        ConfigError: a setting is out of range.
    """
    return OpenAIEngine(url, api_key=api_key, timeout_s=timeout_s, max_concurrency=max_concurrency)


class OpenAIEngine:
    """Serves completions through OpenAI's HTTP API; vLLM's extra fields are used where needed.

    Connections belong to the event loop that first asks for them, and close when that loop shuts
    down its asynchronous generators, as `asyncio.run` does, or at `aclose`.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        max_concurrency: int = 256,
    ) -> None:
        base, self._model = _read_url(url)
        if not timeout_s > 0:
            raise ConfigError(f"timeout_s is {timeout_s}; it must be above 0")
        if max_concurrency < 1:
            raise ConfigError(f"max_concurrency is {max_concurrency}; it must be at least 1")
        if api_key is not None and not (api_key and api_key.isascii() and api_key.isprintable()):
            raise ConfigError("api_key is empty or holds characters that no HTTP header may have")
        self._url = base
        self._api_key = api_key
        self._max_concurrency = max_concurrency
        root = base.removesuffix("/v1")
        self._targets = {
            CHAT_PATH: httpx.URL(base + CHAT_PATH),
            TEXT_PATH: httpx.URL(base + TEXT_PATH),
            _MODELS_PATH: httpx.URL(base + _MODELS_PATH),
            _TOKENIZE_PATH: httpx.URL(root + _TOKENIZE_PATH),
        }
        # aiohttp would offer compression, which costs more than it saves on replies this small.
        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        self._headers = httpx.Headers(headers)
        self._extensions = {"timeout": {"connect": _CONNECT_TIMEOUT_S, "read": timeout_s}}
        self._links: dict[asyncio.AbstractEventLoop, _Link] = {}
        self._context_tokens: int | None = None
        self._has_tokenize: bool | None = None

    def __repr__(self) -> str:
        return f"OpenAIEngine({self._url!r})"

    @property
    def url(self) -> str:
        """The base url, without the model's name."""
        return self._url

    @property
    def capabilities(self) -> frozenset[Capability]:
        return GENERIC_CAPABILITIES

    @property
    def context_tokens(self) -> int | None:
        """What the server said of its only model; None until it was asked, and where it is silent."""
        return self._context_tokens

    @property
    def max_concurrency(self) -> int:
        return self._max_concurrency

    async def complete(self, request: Request, on_delta: OnDelta | None = None) -> Reply:
        """Answer `request`; with `on_delta`, report text while it is generated.

        Tokens are those that the server reports. Where it reports none, completion tokens are the
        logprobs or token ids that came with the text, else 0: they are never estimated.

        Raises:
            EngineError: serving failed.
            ConfigError: the request asks for what this API cannot carry.
        """
        model = request.model or self._model or await self._ask_model()
        path, content = write_request(request, model, is_streamed=on_delta is not None)
        response = await self._send("POST", path, content)
        if on_delta is None:
            body = decode(await self._read(response))
        else:
            body = await self._read_stream(response, request.n, on_delta)
        if body.get("error"):
            raise self._redacted(map_error_object(body["error"]))
        return read_reply(body, n=request.n, model=model)

    async def count_tokens(self, prompt: Chat | str | tuple[int, ...]) -> int | None:
        """Return the exact number of prompt tokens; None where the server has no `/tokenize`.

        A server that once lacked it is not asked again.
        """
        if not isinstance(prompt, str) and prompt and isinstance(prompt[0], int):
            return len(prompt)
        if self._has_tokenize is False:
            return None
        model = self._model or await self._ask_model()
        content = write_count(prompt, model)  # type: ignore[arg-type]
        try:
            body = decode(await self._read(await self._send("POST", _TOKENIZE_PATH, content)))
        except RequestRejectedError as error:
            if error.status not in (404, 405, 501):
                raise
            body = {}
        except GarbledReplyError:
            if self._has_tokenize:
                raise
            body = {}
        count = body.get("count")
        if type(count) is int:
            self._has_tokenize = True
            return count
        if self._has_tokenize:
            raise GarbledReplyError("the reply of /tokenize has no count")
        self._has_tokenize = False
        return None

    async def aclose(self) -> None:
        """Close this event loop's connections; a later call opens them again."""
        link = self._links.get(asyncio.get_running_loop())
        if link is not None:
            await link.lifetime.aclose()

    async def _ask_model(self) -> str:
        """Return the name of the server's only model, which is asked for once."""
        async with (await self._open()).models_lock:
            if self._model is not None:
                return self._model
            body = decode(await self._read(await self._send("GET", _MODELS_PATH, b"")))
            served = body.get("data")
            if not isinstance(served, list) or not all(
                isinstance(each, dict) and isinstance(each.get("id"), str) for each in served
            ):
                raise GarbledReplyError("the list of models is malformed")
            if len(served) != 1:
                names = ", ".join(sorted(each["id"] for each in served)) or "none"
                raise ModelNotFoundError(f"no model is named; {self._url} serves {names}")
            limit = served[0].get("max_model_len")
            self._context_tokens = limit if type(limit) is int else None
            self._model = served[0]["id"]
            return self._model

    async def _open(self) -> _Link:
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            lifetime = self._connections(loop)
            # Nothing suspends before the first yield, so no other task comes between.
            link = self._links[loop] = _Link(await anext(lifetime), lifetime)
        return link

    async def _connections(
        self, loop: asyncio.AbstractEventLoop
    ) -> AsyncGenerator[AiohttpTransport, None]:
        """Yield a transport that lives as long as the generator.

        An event loop closes its generators before it ends, so the connections close in time
        even where nobody calls `aclose`.
        """
        is_secure = self._url.startswith("https:")
        context = httpx.create_ssl_context() if is_secure else False
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_KEEPALIVE_S, ssl=context if is_secure else True
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        proxy = _proxy(self._targets[CHAT_PATH])
        try:
            yield AiohttpTransport(verify=context, client=session, proxy=proxy)
        finally:
            self._links.pop(loop, None)
            await session.close()

    async def _send(self, method: str, path: str, content: bytes) -> httpx.Response:
        """Return the response with its body unread. Its status is not an error's."""
        link = self._links.get(asyncio.get_running_loop()) or await self._open()
        if len(content) > _MAX_SINGLE_WRITE:
            sent = httpx.Request(
                method,
                self._targets[path],
                headers=httpx.Headers({**self._headers, "content-length": str(len(content))}),
                content=_parts(content),
                extensions=self._extensions,
            )
        else:
            # Given as a stream, httpx leaves host and length to aiohttp, which sets them anyway.
            sent = httpx.Request(
                method,
                self._targets[path],
                headers=self._headers,
                stream=httpx.ByteStream(content),
                extensions=self._extensions,
            )
            sent.read()
        sent.headers.encoding = "ascii"  # else httpx tries codecs at every look
        try:
            response: httpx.Response = await link.transport.handle_async_request(sent)
        except Exception as exc:
            raise self._redacted(map_exception(exc)) from exc
        if not 200 <= response.status_code < 300:
            body = await self._read(response)
            raise self._redacted(map_status(response.status_code, body, response.headers))
        return response

    async def _read(self, response: httpx.Response) -> bytes:
        try:
            if "content-encoding" in response.headers:
                return await response.aread()
            stream: Any = response.stream
            chunks = [chunk async for chunk in stream]
            await response.aclose()
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except Exception as exc:
            raise self._redacted(map_exception(exc)) from exc
        finally:
            if not response.is_closed:
                await _abandon(response)

    async def _read_stream(
        self, response: httpx.Response, n: int, on_delta: OnDelta
    ) -> dict[str, Any]:
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            return await self._read_unstreamed(response, n, on_delta)
        reply = StreamedReply(n, on_delta)
        parser = EventParser()
        try:
            async with contextlib.aclosing(self._chunks(response)) as chunks:
                async for chunk in chunks:
                    for data in parser.feed(chunk):
                        if data == b"[DONE]":
                            if not reply.is_finished:
                                raise GarbledReplyError("the stream is done before its text is")
                            await _drain(chunks)
                            return reply.body()
                        event = decode(data)
                        if event.get("error"):
                            raise self._redacted(map_error_object(event["error"]))
                        reply.add(event)
        finally:
            await _abandon(response)
        if not reply.is_finished:
            raise EngineUnavailableError("the connection dropped in the middle of the stream")
        return reply.body()

    async def _read_unstreamed(
        self, response: httpx.Response, n: int, on_delta: OnDelta
    ) -> dict[str, Any]:
        """Read the reply of a server that does not stream, and report its texts whole."""
        body = decode(await self._read(response))
        if not body.get("error"):
            for index, completion in enumerate(read_reply(body, n=n, model="").completions):
                if completion.text:
                    on_delta(index, completion.text)
        return body

    async def _chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except Exception as exc:
            raise self._redacted(map_exception(exc)) from exc

    def _redacted(self, error: EngineError) -> EngineError:
        """Blot out the key, which some servers repeat in their messages."""
        key = self._api_key
        if key is not None and key in str(error):
            error.args = (str(error).replace(key, "[api_key]"),)
        return error


@dataclass(frozen=True, slots=True)
class _Link:
    """The connections of one event loop."""

    transport: AiohttpTransport
    lifetime: AsyncGenerator[AiohttpTransport, None]
    models_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


async def _parts(content: bytes) -> AsyncIterator[bytes]:
    for place in range(0, len(content), _PART_BYTES):
        yield content[place : place + _PART_BYTES]


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read what follows the last event, so that the connection can serve again."""
    with contextlib.suppress(TimeoutError, EngineError):
        async with asyncio.timeout(_STREAM_TAIL_S):
            async for _ in chunks:
                pass


async def _abandon(response: httpx.Response) -> None:
    """Close the response, and its connection too where the body was not read to its end."""
    with contextlib.suppress(Exception):
        await response.aclose()


def _read_url(url: str) -> tuple[str, str | None]:
    """Return the normalised base url and the model that its fragment names."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as exc:
        raise ConfigError(f"the engine's url does not parse: {exc}") from exc
    if parsed.userinfo:
        raise ConfigError("the engine's url holds a password; give the key as api_key")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"the engine's url is {url!r}; it must be such as http://host:8000/v1")
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise ConfigError(f"the engine's url is {url!r}; its port must be between 1 and 65535")
    if parsed.query:
        raise ConfigError(f"the engine's url is {url!r}; it must have no query")
    base = str(parsed.copy_with(fragment=None)).rstrip("/")
    return base, parsed.fragment or None


def _proxy(target: httpx.URL) -> httpx.Proxy | None:
    """Find the environment's proxy once; aiohttp would look it up for every request."""
    if urllib.request.proxy_bypass(target.host):
        return None
    found = urllib.request.getproxies().get(target.scheme)
    return httpx.Proxy(found) if found else None

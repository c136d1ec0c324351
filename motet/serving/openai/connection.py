"""Connections to one HTTP server: requests out, bodies and events in, foreign errors mapped."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from motet.errors import ConfigError, EngineError
from motet.serving.openai.failures import map_error_object, map_exception, map_status
from motet.serving.openai.replies import decode
from motet.serving.openai.sse import EventParser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

_KEEPALIVE_S = 4.0
"""Below uvicorn's 5 s, so that a request never meets a connection that the server is closing."""
_CONNECT_TIMEOUT_S = 20.0
_STREAM_TAIL_S = 0.25
"""How long to wait for a stream to close after its last event."""
_MAX_SINGLE_WRITE = 2**20
"""aiohttp warns of larger bodies, since writing them at once holds up the event loop."""
_PART_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Link:
    """The connections of one event loop."""

    transport: AiohttpTransport
    lifetime: AsyncGenerator[AiohttpTransport, None]
    models_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    prepare_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Connection:
    """Sends requests to one server.

    Connections belong to the event loop that first asks for them, and close when that loop shuts
    down its asynchronous generators, as `asyncio.run` does, or at `aclose`.
    """

    def __init__(self, base: str, *, api_key: str | None, timeout_s: float) -> None:
        """Set up; nothing is sent yet.

        Args:
            base: Normalised url that the API's paths follow, such as `http://host:8000/v1`.
            api_key: Sent as a bearer token, and blotted out of every error.
            timeout_s: Longest silence of the server, in seconds.
        """
        if not timeout_s > 0:
            raise ConfigError(f"timeout_s is {timeout_s}; it must be above 0")
        if api_key is not None and not (api_key and api_key.isascii() and api_key.isprintable()):
            raise ConfigError("api_key is empty or holds characters that no HTTP header may have")
        self._api_key = api_key
        self._bases = (base, base.removesuffix("/v1"))
        self._targets: dict[tuple[str, bool], httpx.URL] = {}
        # aiohttp would offer compression, which costs more than it saves on replies this small.
        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        self._headers = httpx.Headers(headers)
        self._extensions = {"timeout": {"connect": _CONNECT_TIMEOUT_S, "read": timeout_s}}
        self._links: dict[asyncio.AbstractEventLoop, Link] = {}

    async def open(self) -> Link:
        """Return the running event loop's connections."""
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            lifetime = self._connections(loop)
            # Nothing suspends before the first yield, so no other task comes between.
            link = self._links[loop] = Link(await anext(lifetime), lifetime)
        return link

    async def aclose(self) -> None:
        """Close this event loop's connections; a later call opens them again."""
        link = self._links.get(asyncio.get_running_loop())
        if link is not None:
            await link.lifetime.aclose()

    async def send(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        *,
        is_root: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Return the response with its body unread. Its status is not an error's.

        Args:
            method: HTTP's.
            path: Below the API's base; `is_root` puts it below the server's root.
            content: The body.
            is_root: Whether the path is not part of the versioned API.
            headers: Sent besides the usual ones.

        Raises:
            EngineError: Nothing came back, or an error's status.
        """
        link = self._links.get(asyncio.get_running_loop()) or await self.open()
        sent_headers = self._headers
        if headers:
            sent_headers = httpx.Headers({**sent_headers, **headers})
        target = self._target(path, is_root)
        if len(content) > _MAX_SINGLE_WRITE:
            sent = httpx.Request(
                method,
                target,
                headers=httpx.Headers({**sent_headers, "content-length": str(len(content))}),
                content=_parts(content),
                extensions=self._extensions,
            )
        else:
            # Given as a stream, httpx leaves host and length to aiohttp, which sets them anyway.
            sent = httpx.Request(
                method,
                target,
                headers=sent_headers,
                stream=httpx.ByteStream(content),
                extensions=self._extensions,
            )
            sent.read()
        sent.headers.encoding = "ascii"  # else httpx tries codecs at every look
        try:
            response: httpx.Response = await link.transport.handle_async_request(sent)
        except Exception as exc:
            raise self.redacted(map_exception(exc)) from exc
        if not 200 <= response.status_code < 300:
            body = await self.read(response)
            raise self.redacted(map_status(response.status_code, body, response.headers))
        return response

    async def read(self, response: httpx.Response) -> bytes:
        """Return the body of `response`, and close it."""
        try:
            if "content-encoding" in response.headers:
                return await response.aread()
            stream: Any = response.stream
            chunks = [chunk async for chunk in stream]
            await response.aclose()
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except Exception as exc:
            raise self.redacted(map_exception(exc)) from exc
        finally:
            if not response.is_closed:
                await _abandon(response)

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        *,
        is_root: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send as `send` does, and return the body, a JSON object that tells of no error."""
        sent = await self.send(method, path, content, is_root=is_root, headers=headers)
        body = decode(await self.read(sent))
        if body.get("error"):
            raise self.redacted(map_error_object(body["error"]))
        return body

    async def events(self, response: httpx.Response) -> AsyncGenerator[dict[str, Any] | None, None]:
        """Yield the events of a stream up to its `[DONE]`, or to where the connection drops.

        Close the generator to hang up. `[DONE]` is None.
        """
        parser = EventParser()
        try:
            async with contextlib.aclosing(self._chunks(response)) as chunks:
                async for chunk in chunks:
                    for data in parser.feed(chunk):
                        if data == b"[DONE]":
                            await _drain(chunks)
                            yield None
                            return
                        event = decode(data)
                        if event.get("error"):
                            raise self.redacted(map_error_object(event["error"]))
                        yield event
        finally:
            await _abandon(response)

    def redacted(self, error: EngineError) -> EngineError:
        """Blot out the key, which some servers repeat in their messages."""
        key = self._api_key
        if key is not None and key in str(error):
            error.args = (str(error).replace(key, "[api_key]"),)
        return error

    async def _chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except Exception as exc:
            raise self.redacted(map_exception(exc)) from exc

    def _target(self, path: str, is_root: bool) -> httpx.URL:
        target = self._targets.get((path, is_root))
        if target is None:
            target = self._targets[path, is_root] = httpx.URL(self._bases[is_root] + path)
        return target

    async def _connections(
        self, loop: asyncio.AbstractEventLoop
    ) -> AsyncGenerator[AiohttpTransport, None]:
        """Yield a transport that lives as long as the generator.

        An event loop closes its generators before it ends, so the connections close in time
        even where nobody calls `aclose`.
        """
        is_secure = self._bases[0].startswith("https:")
        context = httpx.create_ssl_context() if is_secure else False
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_KEEPALIVE_S, ssl=context if is_secure else True
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        proxy = _proxy(httpx.URL(self._bases[0]))
        try:
            yield AiohttpTransport(verify=context, client=session, proxy=proxy)
        finally:
            self._links.pop(loop, None)
            await session.close()


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


def _proxy(target: httpx.URL) -> httpx.Proxy | None:
    """Find the environment's proxy once; aiohttp would look it up for every request."""
    if urllib.request.proxy_bypass(target.host):
        return None
    found = urllib.request.getproxies().get(target.scheme)
    return httpx.Proxy(found) if found else None


def read_url(url: str) -> tuple[str, str | None]:
    """Return the normalised base url and the model that its fragment names.

    Raises:
        ConfigError: it is no url of a server.
    """
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

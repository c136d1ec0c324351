"""A proxy that counts which calls' requests reach a server."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter, defaultdict
from typing import Any

from aiohttp import ClientSession, web


class CountingProxy:
    """Passes requests on, from a thread of its own; each client has a path of its own."""

    def __init__(self, target: str, model: str) -> None:
        self._target = target
        self._model = model
        """Whose completions count; what the client finds out of the server it asks another."""
        self.calls: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Client -> id of a call -> requests that came for it."""
        self.nameless: Counter[str] = Counter()
        """Client -> completions that it asked for before it knew that the server is vLLM's."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._await(self._start())

    def url(self, client: str) -> str:
        return f"http://127.0.0.1:{self._port}/{client}/v1"

    def close(self) -> None:
        self._await(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _await(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _start(self) -> None:
        self._session = ClientSession()
        self._runner = web.ServerRunner(web.Server(self._pass_on, access_log=None))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _pass_on(self, request: web.BaseRequest) -> web.Response:
        client, _, path = request.path.removeprefix("/").partition("/")
        body = await request.content.read()
        if "x-request-id" in request.headers:
            self.calls[client][request.headers["x-request-id"]] += 1
        elif path.endswith("completions") and json.loads(body).get("model") == self._model:
            self.nameless[client] += 1
        kept = ("content-type", "authorization", "x-request-id", "accept")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        async with self._session.request(
            request.method, f"{self._target}/{path}", data=body, headers=headers
        ) as reply:
            content = await reply.read()
            kind = reply.headers.get("content-type", "application/json")
            return web.Response(body=content, status=reply.status, headers={"content-type": kind})

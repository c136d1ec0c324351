"""An OpenAI-compatible server without a model: it derives replies and fails on demand.

In process::

    async with StubServer(delay_s=0.02, faults=Faults(drop=0.05)) as server:
        engine = connect(server.url)

As a process of its own, which prints its url on the first line::

    python -m motet.testing.stub_server --port 0 --delay-ms 20 --count-file requests.jsonl

A marker such as `[[delay=500]]` in the prompt adds that many milliseconds to one request.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import signal
import sys
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from motet.errors import ConfigError
from motet.testing.derived import Ended, derived_logprobs, derived_text, derived_vector, end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motet.engine import TokenLogprob

_DELAY = re.compile(r"\[\[delay=(\d+)\]\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Share of the requests, from 0 to 1, that fail in each way.

    Which ones fail depends on the seed, the request's body, and how often that body came: not on
    the order in which concurrent requests arrive.
    """

    error_500: float = 0.0
    error_429: float = 0.0
    """With `Retry-After` of `retry_after_s`."""
    hang: float = 0.0
    """No answer until the client goes away."""
    drop: float = 0.0
    """The connection closes before any answer."""
    garbage: float = 0.0
    """Status 200 and a body that is no JSON."""
    half: float = 0.0
    """The connection closes in the middle of the body, or of the stream."""
    empty: float = 0.0
    """A proper reply without text."""
    cut_off: float = 0.0
    """A proper reply that ends early with the finish reason `length`."""
    retry_after_s: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        rates = [getattr(self, name) for name in _FAULT_NAMES]
        if min(rates) < 0 or sum(rates) > 1:
            raise ConfigError(f"the fault rates are {rates}; they must sum to 1 at most")

    def draw(self, digest: str, attempt: int) -> str | None:
        """Return the name of the fault for the `attempt`-th request with this body."""
        point = random.Random(f"{self.seed}:{digest}:{attempt}").random()
        for name in _FAULT_NAMES:
            point -= getattr(self, name)
            if point < 0:
                return name
        return None


_FAULT_NAMES = tuple(f.name for f in fields(Faults) if f.name not in ("retry_after_s", "seed"))


class StubServer:
    """Serves `/v1/models`, completions, chat completions, embeddings, `/tokenize`, `/health`.

    `/stats` tells what the attributes below tell, for a server in another process.
    """

    def __init__(
        self,
        *,
        delay_s: float = 0.0,
        delta_delay_s: float = 0.0,
        faults: Faults | None = None,
        max_in_flight: int | None = None,
        models: Sequence[str] = ("stub",),
        context_tokens: int = 1_000_000,
        has_tokenize: bool = True,
        has_embeddings: bool = True,
        api_key: str | None = None,
        count_file: str | Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Set the server up; nothing listens yet.

        Args:
            delay_s: Time before a reply, in seconds.
            delta_delay_s: Time between the events of a stream, in seconds.
            faults: How often to fail, and how.
            max_in_flight: More completions than this at once get a 429.
            models: Names that are served; the others get a 404.
            context_tokens: Longer prompts get vLLM's 400.
            has_tokenize: Whether `/tokenize` exists, which is vLLM's own.
            has_embeddings: Whether `/v1/embeddings` exists.
            api_key: Without it, requests get a 401.
            count_file: Gets one JSON line a completion request, on the disk before the answer.
            host: Where to listen.
            port: 0 takes any that is free.
        """
        self._delay_s = delay_s
        self._delta_delay_s = delta_delay_s
        self._faults = faults
        self._max_in_flight = max_in_flight
        self._models = tuple(models)
        self._context_tokens = context_tokens
        self._has_tokenize = has_tokenize
        self._paths = {"/v1/chat/completions", "/v1/completions"}
        if has_embeddings:
            self._paths.add("/v1/embeddings")
        self._api_key = api_key
        self._count_file = count_file
        self._count_descriptor: int | None = None
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None
        self.counts: Counter[str] = Counter()
        """Digest of a request's body -> how often it came."""
        self.paths: Counter[str] = Counter()
        """Path -> how often it was asked."""
        self.faulted: Counter[str] = Counter()
        """Name of a fault -> how often it happened."""
        self.bodies: list[dict[str, Any]] | None = None
        """Set it to a list to have each completion request's body appended."""
        self.in_flight = 0
        self.peak_in_flight = 0
        self.num_aborted = 0
        """Requests whose client went away before the answer."""

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}/v1"

    @property
    def num_requests(self) -> int:
        """Completion requests that came, failed ones included."""
        return self.counts.total()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        if self._count_file is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._count_descriptor = os.open(self._count_file, flags, 0o644)
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=1024)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def aclose(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._count_descriptor is not None:
            os.close(self._count_descriptor)
            self._count_descriptor = None

    def stats(self) -> dict[str, Any]:
        return {
            "counts": self.counts,
            "paths": self.paths,
            "faulted": self.faulted,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "num_aborted": self.num_aborted,
            "num_requests": self.num_requests,
        }

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.paths[request.path] += 1
        if request.path == "/stats":
            return _json(self.stats())
        if request.path == "/health":
            return web.Response()
        if self._api_key is not None:
            given = request.headers.get("Authorization")
            if given != f"Bearer {self._api_key}":
                return _error(401, f"wrong API key: {given}")
        if request.path == "/v1/models":
            return _json({"object": "list", "data": [self._model(name) for name in self._models]})
        if request.path == "/tokenize" and self._has_tokenize:
            return _json(_tokenized(json.loads(await request.content.read())))
        if request.path in self._paths:
            return await self._handle_completion(request)
        return _json({"detail": "Not Found"}, status=404)

    def _model(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "owned_by": "vllm",
            "max_model_len": self._context_tokens,
        }

    async def _handle_completion(self, request: web.BaseRequest) -> web.StreamResponse:
        content = await request.content.read()
        if content == b"{}":  # a question whether the path is there
            return _error(400, "the model is missing")
        digest = hashlib.blake2b(content, digest_size=12).hexdigest()
        attempt = self.counts[digest]
        self.counts[digest] += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            try:
                body = json.loads(content)
            except ValueError:
                return _error(400, "the body is no JSON")
            if self.bodies is not None:
                self.bodies.append(body)
            if self._count_descriptor is not None:
                seed = body.get("seed") if isinstance(body, dict) else None
                line = json.dumps(
                    {"digest": digest, "attempt": attempt, "path": request.path, "seed": seed}
                )
                os.write(self._count_descriptor, f"{line}\n".encode())
            fault = self._faults.draw(digest, attempt) if self._faults else None
            if fault is not None:
                self.faulted[fault] += 1
            return await self._answer(request, _Asked.read(request.path, body), fault)
        except _DroppedError:
            raise
        except (asyncio.CancelledError, ConnectionError):
            self.num_aborted += 1
            raise
        finally:
            self.in_flight -= 1

    async def _answer(
        self, request: web.BaseRequest, asked: _Asked, fault: str | None
    ) -> web.StreamResponse:
        if asked.model not in self._models:
            return _error(404, f"The model `{asked.model}` does not exist.", "NotFoundError")
        if asked.num_prompt_tokens > self._context_tokens:
            return _error(
                400,
                f"This model's maximum context length is {self._context_tokens} tokens. However, "
                f"your request has {asked.num_prompt_tokens} input tokens. Please reduce the "
                "length of the input messages.",
            )
        if self._max_in_flight is not None and self.in_flight > self._max_in_flight:
            fault = "error_429"
        if fault == "error_429":
            retry_after_s = self._faults.retry_after_s if self._faults else 0.05
            return _error(429, "too many requests", retry_after_s=retry_after_s)
        delay_s = self._delay_s + asked.delay_s
        if delay_s:
            await asyncio.sleep(delay_s)
        match fault:
            case "error_500":
                return _error(500, "the engine fell over")
            case "hang":
                await asyncio.Event().wait()
            case "drop":
                _abort(request)
            case "garbage":
                return web.Response(body=b'<html>\xff{{ 7 * 7 }} {"choices": [', status=200)
        choices = [asked.choice(index, fault) for index in range(asked.n)]
        if asked.is_streamed:
            return await self._stream(request, asked, choices, fault)
        answer = asked.embedding() if asked.is_embedding else asked.reply(choices)
        body = json.dumps(answer).encode()
        if fault == "half":
            response = web.StreamResponse(headers={"Content-Length": str(len(body))})
            response.content_type = "application/json"
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            _abort(request)
        return web.Response(body=body, content_type="application/json")

    async def _stream(
        self, request: web.BaseRequest, asked: _Asked, choices: list[_Choice], fault: str | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        events = list(asked.events(choices))
        for place, event in enumerate(events):
            data = b"data: " + json.dumps(event).encode() + b"\n\n"
            if fault == "half" and place == len(events) // 2:
                await response.write(data[: len(data) // 2])
                _abort(request)
            await response.write(data)
            if self._delta_delay_s:
                await asyncio.sleep(self._delta_delay_s)
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


@dataclass(frozen=True, slots=True)
class _Choice:
    index: int
    ended: Ended
    finish_reason: str
    logprobs: tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A completion request as far as the stub minds it."""

    model: str
    prompt: str
    is_chat: bool
    is_embedding: bool
    is_streamed: bool
    has_usage: bool
    n: int
    seed: int | None
    max_tokens: int
    stop: tuple[str, ...]
    num_top: int | None
    num_prompt_tokens: int

    @staticmethod
    def read(path: str, body: dict[str, Any]) -> _Asked:
        is_chat = path.endswith("/chat/completions")
        prompt = _prompt_text(body)
        stop = body.get("stop") or ()
        num_top = body.get("top_logprobs", 0) if is_chat else body.get("logprobs")
        return _Asked(
            model=body.get("model", ""),
            prompt=prompt,
            is_chat=is_chat,
            is_embedding=path.endswith("/embeddings"),
            is_streamed=bool(body.get("stream")),
            has_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            n=body.get("n", 1),
            seed=body.get("seed"),
            max_tokens=body.get("max_tokens", 1024),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            num_top=None if is_chat and not body.get("logprobs") else num_top,
            num_prompt_tokens=_count_tokens(body),
        )

    @property
    def delay_s(self) -> float:
        found = _DELAY.search(self.prompt) if "[[delay=" in self.prompt else None
        return int(found[1]) / 1000 if found else 0.0

    def choice(self, index: int, fault: str | None) -> _Choice:
        text = "" if fault == "empty" else derived_text(self.prompt, self.seed, index)
        max_tokens = min(self.max_tokens, 3) if fault == "cut_off" else self.max_tokens
        ended = end(text, max_tokens, self.stop)
        logprobs = () if self.num_top is None else derived_logprobs(ended.pieces, self.num_top)
        return _Choice(index, ended, "length" if ended.is_cut else "stop", logprobs)

    def embedding(self) -> dict[str, Any]:
        found = {"object": "embedding", "index": 0, "embedding": derived_vector(self.prompt)}
        counts = {"prompt_tokens": self.num_prompt_tokens, "total_tokens": self.num_prompt_tokens}
        return {"object": "list", "model": self.model, "data": [found], "usage": counts}

    def reply(self, choices: list[_Choice]) -> dict[str, Any]:
        return {
            **self._head(is_chunk=False),
            "choices": [
                {
                    "index": choice.index,
                    "finish_reason": choice.finish_reason,
                    "stop_reason": choice.ended.stop_text,
                    "logprobs": self._logprobs(choice.logprobs),
                }
                | (
                    {"message": {"role": "assistant", "content": choice.ended.text}}
                    if self.is_chat
                    else {"text": choice.ended.text}
                )
                for choice in choices
            ],
            "usage": self._usage(choices),
        }

    def events(self, choices: list[_Choice]) -> list[dict[str, Any]]:
        """Return a streamed reply's events: a piece of each choice in turn, then the usage."""
        head = self._head(is_chunk=True)
        events = []
        for place in range(max(len(choice.ended.pieces) for choice in choices) + 1):
            for choice in choices:
                cut = choice.ended.pieces
                if place > len(cut):
                    continue
                text = cut[place] if place < len(cut) else ""
                part = choice.logprobs[place : place + 1]
                chunk: dict[str, Any] = {"index": choice.index, "finish_reason": None}
                chunk |= {"delta": {"content": text}} if self.is_chat else {"text": text}
                if part:
                    chunk["logprobs"] = self._logprobs(part)
                if place == len(cut):
                    chunk["finish_reason"] = choice.finish_reason
                    chunk["stop_reason"] = choice.ended.stop_text
                events.append({**head, "choices": [chunk]})
        if self.has_usage:
            events.append({**head, "choices": [], "usage": self._usage(choices)})
        return events

    def _head(self, *, is_chunk: bool) -> dict[str, Any]:
        kind = "text_completion" if not self.is_chat else "chat.completion"
        suffix = ".chunk" if is_chunk and self.is_chat else ""
        return {"id": "stub", "object": kind + suffix, "created": 0, "model": self.model}

    def _usage(self, choices: list[_Choice]) -> dict[str, Any]:
        num_completion = sum(len(choice.ended.pieces) for choice in choices)
        return {
            "prompt_tokens": self.num_prompt_tokens,
            "completion_tokens": num_completion,
            "total_tokens": self.num_prompt_tokens + num_completion,
            "prompt_tokens_details": {"cached_tokens": self.num_prompt_tokens // 16 * 16},
        }

    def _logprobs(self, logprobs: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
        if self.num_top is None:
            return None
        if not self.is_chat:
            return {
                "tokens": [each.token for each in logprobs],
                "token_logprobs": [each.logprob for each in logprobs],
                "top_logprobs": [dict(each.top) for each in logprobs],
            }
        return {
            "content": [
                {
                    "token": each.token,
                    "logprob": each.logprob,
                    "top_logprobs": [{"token": t, "logprob": p} for t, p in each.top],
                }
                for each in logprobs
            ]
        }


def _prompt_text(body: dict[str, Any]) -> str:
    """Return one text that differs where the prompts differ."""
    if "messages" not in body:
        prompt = body.get("prompt") or body.get("input", "")
        return prompt if isinstance(prompt, str) else json.dumps(prompt)
    messages = body["messages"]
    if len(messages) == 1:
        return str(messages[0].get("content"))
    return json.dumps(messages)


def _count_tokens(body: dict[str, Any]) -> int:
    if "messages" in body:
        texts = (str(message.get("content") or "") for message in body["messages"])
        return sum(len(text.split()) + 4 for text in texts)
    prompt = body.get("prompt") or body.get("input", "")
    return len(prompt.split()) if isinstance(prompt, str) else len(prompt)


def _tokenized(body: dict[str, Any]) -> dict[str, Any]:
    count = _count_tokens(body)
    return {"count": count, "max_model_len": 1_000_000, "tokens": list(range(count))}


def _abort(request: web.BaseRequest) -> None:
    """Close the connection as a crashed server would; the handler ends here."""
    if request.transport is not None:
        request.transport.abort()
    raise _DroppedError


class _DroppedError(ConnectionError):
    """Ends a handler whose connection the server itself has closed."""


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(value).encode(), status=status, content_type="application/json"
    )


def _error(
    status: int, message: str, kind: str = "BadRequestError", *, retry_after_s: float | None = None
) -> web.Response:
    response = _json(
        {"error": {"message": message, "type": kind, "param": None, "code": status}}, status=status
    )
    if retry_after_s is not None:
        response.headers["Retry-After"] = f"{retry_after_s:g}"
    return response


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m motet.testing.stub_server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--delta-delay-ms", type=float, default=0.0)
    parser.add_argument("--count-file", type=Path)
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--max-in-flight", type=int)
    parser.add_argument("--api-key")
    for field in fields(Faults):
        kind = int if field.name == "seed" else float
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=kind, default=field.default, dest=field.name)
    return parser.parse_args(argv)


async def _serve(arguments: argparse.Namespace) -> None:
    faults = Faults(**{field.name: getattr(arguments, field.name) for field in fields(Faults)})
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with StubServer(
        delay_s=arguments.delay_ms / 1000,
        delta_delay_s=arguments.delta_delay_ms / 1000,
        faults=faults if any(getattr(faults, name) for name in _FAULT_NAMES) else None,
        max_in_flight=arguments.max_in_flight,
        models=arguments.models or ("stub",),
        api_key=arguments.api_key,
        count_file=arguments.count_file,
        host=arguments.host,
        port=arguments.port,
    ) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await stopped.wait()


def main(argv: Sequence[str] | None = None) -> None:
    asyncio.run(_serve(_arguments(argv)))


if __name__ == "__main__":
    main()

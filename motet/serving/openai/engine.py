"""The engine over HTTP: connections, calls, and what the server is asked about itself."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motet.decoding import choosing_problem
from motet.engine import Usage
from motet.errors import (
    ConfigError,
    EngineError,
    EngineUnavailableError,
    GarbledReplyError,
    ModelNotFoundError,
    ProcessorMismatchError,
    PromptTooLongError,
    RequestRejectedError,
)
from motet.serving.decoding import wire
from motet.serving.openai import adapters, embeddings, rewards
from motet.serving.openai.bodies import write_count, write_request
from motet.serving.openai.connection import Connection, read_url
from motet.serving.openai.detection import (
    GENERIC_CAPABILITIES,
    MODELS_PATH,
    ServerFacts,
    detect,
    read_models,
)
from motet.serving.openai.failures import map_error_object
from motet.serving.openai.metrics import ServerMetrics, read_metrics
from motet.serving.openai.replies import decode, read_reply
from motet.serving.openai.streams import StreamedReply
from motet.serving.openai.token_api import (
    TOKENIZE_PATH,
    HttpTokens,
    Specials,
    find_specials,
    request_headers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from motet.engine import Capability, OnDelta, Reply, Request, Sampling
    from motet.types import Chat


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
    """Serves completions through OpenAI's HTTP API; of a vLLM server also what is its own.

    `prepare` finds out what the server is; until then it is taken for one of the plain API.
    Connections belong to the event loop that first asks for them, and close when that loop shuts
    down its asynchronous generators, as `asyncio.run` does, or at `aclose`.

    A vLLM server on a CPU dies of a seeded request whose prompt is prefilled in chunks. This
    cannot be seen from here, so seeds are sent; `motet engine up` starts such servers without
    chunked prefill.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        max_concurrency: int = 256,
    ) -> None:
        self._url, self._model = read_url(url)
        if max_concurrency < 1:
            raise ConfigError(f"max_concurrency is {max_concurrency}; it must be at least 1")
        self._connection = Connection(self._url, api_key=api_key, timeout_s=timeout_s)
        self._max_concurrency = max_concurrency
        self._context_tokens: int | None = None
        self._has_tokenize: bool | None = None
        self._facts: ServerFacts | None = None
        self._specials: dict[str, Specials] = {}
        self._is_stale = False
        """Whether the server was away since it was asked what it is."""
        self._tokens: dict[str, HttpTokens] = {}

    def __repr__(self) -> str:
        return f"OpenAIEngine({self._url!r})"

    @property
    def url(self) -> str:
        """The base url, without the model's name."""
        return self._url

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the server is known to do: more once `prepare` has found vLLM there."""
        return GENERIC_CAPABILITIES if self._facts is None else self._facts.capabilities

    @property
    def decoding_rules(self) -> Mapping[str, str]:
        """Kinds of rules that the server carries out, each with how; empty before `prepare`.

        Raises:
            ProcessorMismatchError: motet's processor in the server is of another version.
        """
        if self._facts is None:
            return {}
        self._check_processor(self._facts)
        return self._facts.rules

    def rule_problem(self, sampling: Sampling) -> str | None:
        """Say which of these settings cannot hold beside the rules among them."""
        return choosing_problem(sampling)

    @property
    def server_version(self) -> str | None:
        """vLLM's version; None before `prepare`, and where the server is another one."""
        return self._facts.version or None if self._facts is not None else None

    @property
    def context_tokens(self) -> int | None:
        """What the server said of its only model; None until it was asked, and where it is silent."""
        return self._context_tokens

    @property
    def max_concurrency(self) -> int:
        return self._max_concurrency

    async def prepare(self) -> None:
        """Find out what the server is and can do; again is free, and after an error a new try.

        A vLLM server is asked a few tiny requests.

        Raises:
            EngineError: It is down, or cannot be asked now.
        """
        if self._facts is None or self._is_stale:
            async with (await self._connection.open()).prepare_lock:
                if self._facts is None or self._is_stale:
                    facts = await detect(self._connection)
                    self._is_stale = False
                    self._tokens.clear()
                    limits = facts.models
                    name = self._model or (next(iter(limits)) if len(limits) == 1 else "")
                    self._context_tokens = limits.get(name, self._context_tokens)
                    self._facts = facts

    async def complete(self, request: Request, on_delta: OnDelta | None = None) -> Reply:
        """Answer `request`; with `on_delta`, report text while it is generated.

        Tokens are those that the server reports. Where it reports none, completion tokens are the
        logprobs or token ids that came with the text, else 0: they are never estimated.

        Raises:
            EngineError: serving failed.
            ConfigError: the request asks for what this server cannot carry.
        """
        model = request.model or self._model or await self._ask_model()
        is_pooled = request.is_rewarded or request.is_embedded
        if self._facts is not None and self._facts.is_pooling and not is_pooled:
            raise self._pooling_error()
        try:
            if request.is_rewarded:
                return await self._reward(request, model)
            if request.is_embedded:
                return await self._embed(request, model)
            if request.next_tokens is not None or request.candidates or request.sampling.decoding:
                return await self._complete_tokens(request, model, on_delta)
            return await self._complete(request, model, on_delta)
        except EngineUnavailableError:
            self._is_stale = True  # another server may answer there when it is back
            raise
        except ModelNotFoundError as error:
            raise await self._naming_models(error) from error
        except RequestRejectedError as error:
            if error.status == 404 and not is_pooled:
                await self._refuse_pooling(error)
            raise
        except PromptTooLongError as error:
            if "at least" in str(error):
                await self._count_exactly(error, request, model)
            raise

    async def count_tokens(self, prompt: Chat | str | tuple[int, ...]) -> int | None:
        """Return the exact number of prompt tokens; None where the server has no `/tokenize`.

        A server that once lacked it is not asked again.
        """
        if not isinstance(prompt, str) and prompt and isinstance(prompt[0], int):
            return len(prompt)
        if self._has_tokenize is False:
            return None
        return await self._count(prompt, self._model or await self._ask_model())

    async def most_usage(self, request: Request) -> Usage | None:
        """Return the most that `request` uses, where it takes several requests of the server.

        Raises:
            EngineError: Serving failed.
            ConfigError: The request asks for what this server cannot carry.
        """
        if request.is_rewarded or request.is_embedded:
            return await self._most_of_pooled(request)
        if request.next_tokens is not None:
            encoded = await (await self.tokens(request.model)).encoded(request.prompt)
            return Usage(len(encoded) + len(request.written), 1)
        if not request.candidates and request.partner is None:
            return None
        tokens = await self.tokens(request.model)
        if not request.candidates:
            from motet.serving.decoding.metering import most_usage

            return await most_usage(tokens, request)
        from motet.serving.openai import scoring

        assert self._facts is not None
        return await scoring.most_usage(tokens, self._facts, request)

    async def tokens(self, model: str | None = None) -> HttpTokens:
        """Return the side of a vLLM server that takes and gives token ids.

        Raises:
            ConfigError: The server is not vLLM, or lacks token ids.
            ProcessorMismatchError: motet's processor in the server is of another version.
            EngineError: Serving failed.
        """
        await self.prepare()
        facts = self._facts
        assert facts is not None
        if facts.is_pooling:
            raise self._pooling_error()
        if not facts.has("return_token_ids"):
            named = f"vLLM {facts.version}" if facts.is_vllm else "no vLLM server"
            raise ConfigError(f"{self._url} is {named}; token ids need a newer vLLM")
        self._check_processor(facts)
        name = model or self._model or await self._ask_model()
        found = self._tokens.get(name)
        if found is None:
            base = next(iter(facts.models), name) if name in facts.adapters else name
            if base not in self._specials:
                self._specials[base] = await find_specials(self._connection, base)
            found = HttpTokens(self._connection, facts, name, self._specials[base])
            self._tokens[name] = found
        return found

    async def metrics(self) -> ServerMetrics:
        """Return vLLM's own counts.

        Raises:
            EngineError: Serving failed; `RequestRejectedError` where the server has no such counts.
        """
        response = await self._connection.send("GET", "/metrics", is_root=True)
        text = (await self._connection.read(response)).decode("utf-8", "replace")
        found = read_metrics(text)
        if found is None:
            raise RequestRejectedError(f"/metrics of {self._url} is not vLLM's", status=404)
        return found

    async def load_adapter(self, name: str, path: str, *, version: str | None = None) -> str:
        """Load a LoRA adapter, and return the name that requests give as their model.

        Every version has a name of its own, and with it a prefix cache of its own.

        Args:
            name: Of the adapter.
            path: Its folder, on the server's machine.
            version: A word for this version; None draws a new one.

        Raises:
            ConfigError: `name` or `version` is empty or holds an `@`.
            ModelNotFoundError: The server finds no adapter at `path`.
            RequestRejectedError: This version is loaded already, or the server takes no adapters.
        """
        await self.prepare()
        served = await adapters.load(self._connection, name, path, version)
        assert self._facts is not None
        self._facts = self._facts.with_adapter(served)
        self._tokens.clear()
        return served

    async def unload_adapter(self, name: str) -> None:
        """Unload an adapter by the name that `load_adapter` returned.

        Raises:
            ModelNotFoundError: It is not loaded.
            RequestRejectedError: The server takes no adapters.
        """
        await adapters.unload(self._connection, name)

    async def aclose(self) -> None:
        """Close this event loop's connections; a later call opens them again."""
        await self._connection.aclose()

    async def _reward(self, request: Request, model: str) -> Reply:
        await self.prepare()
        assert self._facts is not None
        if not self._facts.reward_task:
            raise ConfigError(
                f"{self._url} serves no reward model; vLLM serves one with --runner pooling"
            )
        return await rewards.reward(self._connection, self._facts, request, model)

    async def _embed(self, request: Request, model: str) -> Reply:
        await self.prepare()
        assert self._facts is not None
        if not self._facts.has_embeddings:
            raise ConfigError(
                f"{self._url} serves no embedding model; vLLM serves one with --runner pooling"
            )
        return await embeddings.embed(self._connection, self._facts, request, model)

    async def _most_of_pooled(self, request: Request) -> Usage | None:
        prompt = request.prompt
        if not isinstance(prompt, str) and prompt and isinstance(prompt[0], int):
            return Usage(len(prompt))
        if self._has_tokenize is False:
            return None
        model = request.model or self._model or await self._ask_model()
        count = await self._count(prompt, model, is_whole=True)
        return None if count is None else Usage(count)

    def _pooling_error(self) -> ConfigError:
        return ConfigError(
            f"{self._url} runs its model as a pooler, which completes no prompt; "
            "serve it with --runner generate, or ask it for rewards or embeddings"
        )

    async def _refuse_pooling(self, error: RequestRejectedError) -> None:
        """Raise what explains the refusal, where the server is a pooler."""
        with contextlib.suppress(EngineError):
            await self.prepare()
        if self._facts is not None and self._facts.is_pooling:
            raise self._pooling_error() from error

    async def _complete(self, request: Request, model: str, on_delta: OnDelta | None) -> Reply:
        is_streamed = on_delta is not None
        facts = self._facts
        path, content = write_request(request, model, is_streamed=is_streamed, facts=facts)
        headers = None
        if facts is not None and facts.is_vllm:
            headers = request_headers(request.request_id)
        response = await self._connection.send("POST", path, content, headers=headers)
        if on_delta is None:
            body = decode(await self._connection.read(response))
        else:
            body = await self._read_stream(response, request.n, on_delta)
        if body.get("error"):
            raise self._connection.redacted(map_error_object(body["error"]))
        return read_reply(body, n=request.n, model=model)

    async def _complete_tokens(
        self, request: Request, model: str, on_delta: OnDelta | None
    ) -> Reply:
        """Tell next tokens, score candidates, or generate by decoding rules."""
        tokens = await self.tokens(model)
        assert self._facts is not None
        if request.next_tokens is not None:
            from motet.serving.openai.next_tokens import tell

            return await tell(tokens, self._connection, self._facts, request, model)
        if request.candidates:
            from motet.serving.openai.scoring import score

            return await score(tokens, self._connection, self._facts, request, model)
        from motet.serving.decoding import rule_client
        from motet.serving.decoding.metering import metered

        reply = await rule_client.complete(metered(tokens, request.meter), request, on_delta)
        return reply if reply.model else replace(reply, model=model)

    async def _count(
        self, prompt: Chat | str | tuple[int, ...], model: str, *, is_whole: bool = False
    ) -> int | None:
        content = write_count(prompt, model, is_whole=is_whole)  # type: ignore[arg-type]
        try:
            body = await self._connection.ask("POST", TOKENIZE_PATH, content, is_root=True)
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

    async def _count_exactly(self, error: PromptTooLongError, request: Request, model: str) -> None:
        """Put the prompt's length into `error`; vLLM stops to count where the context ends."""
        with contextlib.suppress(EngineError):
            count = await self._count(request.prompt, model)
            if count is not None:
                error.prompt_tokens = count
                error.args = (f"{error} (the prompt has {count} tokens)",)

    async def _naming_models(self, error: ModelNotFoundError) -> ModelNotFoundError:
        try:
            body = await self._connection.ask("GET", MODELS_PATH)
            models, served_adapters, _ = read_models(body)
        except EngineError:
            return error
        names = ", ".join(sorted([*models, *served_adapters])) or "none"
        return ModelNotFoundError(f"{error}; {self._url} serves {names}")

    async def _ask_model(self) -> str:
        """Return the name of the server's only model, which is asked for once."""
        async with (await self._connection.open()).models_lock:
            if self._model is not None:
                return self._model
            models, _, _ = read_models(await self._connection.ask("GET", MODELS_PATH))
            if len(models) != 1:
                names = ", ".join(sorted(models)) or "none"
                raise ModelNotFoundError(f"no model is named; {self._url} serves {names}")
            ((self._model, self._context_tokens),) = models.items()
            return self._model

    async def _read_stream(
        self, response: httpx.Response, n: int, on_delta: OnDelta
    ) -> dict[str, Any]:
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            return await self._read_unstreamed(response, n, on_delta)
        reply = StreamedReply(n, on_delta)
        async with contextlib.aclosing(self._connection.events(response)) as events:
            async for event in events:
                if event is None:
                    if not reply.is_finished:
                        raise GarbledReplyError("the stream is done before its text is")
                    return reply.body()
                reply.add(event)
        if not reply.is_finished:
            raise EngineUnavailableError("the connection dropped in the middle of the stream")
        return reply.body()

    async def _read_unstreamed(
        self, response: httpx.Response, n: int, on_delta: OnDelta
    ) -> dict[str, Any]:
        """Read the reply of a server that does not stream, and report its texts whole."""
        body = decode(await self._connection.read(response))
        if not body.get("error"):
            for index, completion in enumerate(read_reply(body, n=n, model="").completions):
                if completion.text:
                    on_delta(index, completion.text)
        return body

    def _check_processor(self, facts: ServerFacts) -> None:
        if facts.processor not in (None, wire.VERSION):
            raise ProcessorMismatchError(
                f"motet's processor at {self._url} is of version {facts.processor}, this is "
                f"version {wire.VERSION}; install the same motet in both places",
                server_version=facts.processor,
                client_version=wire.VERSION,
            )

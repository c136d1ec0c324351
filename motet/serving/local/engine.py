"""The engine that runs a small model inside this process."""

from __future__ import annotations

import asyncio
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet.engine import Capability, OnDelta, Reply, Request
from motet.errors import ConfigError, EngineError, ModelNotFoundError, PromptTooLongError
from motet.serving.local.model_files import (
    PACKAGED,
    check_model,
    context_of,
    is_folder_name,
    read_json,
)
from motet.serving.local.options import LocalOptions, read_options
from motet.serving.local.server import Parts, borrow, give_back

if TYPE_CHECKING:
    from motet.serving.local.generation import Job
    from motet.serving.local.scheduler import Stats
    from motet.types import Chat


def connect(url: str, **settings: Any) -> LocalEngine:
    """Return the engine of a local model, such as `local:smollm2`.

    The url names a packaged model, a folder (`local:/path`) or a model on the hub
    (`local:org/name`); settings of `LocalOptions` stand in its query
    (`local:smollm2?dtype=float32&threads=1`) or are given by keyword. The model is loaded at the
    first request.

    Raises:
        ConfigError: A setting is unknown or out of range.
        ModelNotFoundError: There is no such model; the message says how to get it.
    """
    options = read_options(url, settings)
    check_model(options.model)
    return LocalEngine(options)


class LocalEngine:
    """Serves one model from a thread of this process; a `motet.engine.Engine`.

    All engines of one model and dtype in a process share its weights, batch and prefix cache.
    A completion's `token_ids` hold everything that was generated: the end-of-turn token and the
    tokens of a stop text too, as vLLM has it; its `text` holds neither. Where `sampling` leaves
    temperature, top_p and the like open, the model's generation_config.json decides if it asks
    for sampling, else temperature is 1. A seeded request gives completion i the seed + i.
    """

    def __init__(self, options: LocalOptions) -> None:
        self._options = options
        self._server = borrow(options)
        self._release = weakref.finalize(self, give_back, self._server)
        self._jobs: set[Job] = set()
        self._is_closed = False

    @property
    def url(self) -> str:
        return self._options.url

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(
            {
                Capability.LOGPROBS,
                Capability.LOGITS_PROCESSORS,
                Capability.GRAMMAR,
                Capability.PREFIX_CACHE,
                Capability.CONTINUE,
                Capability.SEED,
                Capability.STREAM,
            }
        )

    @property
    def context_tokens(self) -> int | None:
        """Most tokens of prompt and completion; None for a hub model that is not loaded yet."""
        name = self._options.model
        if (parts := self._server.loaded()) is not None:
            return parts.model.context_tokens
        if name in PACKAGED:
            return PACKAGED[name].context_tokens
        if is_folder_name(name):
            return context_of(read_json(Path(name).expanduser() / "config.json"))
        return None

    @property
    def max_concurrency(self) -> int:
        return self._options.max_batch

    @property
    def stats(self) -> Stats | None:
        """Counts of the model's loop, over all its engines; None before it is loaded."""
        parts = self._server.loaded()
        return None if parts is None else parts.scheduler.stats

    async def start(self) -> None:
        """Load the model now rather than at the first request."""
        await self._parts()

    async def complete(self, request: Request, on_delta: OnDelta | None = None) -> Reply:
        """Answer `request`. `on_delta` is called on this event loop; what it raises ends the call.

        Raises:
            PromptTooLongError: The prompt leaves no room for a token.
            RequestRejectedError: Prompt, constraint or a decoding rule is wrong.
            ConfigError: The request has settings that this engine does not take.
        """
        self._check(request)
        parts = await self._parts()
        prompt_ids = parts.prompts.encode(request.prompt)
        limit = parts.model.context_tokens
        if len(prompt_ids) >= limit:
            raise PromptTooLongError(
                f"the prompt has {len(prompt_ids)} tokens; {self.url} takes {limit - 1} at most, "
                f"to leave room for a completion in its {limit} tokens",
                prompt_tokens=len(prompt_ids),
                max_tokens=limit,
            )
        job = await self._job(parts, request, prompt_ids, on_delta)
        self._check_open()
        self._jobs.add(job)
        try:
            parts.scheduler.submit(job)
            return await job.future
        finally:
            self._jobs.discard(job)
            parts.scheduler.abort(job)

    async def count_tokens(self, prompt: Chat | str | tuple[int, ...]) -> int | None:
        """Return how many tokens `prompt` has, those of the chat template included."""
        parts = await self._parts()
        return len(parts.prompts.encode(prompt))

    async def aclose(self) -> None:
        """Abort this engine's requests; the model stays for other engines of it."""
        if self._is_closed:
            return
        self._is_closed = True
        for job in list(self._jobs):
            closed = EngineError(f"{self.url} was closed while the request ran")
            if not job.loop.is_closed():
                job.loop.call_soon_threadsafe(job.resolve, closed)
        self._release()

    async def _parts(self) -> Parts:
        self._check_open()
        # Loading goes on for the other callers when this one gives up.
        return await asyncio.shield(asyncio.wrap_future(self._server.parts()))

    async def _job(
        self, parts: Parts, request: Request, prompt_ids: tuple[int, ...], on_delta: OnDelta | None
    ) -> Job:
        from motet.serving.local.generation import make_job

        grammar = None
        if request.constraint is not None:
            grammar = await asyncio.to_thread(parts.grammars.compile, request.constraint)
        return make_job(
            request,
            model=parts.model,
            name=self._options.model,
            prompt_ids=prompt_ids,
            grammar=grammar,
            on_delta=on_delta,
        )

    def _check_open(self) -> None:
        if self._is_closed:
            raise EngineError(f"{self.url} is closed")

    def _check(self, request: Request) -> None:
        if request.model not in (None, self._options.model, self.url):
            raise ModelNotFoundError(
                f"model is {request.model!r}; {self.url} serves {self._options.model!r} only"
            )
        if isinstance(request.n, bool) or not isinstance(request.n, int) or request.n < 1:
            raise ConfigError(f"n is {request.n!r}; it must be at least 1")
        if request.sampling.extra:
            names = ", ".join(map(repr, request.sampling.extra))
            raise ConfigError(f"extra has {names}; the local engine takes no extra fields")

"""The engine that runs a small model inside this process."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet.engine import Capability, OnDelta, Reply, Request
from motet.errors import ConfigError, EngineError, ModelNotFoundError, PromptTooLongError
from motet.next_tokens import ALL, check_next
from motet.serving.local.model_files import (
    PACKAGED,
    check_model,
    context_of,
    is_folder_name,
    read_json,
)
from motet.serving.local.options import LocalOptions, read_options
from motet.serving.local.rule_set import HOW, KINDS, RuleSet, read_rules
from motet.serving.local.server import Parts, borrow, give_back

if TYPE_CHECKING:
    from motet.serving.local.jobs import Job
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

    Decoding rules are carried out in the step, in this order: a paired rule mixes the logits of
    both prompts, layers are contrasted, penalties, functions of one's own, then masks. A paired
    completion counts once against `max_batch` and has two rows; its usage counts both prompts,
    and each generated token in both rows. A weighted rule's weight is by the tempered model, among
    what the other rules allow; a stop text may end it before the model's own end of turn counts.
    Next tokens are told of the float32 logits, without any sampling setting.
    Candidates are computed together behind one computation of the prompt; their usage counts
    their tokens with the prompt's.
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
                Capability.SCORE,
                Capability.NEXT_TOKENS,
                Capability.PREFIX_CACHE,
                Capability.CONTINUE,
                Capability.SEED,
                Capability.STREAM,
            }
        )

    @property
    def decoding_rules(self) -> Mapping[str, str]:
        """Kinds of rules that it carries out, each with how."""
        return dict.fromkeys(KINDS, HOW)

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
            PromptTooLongError: A prompt leaves no room for a token, or for a candidate.
            RequestRejectedError: Prompt, constraint or a decoding rule is wrong.
            ConfigError: The request has settings that this engine does not take.
        """
        self._check(request)
        is_read = bool(request.candidates) or request.next_tokens is not None
        rules = RuleSet() if is_read else read_rules(request)
        parts = await self._parts()
        if request.next_tokens is not None:
            return await self._tell(parts, request)
        if request.candidates:
            job = self._scoring_job(parts, request)
        else:
            job = await self._job(parts, request, rules, on_delta)
        return await self._carry_out(parts, job)

    async def _carry_out(self, parts: Parts, job: Job) -> Reply:
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
        self, parts: Parts, request: Request, rules: RuleSet, on_delta: OnDelta | None
    ) -> Job:
        from motet.serving.local.compiling import compile_masks
        from motet.serving.local.jobs import make_job

        prompts = [parts.prompts.encode(request.prompt)]
        if request.partner is not None:
            partner = request.partner
            last = prompts[0][-1:]
            prompts.append(parts.prompts.encode(partner) if len(partner) else last)
        for ids in prompts:
            self._check_length(parts, len(ids), 1)
        # Compiling a grammar takes long enough to hold up the event loop.
        masks = await asyncio.to_thread(compile_masks, rules, request.constraint, parts)
        return make_job(
            request,
            model=parts.model,
            name=self._options.model,
            prompts=tuple(prompts),
            rules=rules,
            masks=masks,
            on_delta=on_delta,
        )

    def _scoring_job(self, parts: Parts, request: Request) -> Job:
        from motet.serving.local.jobs import make_scoring_job

        prompt_ids = parts.prompts.encode(request.prompt)
        candidates = [parts.prompts.encode_part("candidates", c) for c in request.candidates]
        self._check_length(parts, len(prompt_ids), max(map(len, candidates)))
        return make_scoring_job(
            request,
            model=parts.model,
            name=self._options.model,
            prompt_ids=prompt_ids,
            candidates=candidates,
        )

    async def _tell(self, parts: Parts, request: Request) -> Reply:
        """Tell next tokens."""
        from motet.serving.local.jobs import make_telling_job

        prompt_ids = parts.prompts.encode(request.prompt)
        written = parts.prompts.encode_part("written", request.written) if request.written else ()
        self._check_length(parts, len(prompt_ids) + len(written), 1)
        job = make_telling_job(
            request,
            model=parts.model,
            name=self._options.model,
            prompt_ids=prompt_ids + written,
            k=request.next_tokens or ALL,
        )
        reply = await self._carry_out(parts, job)
        told = reply.next_tokens
        assert told is not None
        wanted = told.ids if request.are_texts_wanted else ()
        # Texts of a whole vocabulary take long enough to hold up the event loop.
        texts = await asyncio.to_thread(parts.texts.of, wanted)
        told = replace(told, texts=texts, text=parts.texts.joined(written))
        return replace(reply, next_tokens=told)

    def _check_length(self, parts: Parts, num_tokens: int, room: int) -> None:
        limit = parts.model.context_tokens
        if num_tokens + room > limit:
            raise PromptTooLongError(
                f"the prompt has {num_tokens} tokens; {self.url} takes {limit - room} at most, "
                f"to leave room for a completion in its {limit} tokens",
                prompt_tokens=num_tokens,
                max_tokens=limit,
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
        if request.candidates and request.partner is not None:
            raise ConfigError("candidates are scored by one prompt; partner must be None")
        check_next(request)
        if request.sampling.extra:
            names = ", ".join(map(repr, request.sampling.extra))
            raise ConfigError(f"extra has {names}; the local engine takes no extra fields")

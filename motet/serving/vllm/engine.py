"""The engine that runs vLLM in this process."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from motet.decoding import choosing_problem
from motet.engine import Capability, OnDelta, Reply, Request, Sampling, Usage
from motet.errors import CapabilityError, ConfigError, EngineError, ModelNotFoundError
from motet.next_tokens import ALL, NextTokens, check_next, likeliest, whole
from motet.serving.decoding.candidates import Ask, Ids, assemble, completions, plan, usage_of
from motet.serving.vllm import inprocess_adapters as adapters
from motet.serving.vllm.inprocess import Live, Stats, borrow, give_back
from motet.serving.vllm.inprocess_calls import Call, Work
from motet.serving.vllm.inprocess_params import make_params
from motet.serving.vllm.inprocess_work import Job, ask_all, check_length, generate
from motet.serving.vllm.options import VllmOptions, read_options
from motet.serving.vllm.replies import logprob_by_id
from motet.serving.vllm.token_api import TokenApi, decode

if TYPE_CHECKING:
    from motet.types import Chat

T = TypeVar("T")

_MAX_NUM_SEQS: Final = 256
"""Requests in flight where the engine has not told how many it runs at once."""
_MOST_WANTED: Final = 128
"""Tokens that one request of vLLM's may name."""
_PAIRED_RULES: Final = ("cfg", "cad", "adacad")
_PROCESSOR_RULES: Final = (*_PAIRED_RULES, "trie", "length", "weighted")


def connect(url: str, **settings: Any) -> VllmEngine:
    """Return the engine of a model that vLLM runs in this process, such as `vllm:org/model`.

    The url names a model on the hub, a folder (`vllm:/path`) or a packaged model
    (`vllm:smollm2`); fields of vLLM's `AsyncEngineArgs` stand in its query
    (`vllm:org/model?dtype=float32&max_model_len=2048`) or are given by keyword, and `cache_dir`,
    where unpacked models are kept. The engine starts at the first request.

    Raises:
        ConfigError: vLLM is not installed, or a setting is unknown.
        ModelNotFoundError: There is no such model.
    """
    return VllmEngine(read_options(url, settings))


class VllmEngine:
    """Serves one model by vLLM's `AsyncLLM`; a `motet.engine.Engine`.

    All engines of the same settings in a process share one, whatever thread or event loop they
    are used from. It ends with the process, or when the last of them is closed by `aclose`.
    A completion's `token_ids` hold everything that was generated, the end-of-turn token and the
    tokens of a stop text too. Completion i of a seeded request has the seed + i. At temperature 0
    the completions of a request are one, generated once.
    """

    def __init__(self, options: VllmOptions) -> None:
        self._options = options
        self._shared = borrow(options)
        self._release = weakref.finalize(self, give_back, self._shared)
        self._calls: set[Call[Any]] = set()
        self._is_closed = False

    @property
    def url(self) -> str:
        return self._options.url

    @property
    def capabilities(self) -> frozenset[Capability]:
        found = {
            Capability.GRAMMAR,
            Capability.CONTINUE,
            Capability.SEED,
            Capability.STREAM,
        }
        args = self._options.engine_args
        if not str(args.get("logprobs_mode", "")).endswith("logits"):
            found |= {Capability.LOGPROBS, Capability.SCORE}
        if args.get("logprobs_mode") in (None, "raw_logprobs"):
            found.add(Capability.NEXT_TOKENS)
        if args.get("enable_prefix_caching") is not False:
            found.add(Capability.PREFIX_CACHE)
        if args.get("enable_lora"):
            found.add(Capability.LORA)
        return frozenset(found)

    @property
    def context_tokens(self) -> int | None:
        """Most tokens of prompt and completion; None for a hub model that does not run yet."""
        live = self._shared.started()
        return self._options.context_tokens if live is None else live.context_tokens

    @property
    def max_concurrency(self) -> int:
        live = self._shared.started()
        if live is not None:
            return live.max_num_seqs
        told = self._options.engine_args.get("max_num_seqs")
        return told if type(told) is int else _MAX_NUM_SEQS

    @property
    def decoding_rules(self) -> Mapping[str, str]:
        """Rules that are carried out; those of the processor are known after `prepare`."""
        rules = {"constraint": "structured outputs", "stop": "stop strings"}
        live = self._shared.started()
        if live is not None and live.runner:
            known = (*_PROCESSOR_RULES, "dola") if live.has_layers else _PROCESSOR_RULES
            rules |= dict.fromkeys(known, f"processor, {live.runner} runner")
        elif live is not None and live.runner == "" and self._tells_whole_distributions:
            rules |= dict.fromkeys(_PAIRED_RULES, "one-token loop")
        return rules

    def rule_problem(self, sampling: Sampling) -> str | None:
        """Say which of these settings cannot hold beside the rules among them."""
        return choosing_problem(sampling)

    @property
    def _tells_whole_distributions(self) -> bool:
        return bool(self._options.engine_args.get("max_logprobs", -1) == -1)

    @property
    def stats(self) -> Stats | None:
        """Counts of the engine's last step, over all that share it; None before it runs."""
        live = self._shared.started()
        return None if live is None else live.stats

    async def prepare(self) -> None:
        """Start the engine, and learn which model runner carries out decoding rules."""
        live = await self._live()
        if live.runner is None:
            found = await TokenApi(self, live).probe()
            live.has_layers, live.runner = found.has_layers, found.runner

    async def complete(self, request: Request, on_delta: OnDelta | None = None) -> Reply:
        """Answer `request`. `on_delta` is called on this event loop; what it raises ends the call.

        Raises:
            PromptTooLongError: The prompt leaves no room for a token.
            RequestRejectedError: Prompt, constraint or a setting is wrong.
            ConfigError: The request has settings that this engine does not take.
            EngineUnavailableError: The engine ended; the next call starts another.
        """
        if isinstance(request.n, bool) or not isinstance(request.n, int) or request.n < 1:
            raise ConfigError(f"n is {request.n!r}; it must be at least 1")
        self._check_model(request.model)
        live = await self._live()
        check_next(request)
        if request.next_tokens is not None:
            return await self._tell(live, request)
        if request.candidates:
            return await self._score(live, request)
        if request.sampling.decoding:
            return await self._complete_by_rules(request, on_delta)
        return await self._complete(live, request, on_delta)

    async def count_tokens(self, prompt: Chat | str | tuple[int, ...]) -> int | None:
        """Return how many tokens `prompt` has, those of the chat template included."""
        live = await self._live()
        return len(live.encoder.encode(prompt))

    async def most_usage(self, request: Request) -> Usage | None:
        """Return the most that `request` uses, where it takes several requests of vLLM's."""
        if not request.candidates and request.partner is None:
            return None
        await self.prepare()
        live = await self._live()
        if request.candidates:
            return usage_of(_asks(live, request)[2])
        from motet.serving.decoding.metering import most_usage

        return await most_usage(TokenApi(self, live), request)

    async def load_adapter(self, name: str, path: str, *, version: str | None = None) -> str:
        """Load the LoRA adapter in folder `path`; return the name that requests give as their model.

        A version that is loaded has a name and a prefix cache of its own.

        Args:
            name: Of the adapter.
            path: Folder with its adapter_config.json and weights.
            version: None makes a new one.

        Raises:
            ConfigError: `name` or `version` is empty or holds an `@`, or the engine was not
                started with `enable_lora`.
            ModelNotFoundError: The folder holds no adapter.
            RequestRejectedError: This version is loaded already, or vLLM does not take it.
        """
        live = await self._live()
        return await self._carry_out(live, lambda _: adapters.load(live, name, path, version))

    async def unload_adapter(self, name: str) -> None:
        """Unload an adapter by the name that `load_adapter` returned.

        Raises:
            ModelNotFoundError: It is not loaded.
        """
        live = await self._live()
        await self._carry_out(live, lambda _: adapters.unload(live, name))

    async def aclose(self) -> None:
        """Abort this engine's requests; the last one that is closed ends vLLM's processes."""
        if self._is_closed:
            return
        self._is_closed = True
        for call in list(self._calls):
            call.fail(EngineError(f"{self.url} was closed while the request ran"))
        if self._release.detach() is not None and give_back(self._shared):
            await asyncio.to_thread(self._shared.stop)

    async def _live(self) -> Live:
        if self._is_closed:
            raise EngineError(f"{self.url} is closed")
        # Starting goes on for the other callers when this one gives up.
        return await asyncio.shield(asyncio.wrap_future(self._shared.live()))

    async def _carry_out(self, live: Live, work: Work[T]) -> T:
        if self._is_closed:
            raise EngineError(f"{self.url} is closed")
        call: Call[T] = Call(work)
        self._calls.add(call)
        try:
            return await live.bridge.carry_out(call)
        finally:
            self._calls.discard(call)

    def _check_model(self, model: str | None) -> None:
        live = self._shared.started()
        names = [self._options.model, *(live.adapters if live is not None else ())]
        if model not in (None, self.url, *names):
            raise ModelNotFoundError(
                f"model is {model!r}; {self.url} serves {', '.join(map(repr, names))}"
            )

    def _adapter(self, model: str | None, live: Live) -> Any:
        if model in (None, self.url, self._options.model):
            return None
        found = live.adapters.get(model)
        if found is None:
            raise ModelNotFoundError(f"model is {model!r}; its adapter is no longer loaded")
        return found

    async def _complete(self, live: Live, request: Request, on_delta: OnDelta | None) -> Reply:
        sampling, n = request.sampling, request.n
        prompt_ids = live.encoder.encode(request.prompt)
        check_length(live, self.url, prompt_ids)
        params = make_params(
            sampling,
            defaults=live.defaults,
            n=n,
            constraint=request.constraint,
            is_streamed=on_delta is not None,
        )
        job = self._job(live, request, prompt_ids, params)
        num_copies = n // params.n
        """Of each completion: at temperature 0 vLLM makes one only."""

        async def work(call: Call[Reply]) -> Reply:
            def on_piece(piece: Any) -> None:
                if piece.text:
                    for copy in range(num_copies):
                        call.report(on_delta, piece.index + copy, piece.text)  # type: ignore[arg-type]

            told = None if on_delta is None else on_piece
            found, num_cached = await generate(live, job, told)
            made = [each.completion(sampling.logprobs) for each in found]
            generated = sum(len(each.token_ids) for each in made)
            usage = Usage(len(prompt_ids), generated, num_cached, 1)
            return Reply(tuple(made * num_copies), usage, request.model or self._options.model)

        return await self._carry_out(live, work)

    async def _complete_by_rules(self, request: Request, on_delta: OnDelta | None) -> Reply:
        from motet.serving.decoding import rule_client
        from motet.serving.decoding.metering import metered

        await self.prepare()
        live = await self._live()
        tokens = metered(TokenApi(self, live), request.meter)
        reply = await rule_client.complete(tokens, request, on_delta)
        return replace(reply, model=request.model or self._options.model)

    async def _score(self, live: Live, request: Request) -> Reply:
        prompt_ids, candidates, asks = _asks(live, request)
        check_length(live, self.url, asks[-1].prefix_ids if asks else prompt_ids)
        job = self._job(live, request, prompt_ids, None)

        async def work(_: Call[Any]) -> tuple[list[dict[int, float]], int]:
            return await ask_all(live, job, asks)

        answers, num_cached = await self._carry_out(live, work)
        logprobs = assemble(prompt_ids, candidates, asks, answers)
        tokens = TokenApi(self, live)
        texts = [
            text if isinstance(text, str) else await tokens.decode(ids, prompt_ids)
            for text, ids in zip(request.candidates, candidates, strict=True)
        ]
        names = {
            token: decode(live, (token,), keep_special=True) for ids in candidates for token in ids
        }
        return Reply(
            completions(candidates, logprobs, texts=texts, names=names),
            replace(usage_of(asks), cached_tokens=num_cached, calls=1),
            request.model or self._options.model,
        )

    async def _tell(self, live: Live, request: Request) -> Reply:
        """Tell next tokens: an end is taken, so that its logprob is told too."""
        k, most = request.next_tokens or ALL, self._options.engine_args.get("max_logprobs", -1)
        if most != -1 and not 0 < k <= most:
            raise CapabilityError(
                f"next_tokens is {k}; {self.url} was started with max_logprobs={most}, and tells "
                "no more than that; -1 is all"
            )
        written = live.encoder.encode_part("written", request.written) if request.written else ()
        ends = tuple(sorted(live.eos_ids))
        sampling = Sampling(max_tokens=1, temperature=0.0, extra=request.sampling.extra)
        params = make_params(
            sampling,
            defaults={},
            logprobs=k,
            allowed_token_ids=list(ends) or None,
        )
        prompt_ids = live.encoder.encode(request.prompt) + written
        check_length(live, self.url, prompt_ids)
        job = self._job(live, request, prompt_ids, params)

        async def work(_: Call[Any]) -> tuple[dict[int, float], int]:
            [found], num_cached = await generate(live, job)
            return logprob_by_id(found.logprobs[0]) if found.logprobs else {}, num_cached

        line, num_cached = await self._carry_out(live, work)
        texts = live.token_texts
        if k == ALL:
            told = whole([line.get(token, -math.inf) for token in range(max(line) + 1)], ends)
        else:
            ids = likeliest(line, k, ends)
            told = NextTokens(tuple(ids), tuple(line[each] for each in ids), (), ends)
        wanted = told.ids if request.are_texts_wanted else ()
        named = await asyncio.to_thread(texts.of, wanted)
        usage = Usage(len(prompt_ids), 1, num_cached, 1)
        model = request.model or self._options.model
        told = replace(told, texts=named, text=texts.joined(written))
        return Reply((), usage, model, next_tokens=told)

    def _job(self, live: Live, request: Request, prompt_ids: tuple[int, ...], params: Any) -> Job:
        return Job(
            url=self.url,
            prompt_ids=prompt_ids,
            params=params,
            priority=request.priority,
            cache_salt=request.cache_salt,
            request_id=request.request_id,
            adapter=self._adapter(request.model, live),
        )


def _asks(live: Live, request: Request) -> tuple[Ids, list[Ids], list[Ask]]:
    """Return the ids of the prompt and of each candidate, and what to ask about them."""
    prompt_ids = live.encoder.encode(request.prompt)
    candidates = [live.encoder.encode_part("candidates", each) for each in request.candidates]
    return prompt_ids, candidates, plan(prompt_ids, candidates, most_wanted=_MOST_WANTED)

"""A vLLM engine of this process: its thread, its event loop, and who shares it."""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motet.errors import EngineError, EngineUnavailableError, MotetError
from motet.serving.decoding.token_texts import TokenTexts
from motet.serving.vllm.inprocess_calls import Bridge
from motet.serving.vllm.inprocess_logprobs import NamedTokens
from motet.serving.vllm.inprocess_start import DeathWatch, child_pids, is_on_cpu, shut_down, start

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

    from motet.serving.local.prompts import PromptEncoder
    from motet.serving.vllm.options import VllmOptions

logger = logging.getLogger(__name__)

_JOIN_S = 20.0


@dataclass(slots=True)
class Stats:
    """Counts of one engine, as its last step told them."""

    num_running: int = 0
    num_waiting: int = 0
    num_prefix_queries: int = 0
    """Prompt tokens that were looked up in the prefix cache."""
    num_prefix_hits: int = 0
    """Those of them that were there."""


@dataclass(slots=True, eq=False)
class Live:
    """A running engine. What is marked so belongs to its loop."""

    llm: AsyncLLM
    """Belongs to the loop."""
    bridge: Bridge
    encoder: PromptEncoder
    tokenizer: Any
    eos_ids: frozenset[int]
    special_ids: frozenset[int]
    """Special tokens, and ids of the model that its tokenizer makes no text of."""
    context_tokens: int
    max_num_seqs: int
    max_adapters: int | None
    """Most adapters that may be loaded; None without a limit, 0 where it takes none."""
    is_v2: bool
    """Whether the newer model runner is configured."""
    defaults: Mapping[str, Any]
    """Sampling settings of the model's generation_config.json."""
    stats: Stats
    named_tokens: NamedTokens
    """Belongs to the loop."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Belongs to the loop."""
    error: Exception | None = None
    """Why it ended."""
    adapters: dict[str, Any] = field(default_factory=dict)
    """vLLM's LoRA requests, by the name that requests give as their model."""
    num_adapters: int = 0
    """How many were ever loaded; belongs to the loop."""
    has_layers: bool = False
    """Whether the processor has the states of earlier layers, as the probe tells."""
    runner: str | None = None
    """What the probe told; None before it ran."""
    texts: TokenTexts | None = None
    """Made at first use."""

    @property
    def token_texts(self) -> TokenTexts:
        """What single tokens add to a text."""
        if self.texts is None:
            self.texts = TokenTexts(self.tokenizer.backend_tokenizer, self.special_ids)
        return self.texts

    @property
    def is_dead(self) -> bool:
        return self.error is not None or bool(self.llm.errored)


class InProcess:
    """One engine on a loop in a thread of its own, which start at first use."""

    def __init__(self, options: VllmOptions) -> None:
        self.options = options
        self.num_users = 0
        self._lock = threading.Lock()
        self._live: Future[Live] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def live(self) -> Future[Live]:
        """Return the running engine; the first call starts it, and so does one after its death."""
        with self._lock:
            future = self._live
            if future is not None and future.done() and not _is_well(future):
                future = None
            if future is None:
                future = self._live = Future()
                previous = self._thread
                self._thread = threading.Thread(
                    target=self._serve,
                    args=(future, previous),
                    name=f"motet-vllm-{self.options.model}",
                    daemon=True,
                )
                self._thread.start()
            return future

    def started(self) -> Live | None:
        """Return the engine where it runs."""
        future = self._live
        is_running = future is not None and future.done() and _is_well(future)
        return future.result() if future is not None and is_running else None

    def stop(self) -> None:
        """End the engine and its processes; what runs in it fails."""
        with self._lock:
            future, thread = self._live, self._thread
            self._live = self._thread = None
        if future is None or thread is None:
            return
        future.add_done_callback(_ask_to_stop)
        if thread is not threading.current_thread():
            thread.join(_JOIN_S)

    def _serve(self, future: Future[Live], previous: threading.Thread | None) -> None:
        if previous is not None:
            previous.join(_JOIN_S)
        try:
            asyncio.run(self._main(future))
        except Exception as exc:
            logger.debug("the loop of %s ended", self.options.url, exc_info=True)
            if not future.done():
                future.set_exception(_start_error(self.options, exc))

    async def _main(self, future: Future[Live]) -> None:
        stats = Stats()
        try:
            llm = start(self.options, [_recorder(stats)])
            live = _describe(llm, stats)
        except MotetError as error:
            future.set_exception(error)
            return
        watch = DeathWatch(child_pids(llm))
        # Registered now, this runs before vLLM's own clean-up, which would find its process gone.
        atexit.register(self.stop)
        del llm
        future.set_result(live)
        try:
            await _until_stop_or_death(live)
            await live.bridge.close(lambda: _closed(self.options, live))
        finally:
            try:
                await shut_down(live.llm)
            finally:
                watch.stop()
                atexit.unregister(self.stop)
            # vLLM's finaliser must not run when the interpreter is half gone.
            live.llm = _Gone()
            await asyncio.sleep(0)


class _Gone:
    """In the place of an engine that was shut down."""

    errored = True


def _is_well(done: Future[Live]) -> bool:
    return done.exception() is None and not done.result().is_dead


async def _until_stop_or_death(live: Live) -> None:
    while not live.stopping.is_set():
        try:
            await asyncio.wait_for(live.stopping.wait(), 1.0)
        except TimeoutError:
            if live.is_dead:
                live.error = live.error or RuntimeError("the engine's process ended")
                return


def _closed(options: VllmOptions, live: Live) -> EngineError:
    if live.error is not None:
        return EngineUnavailableError(f"{options.url} ended: {live.error}")
    return EngineError(f"{options.url} was shut down while the request ran")


def _ask_to_stop(future: Future[Live]) -> None:
    if future.exception() is None:
        live = future.result()
        live.bridge.tell(live.stopping.set)


def _describe(llm: AsyncLLM, stats: Stats) -> Live:
    from motet.serving.local.prompts import PromptEncoder

    config = llm.vllm_config
    tokenizer = llm.get_tokenizer()
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise EngineError(
            f"the model's tokenizer is a {type(tokenizer).__name__}; motet needs a fast tokenizer "
            "of transformers: set tokenizer_mode=hf"
        )
    found = config.model_config.try_get_generation_config().get("eos_token_id")
    eos_ids = {tokenizer.eos_token_id, *(found if isinstance(found, list) else [found])} - {None}
    most = config.lora_config.max_loras - 1 if is_on_cpu() and config.lora_config else None
    is_v2 = bool(config.use_v2_model_runner)
    vocab_size = config.model_config.get_vocab_size()
    return Live(
        llm=llm,
        bridge=Bridge(asyncio.get_running_loop()),
        encoder=PromptEncoder(tokenizer, vocab_size),
        tokenizer=tokenizer,
        eos_ids=frozenset(eos_ids),
        special_ids=textless_ids(tokenizer, vocab_size),
        context_tokens=config.model_config.max_model_len,
        max_num_seqs=config.scheduler_config.max_num_seqs,
        max_adapters=0 if config.lora_config is None else most,
        is_v2=is_v2,
        defaults=config.model_config.get_diff_sampling_param(),
        stats=stats,
        named_tokens=NamedTokens(can_mix=is_v2),
    )


def textless_ids(tokenizer: Any, vocab_size: int) -> frozenset[int]:
    """Return special tokens, and those of the model's last two ids that no token has.

    Vocabularies are filled up to a round number; such ids serve where special tokens are lacking.
    """
    has_token = tokenizer.backend_tokenizer.id_to_token
    spare = {i for i in range(max(0, vocab_size - 2), vocab_size) if has_token(i) is None}
    return frozenset(tokenizer.all_special_ids) | spare


def _recorder(stats: Stats) -> Any:
    """Return what vLLM makes a logger of counts from; it keeps `stats` up to date."""
    from vllm.v1.metrics.loggers import StatLoggerBase

    class Recorder(StatLoggerBase):  # type: ignore[misc]
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            pass

        def record(
            self,
            scheduler_stats: Any,
            iteration_stats: Any,
            mm_cache_stats: Any = None,
            engine_idx: int = 0,
        ) -> None:
            if scheduler_stats is None:
                return
            stats.num_running = scheduler_stats.num_running_reqs
            stats.num_waiting = scheduler_stats.num_waiting_reqs
            stats.num_prefix_queries += scheduler_stats.prefix_cache_stats.queries
            stats.num_prefix_hits += scheduler_stats.prefix_cache_stats.hits

        def log_engine_initialized(self) -> None:
            pass

    return Recorder


def _start_error(options: VllmOptions, exc: Exception) -> EngineError:
    error = EngineError(f"{options.url} does not start: {type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error


_engines: dict[str, InProcess] = {}
# Reentrant, as the collector may drop an engine, which gives its own back, at any time.
_engines_lock = threading.RLock()


def borrow(options: VllmOptions) -> InProcess:
    """Return the process's engine of these options; it starts at first use."""
    with _engines_lock:
        engine = _engines.get(options.key)
        if engine is None:
            engine = _engines[options.key] = InProcess(options)
        engine.num_users += 1
    return engine


def give_back(engine: InProcess) -> bool:
    """Take one user off, and say whether it was the last."""
    with _engines_lock:
        engine.num_users -= 1
        return engine.num_users == 0

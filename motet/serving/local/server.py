"""A model in this process: its thread, and the one instance that engines of it share."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.errors import ConfigError, EngineUnavailableError, MotetError
from motet.serving.local.model_files import model_folder, require_packages
from motet.serving.local.starting import collector_paused, import_transformers, read_ahead

if TYPE_CHECKING:
    from motet.serving.decoding.token_texts import TokenTexts
    from motet.serving.local.constraint import GrammarCompiler
    from motet.serving.local.model import LoadedModel
    from motet.serving.local.options import LocalOptions
    from motet.serving.local.prompts import PromptEncoder
    from motet.serving.local.scheduler import Scheduler

logger = logging.getLogger(__name__)

_JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a server has once its model is loaded."""

    model: LoadedModel
    scheduler: Scheduler
    prompts: PromptEncoder
    grammars: GrammarCompiler
    texts: TokenTexts


class ModelServer:
    """One model, loaded and stepped in a thread of its own that starts at first use."""

    def __init__(self, options: LocalOptions) -> None:
        self.options = options
        self.num_users = 0
        self._lock = threading.Lock()
        self._parts: Future[Parts] | None = None
        self._thread: threading.Thread | None = None

    def parts(self) -> Future[Parts]:
        """Return what the loaded model gives; loading begins with the first call."""
        with self._lock:
            if self._parts is None or (self._parts.done() and self._parts.exception()):
                self._parts = Future()
                self._thread = threading.Thread(
                    target=_serve,
                    args=(self.options, self._parts),
                    name=f"motet-{self.options.model}",
                    daemon=True,
                )
                self._thread.start()
            return self._parts

    def loaded(self) -> Parts | None:
        """Return the parts where the model is loaded."""
        parts = self._parts
        if parts is None or not parts.done() or parts.exception() is not None:
            return None
        return parts.result()

    def stop(self) -> None:
        """End the thread after its present step; a model that is loading is given up."""
        with self._lock:
            future, thread = self._parts, self._thread
            self._parts = self._thread = None
        if future is None or thread is None:
            return
        future.add_done_callback(_stop_scheduler)
        if thread is not threading.current_thread():
            thread.join(_JOIN_S)


def _serve(options: LocalOptions, parts: Future[Parts]) -> None:
    try:
        loaded = _load(options)
    except MotetError as error:
        parts.set_exception(error)
        return
    except Exception as exc:
        broken = EngineUnavailableError(f"{options.model} does not start: {exc}")
        broken.__cause__ = exc
        parts.set_exception(broken)
        return
    parts.set_result(loaded)
    loaded.scheduler.run()


@collector_paused()
def _load(options: LocalOptions) -> Parts:
    require_packages()
    folder = model_folder(options.model, options.cache_dir)
    read_ahead(folder)
    import torch

    import_transformers()
    from motet.serving.decoding.token_texts import TokenTexts
    from motet.serving.local import model
    from motet.serving.local.constraint import GrammarCompiler
    from motet.serving.local.prompts import PromptEncoder
    from motet.serving.local.scheduler import Scheduler

    torch.set_num_threads(options.threads or model.default_threads())
    loaded = model.load(folder, dtype=options.dtype)
    scheduler = Scheduler(
        loaded,
        max_members=options.max_batch,
        max_slots=options.max_tokens_in_cache,
        prefix_cache_bytes=options.prefix_cache_mb * 2**20,
        prefill_chunk=options.prefill_chunk,
    )
    prompts = PromptEncoder(loaded.tokenizer, loaded.vocab_size)
    grammars = GrammarCompiler(loaded.tokenizer, loaded.vocab_size, loaded.eos_ids)
    tokenizer = loaded.tokenizer
    texts = TokenTexts(tokenizer.backend_tokenizer, tokenizer.all_special_ids)
    return Parts(loaded, scheduler, prompts, grammars, texts)


def _stop_scheduler(parts: Future[Parts]) -> None:
    if parts.exception() is None:
        parts.result().scheduler.stop()


_servers: dict[str, ModelServer] = {}
# Reentrant, as the collector may drop an engine, which gives its server back, at any time.
_servers_lock = threading.RLock()
_all_servers: weakref.WeakSet[ModelServer] = weakref.WeakSet()


def borrow(options: LocalOptions) -> ModelServer:
    """Return the process's server of this model and dtype.

    It stays loaded when its last user leaves, so that the next need not wait; it is replaced
    when that next user wants other settings.

    Raises:
        ConfigError: Somebody uses the model with other settings.
    """
    retired = None
    with _servers_lock:
        server = _servers.get(options.url)
        if server is not None and server.options != options:
            if server.num_users:
                raise ConfigError(
                    f"{options.url} is in use with other settings: {server.options}; "
                    "close that engine first, or use the same settings"
                )
            retired, server = server, None
        if server is None:
            server = _servers[options.url] = ModelServer(options)
            _all_servers.add(server)
        server.num_users += 1
    if retired is not None:
        retired.stop()
    return server


def give_back(server: ModelServer) -> None:
    """Take one user off."""
    with _servers_lock:
        server.num_users -= 1


@atexit.register
def _stop_all() -> None:
    """Let threads leave torch before the interpreter goes."""
    for server in list(_all_servers):
        server.stop()

"""An embedding model in this process: its thread, and the batches that it computes."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.errors import ConfigError, EngineUnavailableError, MotetError
from motet.serving.local.embedder_files import embedder_folder, read_files, require_packages
from motet.serving.local.starting import collector_paused, import_transformers

if TYPE_CHECKING:
    from motet.serving.local.embedder_model import EmbedderModel


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderOptions:
    """What a local embedder runs and how much it may take."""

    model: str
    """`minilm`, or the folder of a sentence-transformers model."""
    threads: int | None = None
    """Of torch, for the whole process; None takes half of the cores, or OMP_NUM_THREADS."""
    max_batch: int = 64
    """Most texts that are computed together; more wait."""

    def __post_init__(self) -> None:
        for name in ("threads", "max_batch"):
            value = getattr(self, name)
            if value is None and name == "threads":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} is {value!r}; it must be a whole number, 1 or more")

    @property
    def url(self) -> str:
        return f"local:{self.model}"


class EmbedderServer:
    """One embedding model; texts that wait while it computes are its next batch."""

    def __init__(self, options: EmbedderOptions) -> None:
        self._options = options
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"motet-{options.model}")
        self._lock = threading.Lock()
        self._waiting: list[tuple[tuple[int, ...], Future[tuple[float, ...]]]] = []
        self._model: Future[EmbedderModel] | None = None
        self.num_batches = 0

    async def model(self) -> EmbedderModel:
        """Return the model, which is loaded at the first call.

        Raises:
            ModelNotFoundError, ConfigError, EngineUnavailableError: It does not load.
        """
        with self._lock:
            if self._model is None or (self._model.done() and self._model.exception()):
                self._model = self._thread.submit(_load, self._options)
            loading = self._model
        # Loading goes on for the other callers when this one gives up.
        return await asyncio.shield(asyncio.wrap_future(loading))

    async def embed(self, ids: tuple[int, ...]) -> tuple[float, ...]:
        """Return the vector of a text's ids.

        Raises:
            EngineUnavailableError: The computation failed.
        """
        model = await self.model()
        found: Future[tuple[float, ...]] = Future()
        with self._lock:
            self._waiting.append((ids, found))
        self._thread.submit(self._work, model)
        return await asyncio.wrap_future(found)

    def _work(self, model: EmbedderModel) -> None:
        """Compute those that wait; what another round has taken leaves nothing to do."""
        with self._lock:
            taken = self._waiting[: self._options.max_batch]
            del self._waiting[: self._options.max_batch]
        batch = [(ids, found) for ids, found in taken if found.set_running_or_notify_cancel()]
        if not batch:
            return
        self.num_batches += 1
        try:
            vectors = model.embed([ids for ids, _ in batch])
        except Exception as exc:
            for _, found in batch:
                failed = EngineUnavailableError(f"{self._options.url} failed: {exc}")
                failed.__cause__ = exc
                found.set_exception(failed)
            return
        for (_, found), vector in zip(batch, vectors, strict=True):
            found.set_result(vector)


@collector_paused()
def _load(options: EmbedderOptions) -> EmbedderModel:
    try:
        require_packages()
        files = read_files(embedder_folder(options.model))
        import torch

        import_transformers()
        from motet.serving.local import embedder_model
        from motet.serving.local.model import default_threads

        torch.set_num_threads(options.threads or default_threads())
        return embedder_model.load(files)
    except MotetError:
        raise
    except Exception as exc:
        raise EngineUnavailableError(f"{options.url} does not start: {exc}") from exc


_servers: dict[EmbedderOptions, EmbedderServer] = {}
_servers_lock = threading.Lock()


def server_of(options: EmbedderOptions) -> EmbedderServer:
    """Return the process's server of this model, which stays loaded between runs."""
    with _servers_lock:
        if options not in _servers:
            _servers[options] = EmbedderServer(options)
        return _servers[options]

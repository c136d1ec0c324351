"""Start vLLM's `AsyncLLM` from a library: its arguments, environment and child process."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import multiprocessing.spawn
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from motet.errors import ConfigError, EngineError, ModelNotFoundError, MotetError
from motet.serving.local.model_files import PACKAGED, is_folder_name, model_folder

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

    from motet.serving.vllm.options import VllmOptions

logger = logging.getLogger(__name__)

PAIR_SCHEDULER: Final = "motet.serving.vllm.pair_scheduler.PairScheduler"
_CPU_KV_BYTES: Final = 2 * 2**30
_CPU_END_S: Final = 0.5
"""How long the engine's process may take to end by itself."""
_start_lock = threading.Lock()
"""Held while an engine starts: environment and multiprocessing belong to the whole process."""


def start(options: VllmOptions, stat_loggers: list[Any]) -> AsyncLLM:
    """Return a running engine; call it on the event loop that the engine is to live on.

    Raises:
        ConfigError: vLLM does not take an option.
        ModelNotFoundError: The model is not there.
        EngineError: The engine did not start; vLLM's own output tells why.
    """
    with _start_lock, _environment(), _without_main(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _start(options, stat_loggers)
        except MotetError:
            raise
        except Exception as exc:
            raise _mapped(options, exc) from exc


def _start(options: VllmOptions, stat_loggers: list[Any]) -> AsyncLLM:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    model = options.model
    if model in PACKAGED or is_folder_name(model):
        model = str(model_folder(model, options.cache_dir))
    is_cpu = is_on_cpu()
    if is_cpu:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    settings = {**default_args(is_cpu=is_cpu, environment=os.environ), **options.engine_args}
    if is_cpu and settings.get("enable_lora"):
        # Without a GPU vLLM gives rows of the model itself the last adapter's place: keep it empty.
        settings["max_loras"] = options.max_adapters + 1
    try:
        engine_args = AsyncEngineArgs(model=model, **settings)
        config = engine_args.create_engine_config()
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"vLLM does not take the options of {options.url}: {exc}") from exc
    return AsyncLLM.from_vllm_config(
        config,
        stat_loggers=stat_loggers,
        enable_log_requests=engine_args.enable_log_requests,
        disable_log_stats=True,
    )


def is_on_cpu() -> bool:
    """Say whether vLLM runs without a GPU."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def default_args(*, is_cpu: bool, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the engine arguments that motet sets where the user does not.

    Without a GPU no prompt is prefilled in chunks: a sampled request with a seed would end the
    engine then.
    """
    settings: dict[str, Any] = {
        "scheduling_policy": "priority",
        "max_logprobs": -1,
        # The grammars of the local engine, and no room for a small model to pad JSON without end.
        "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
    }
    if importlib.util.find_spec(PAIR_SCHEDULER.rpartition(".")[0]) is not None:
        settings["scheduler_cls"] = PAIR_SCHEDULER
        settings["async_scheduling"] = False  # the pair scheduler is a synchronous one
    if is_cpu:
        settings |= {"enforce_eager": True, "block_size": 32, "enable_chunked_prefill": False}
        if not environment.get("VLLM_CPU_KVCACHE_SPACE"):
            settings["kv_cache_memory_bytes"] = _CPU_KV_BYTES
    return settings


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Set what vLLM reads from the environment, where the user has not; put it back after.

    A child process that is spawned meanwhile keeps it.
    """
    wanted = {
        "VLLM_LOGGING_LEVEL": "WARNING",
        # Threads run here, so a forked child could wait for a lock that nobody holds any more.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        # Half of the cores, which do not spin: spinning threads starve a machine that is shared.
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
        "GOMP_SPINCOUNT": "0",
        "TQDM_DISABLE": "1",
        # In the child, and in the tracker of semaphores, which complains about a child's hard end.
        "PYTHONWARNINGS": "ignore",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    names = (*wanted, "VLLM_ENABLE_V1_MULTIPROCESSING")
    absent = [name for name in names if name not in os.environ]
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name in absent:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Let children that this thread spawns not run the user's script again.

    `multiprocessing` imports the script in a child, so that a script without the guard
    `if __name__ == "__main__"` would start an engine in the engine. vLLM's child needs nothing
    of it: what it gets is named by module.
    """
    original, thread = multiprocessing.spawn.get_preparation_data, threading.get_ident()

    def prepared(name: str) -> dict[str, object]:
        data: dict[str, object] = original(name)
        if threading.get_ident() == thread:
            data.pop("init_main_from_path", None)
            data.pop("init_main_from_name", None)
        return data

    multiprocessing.spawn.get_preparation_data = prepared
    try:
        yield
    finally:
        multiprocessing.spawn.get_preparation_data = original


async def shut_down(llm: AsyncLLM) -> None:
    """End the engine's processes; runs on the engine's loop.

    vLLM takes the end of its process for a failure, and says so, unless nobody listens.
    """
    noise = logging.getLogger("vllm")
    level = noise.level
    noise.setLevel(logging.CRITICAL)
    try:
        for task in (llm.output_handler, llm.engine_core.resources.output_queue_task):
            if task is not None:
                task.cancel()
                await asyncio.wait([task], timeout=1.0)
        # Without a GPU there is nothing that its end would have to put in order.
        timeout_s = _CPU_END_S if is_on_cpu() else None
        llm.shutdown(timeout_s)
    finally:
        noise.setLevel(level)


class DeathWatch:
    """Ends the engine's process when this one is killed, which runs no clean-up."""

    def __init__(self, pids: list[int]) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        if not pids or sys.platform == "win32":
            return
        named = " ".join(map(str, pids))
        script = f"read _; kill -TERM {named}; sleep 10; kill -KILL {named}"
        self._process = subprocess.Popen(  # noqa: S603 - the script holds numbers only
            ["/bin/sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def stop(self) -> None:
        """Leave the engine to its own end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process = None


def child_pids(llm: AsyncLLM) -> list[int]:
    """Return the process ids of the engine's own processes."""
    manager = llm.engine_core.resources.engine_manager
    return [process.pid for process in getattr(manager, "processes", ()) if process.pid]


def _mapped(options: VllmOptions, exc: Exception) -> MotetError:
    shown = f"{options.url} does not start: {exc}"
    if isinstance(exc, ImportError):
        return ConfigError(f"the installed vllm does not load: {exc}")
    if isinstance(exc, OSError):
        return ModelNotFoundError(shown)
    return EngineError(shown)

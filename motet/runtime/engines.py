"""Engines in use on an event loop: found by URL, one dispatcher each."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from motet.dispatch import Dispatcher
from motet.engine import Engine
from motet.errors import ConfigError, EngineUnavailableError, MotetError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

    from motet.model import Model

GROUP = "motet.engines"
_BUILT_IN = {
    "http": "motet.serving.openai:connect",
    "https": "motet.serving.openai:connect",
    "local": "motet.serving.local:connect",
    "vllm": "motet.serving.vllm:connect",
}


def find_factory(url: str) -> Callable[..., Engine]:
    """Return what connects to engines of this URL's scheme.

    Raises:
        ConfigError: No engine has this scheme.
        PluginError: The engine's entry point does not load.
    """
    scheme = urlsplit(url).scheme
    target = _BUILT_IN.get(scheme)
    if target is None:
        found = {e.name: e.value for e in importlib.metadata.entry_points(group=GROUP)}
        target = found.get(scheme)
        if target is None:
            known = ", ".join(sorted({*_BUILT_IN, *found}))
            raise ConfigError(f"no engine serves {url!r}; known schemes are {known}")
    module, _, name = target.partition(":")
    try:
        factory: Callable[..., Engine] = getattr(importlib.import_module(module), name)
    except Exception as exc:  # foreign code is imported here
        raise PluginError(f"the engine of {scheme}: ({target}) does not load: {exc}") from exc
    return factory


class EnginePool:
    """Dispatchers of one event loop, by engine. Runs on the loop share it."""

    _pools: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, EnginePool]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._opened: dict[Any, Engine] = {}
        self._dispatchers: dict[Any, Dispatcher] = {}
        self._lock = asyncio.Lock()

    @classmethod
    def of_running_loop(cls) -> EnginePool:
        """Return the running loop's pool; the engines' connections end with the loop."""
        loop = asyncio.get_running_loop()
        pool = cls._pools.get(loop)
        if pool is None:
            pool = cls._pools[loop] = cls()
        return pool

    async def dispatcher(self, model: Model, max_concurrency: int | None) -> Dispatcher:
        """Return the dispatcher of `model`'s engine, connecting where need be."""
        key = (self._key(model), max_concurrency)
        found = self._dispatchers.get(key)
        if found is not None:
            return found
        async with self._lock:
            found = self._dispatchers.get(key)
            if found is None:
                engine = await self._open(model)
                found = Dispatcher(engine, max_concurrency=max_concurrency)
                self._dispatchers[key] = found
        return found

    async def _open(self, model: Model) -> Engine:
        key = self._key(model)
        if key not in self._opened:
            if isinstance(model.engine, str):
                factory = find_factory(model.engine)
                settings = {"api_key": model.api_key} if model.api_key else {}
                try:
                    engine = await asyncio.to_thread(factory, model.engine, **settings)
                except MotetError:
                    raise
                except Exception as exc:  # a factory is foreign code
                    raise EngineUnavailableError(
                        f"engine {model.url} did not start: {type(exc).__name__}: {exc}"
                    ) from exc
                self._opened[key] = engine
            else:
                assert model.engine is not None
                self._opened[key] = model.engine
        return self._opened[key]

    @staticmethod
    def _key(model: Model) -> Any:
        return (model.engine, model.api_key) if isinstance(model.engine, str) else id(model.engine)

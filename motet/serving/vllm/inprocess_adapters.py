"""LoRA adapters of the engine in this process: every version has a name of its own."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from motet.errors import ConfigError, ModelNotFoundError, RequestRejectedError

if TYPE_CHECKING:
    from motet.serving.vllm.inprocess import Live


async def load(live: Live, name: str, path: str, version: str | None) -> str:
    """Load the adapter in folder `path`, and return its name.

    Raises:
        ConfigError: `name` or `version` is empty or holds an `@`, or the engine takes no adapters.
        ModelNotFoundError: The folder holds no adapter.
        RequestRejectedError: This version is loaded already, or vLLM does not take it.
    """
    from vllm.lora.request import LoRARequest

    if live.max_adapters == 0:
        raise ConfigError("the engine takes no adapters; start it with enable_lora=true")
    version = secrets.token_hex(6) if version is None else version
    for setting, value in (("name", name), ("version", version)):
        if not value or "@" in value:
            raise ConfigError(f"the adapter's {setting} is {value!r}; it must be a word without @")
    served = f"{name}@{version}"
    if served in live.adapters:
        raise RequestRejectedError(f"adapter {served!r} is loaded already", status=400)
    if live.max_adapters is not None and len(live.adapters) >= live.max_adapters:
        raise RequestRejectedError(
            f"{len(live.adapters)} adapters are loaded, and max_loras is {live.max_adapters}; "
            "without a GPU vLLM takes no more: unload one",
            status=400,
        )
    if not await asyncio.to_thread((Path(path) / "adapter_config.json").is_file):
        raise ModelNotFoundError(
            f"adapter {name!r} is not at {path!r}: there is no adapter_config.json"
        )
    live.num_adapters += 1
    adapter = LoRARequest(served, live.num_adapters, path)
    try:
        await live.llm.add_lora(adapter)
    except Exception as exc:
        raise RequestRejectedError(
            f"vLLM does not take the adapter at {path!r}: {exc}", status=400
        ) from exc
    live.adapters[served] = adapter
    return served


async def unload(live: Live, served: str) -> None:
    """Unload an adapter by the name that `load` returned.

    Raises:
        ModelNotFoundError: It is not loaded.
    """
    adapter = live.adapters.pop(served, None)
    if adapter is None:
        raise ModelNotFoundError(f"adapter {served!r} is not loaded")
    await live.llm.remove_lora(adapter.lora_int_id)

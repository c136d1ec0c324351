"""LoRA adapters of a vLLM server: every version has a name of its own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from motet.errors import ConfigError, ModelNotFoundError, RequestRejectedError
from motet.serving.openai.bodies import encode
from motet.serving.openai.detection import LOAD_ADAPTER_PATH

if TYPE_CHECKING:
    from motet.serving.openai.connection import Connection

UNLOAD_ADAPTER_PATH = "/unload_lora_adapter"


async def load(connection: Connection, name: str, path: str, version: str | None) -> str:
    """Load an adapter, and return the name that requests give as their model.

    Raises:
        ConfigError: `name` or `version` is empty or holds an `@`.
        ModelNotFoundError: The server finds no adapter at `path`.
        RequestRejectedError: This version is loaded already, or the server takes no adapters.
    """
    version = secrets.token_hex(6) if version is None else version
    for setting, value in (("name", name), ("version", version)):
        if not value or "@" in value:
            raise ConfigError(f"the adapter's {setting} is {value!r}; it must be a word without @")
    served = f"{name}@{version}"
    content = encode({"lora_name": served, "lora_path": path})
    try:
        await connection.read(await connection.send("POST", LOAD_ADAPTER_PATH, content))
    except (RequestRejectedError, ModelNotFoundError) as error:
        if "no adapter found" in str(error).lower():
            raise ModelNotFoundError(f"adapter {name!r} is not at {path!r}: {error}") from error
        raise
    return served


async def unload(connection: Connection, served: str) -> None:
    """Unload an adapter by the name that `load` returned.

    Raises:
        ModelNotFoundError: It is not loaded.
        RequestRejectedError: The server takes no adapters.
    """
    content = encode({"lora_name": served})
    try:
        await connection.read(await connection.send("POST", UNLOAD_ADAPTER_PATH, content))
    except RequestRejectedError as error:
        if error.status == 404 and "cannot be found" in str(error):
            raise ModelNotFoundError(f"adapter {served!r} is not loaded: {error}") from error
        raise

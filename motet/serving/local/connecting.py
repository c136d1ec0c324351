"""Connect to a model in this process: one that generates, or one that embeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.serving.local import embedder, engine
from motet.serving.local.embedder_files import is_embedder
from motet.serving.local.embedder_server import EmbedderOptions
from motet.serving.local.options import model_name, read_settings

if TYPE_CHECKING:
    from motet.serving.local.embedder import LocalEmbedder
    from motet.serving.local.engine import LocalEngine


def connect(url: str, **settings: Any) -> LocalEngine | LocalEmbedder:
    """Return the engine of a local model: `local:smollm2` generates, `local:minilm` embeds.

    A folder that holds a modules.json, as sentence-transformers writes it, is an embedding model.
    Settings of `LocalOptions`, or of `EmbedderOptions`, stand in the url's query or are given by
    keyword. The model is loaded at the first request.

    Raises:
        ConfigError: A setting is unknown or out of range.
        ModelNotFoundError: There is no such model; the message says how to get it.
    """
    name = model_name(url)
    if is_embedder(name):
        found = read_settings(url, settings, EmbedderOptions)
        return embedder.LocalEmbedder(EmbedderOptions(model=name, **found))
    return engine.connect(url, **settings)

"""The local engines: a small model inside this process that generates, or one that embeds."""

from motet.serving.local.connecting import connect
from motet.serving.local.embedder import LocalEmbedder
from motet.serving.local.embedder_server import EmbedderOptions
from motet.serving.local.engine import LocalEngine
from motet.serving.local.options import LocalOptions

__all__ = ["EmbedderOptions", "LocalEmbedder", "LocalEngine", "LocalOptions", "connect"]

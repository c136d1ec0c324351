"""The local engine: a small model inside this process, with continuous batching."""

from motet.serving.local.engine import LocalEngine, connect
from motet.serving.local.options import LocalOptions

__all__ = ["LocalEngine", "LocalOptions", "connect"]

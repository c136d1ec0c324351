"""vLLM: its server's processes, the engine in this process, and what runs inside its step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motet.serving.vllm.engine import VllmEngine, connect

__all__ = ["VllmEngine", "connect"]


def __getattr__(name: str) -> Any:
    """Load the engine in this process when asked for; vLLM's own processes import this too."""
    if name in __all__:
        from motet.serving.vllm import engine

        return getattr(engine, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

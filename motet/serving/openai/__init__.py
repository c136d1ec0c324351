"""Any server that speaks OpenAI's HTTP API, as an engine."""

from motet.serving.openai.engine import OpenAIEngine, connect

__all__ = ["OpenAIEngine", "connect"]

"""What a vLLM server measures about itself, read from its Prometheus text."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final

_LINE = re.compile(r"^vllm:(\w+)(?:\{(.*)\})? (\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_NAMES: Final = {
    "num_requests_running": "running",
    "num_requests_waiting": "waiting",
    "prefix_cache_queries_total": "prefix_queries",
    "prefix_cache_hits_total": "prefix_hits",
    "num_preemptions_total": "preemptions",
    "kv_cache_usage_perc": "kv_usage",
    "prompt_tokens_total": "prompt_tokens",
    "generation_tokens_total": "generation_tokens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetrics:
    """Counts since the server started, and its state now, summed over its engines."""

    running: int = 0
    """Requests in the engine's batch now."""
    waiting: int = 0
    prefix_queries: int = 0
    """Prompt tokens looked up in the prefix cache."""
    prefix_hits: int = 0
    """Of these, tokens that were there."""
    preemptions: int = 0
    """Requests that were pushed out and recomputed."""
    kv_usage: float = 0.0
    """Largest share of an engine's KV cache that is in use, from 0 to 1."""
    prompt_tokens: int = 0
    generation_tokens: int = 0


def read_metrics(text: str) -> ServerMetrics | None:
    """Read the text of `/metrics`; None where it is not vLLM's."""
    found: dict[str, list[float]] = {}
    for name, _, value in _LINE.findall(text):
        if name in _NAMES:
            found.setdefault(_NAMES[name], []).append(float(value))
    if not found:
        return None
    values = {f.name: found[f.name] for f in fields(ServerMetrics) if f.name in found}
    usage = max(values.pop("kv_usage", [0.0]))
    return ServerMetrics(kv_usage=usage, **{name: int(sum(v)) for name, v in values.items()})


def read_cache_config(text: str) -> dict[str, str]:
    """Return the labels of `vllm:cache_config_info`, such as `block_size`; empty where none is."""
    for name, labels, _ in _LINE.findall(text):
        if name == "cache_config_info":
            return dict(_LABEL.findall(labels))
    return {}

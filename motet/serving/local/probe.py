"""Does ragged attention compute this model? Tried at load where it is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from motet.errors import ConfigError
from motet.serving.local.attention import IMPLEMENTATION, Chunk

if TYPE_CHECKING:
    from motet.serving.local.model import LoadedModel

KNOWN_TYPES = frozenset({"llama", "mistral", "phi3", "qwen2", "qwen3"})
"""Model types whose tokens were compared with those of transformers."""
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
"""Largest difference of a logit, as a part of the largest logit. Measured on models that are
computed rightly: 1e-6 in float32, 0.003 to 0.02 in bfloat16."""


def check_model(model: LoadedModel) -> None:
    """Compute a few tokens in chunks and compare with the model's own attention.

    Raises:
        ConfigError: They differ, or the model cannot be computed so at all.
    """
    network = model.network
    kind = network.config.model_type
    if kind in KNOWN_TYPES:
        return
    tokens = [(7 * i + 3) % model.vocab_size for i in range(24)]
    try:
        with torch.inference_mode():
            buffer = model.buffer(None)
            buffer.join(len(tokens), 0)
            for start, stop in ((0, 16), (16, 23)):
                model.step([Chunk(0, start, tokens[start:stop])], buffer)
            found = model.step([Chunk(0, 23, tokens[23:], num_logits=1)], buffer).last[0]
            network.set_attn_implementation("eager")
            expected = network(torch.tensor([tokens]), use_cache=False).logits[0, -1].float()
            network.set_attn_implementation(IMPLEMENTATION)
    except Exception as exc:
        raise ConfigError(f"the local engine does not compute {kind!r} models: {exc}") from exc
    tolerance = _TOLERANCE[str(network.dtype).removeprefix("torch.")]
    if not (found - expected).abs().max() <= tolerance * expected.abs().max():
        raise ConfigError(f"the local engine does not compute {kind!r} models exactly")

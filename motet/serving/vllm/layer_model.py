"""A Llama for vLLM that keeps hidden states of earlier layers for the step that samples."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from vllm.model_executor.models.llama import LlamaForCausalLM

from motet.errors import ConfigError
from motet.serving.vllm.layer_tap import _Served, read_tapped


class LayerTapLlamaForCausalLM(LlamaForCausalLM):  # type: ignore[misc]
    """Llama whose hidden states are `[tokens, (1 + k) H]`: the last layer's, then k earlier ones'.

    vLLM's runners only pick rows of what `forward` returns and hand them to `compute_logits`, so
    the earlier states of a step stand in the order of its logits.
    """

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.tapped = read_tapped(self.config)
        self.model._set_aux_hidden_state_layers(self.tapped.layers)
        self._early: Any = None
        _Served.model = weakref.ref(self)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        found = super().forward(*args, **kwargs)
        if isinstance(found, tuple):
            last, early = found
            return torch.cat([last, *early], dim=-1)
        return found

    def compute_logits(self, hidden_states: Any) -> Any:
        """Return the logits of the last layer; the other states are kept until the next call."""
        width = self.config.hidden_size
        self._early = hidden_states[:, width:].unflatten(-1, (-1, width))
        return super().compute_logits(hidden_states[:, :width].contiguous())

    def early_logits(self, rows: Sequence[int], places: Sequence[int], *, num_rows: int) -> Any:
        """Return float32 `[n, k, V]`: logits of n rows by k of the layers that are kept.

        Args:
            rows: Rows of the logits computed last.
            places: Which of the layers that are kept.
            num_rows: How many logits the caller has.

        Raises:
            ConfigError: The caller's logits are not those computed last.
        """
        if self._early is None or self._early.shape[0] != num_rows:
            kept = 0 if self._early is None else self._early.shape[0]
            raise ConfigError(f"the step has {num_rows} rows of logits; states are kept of {kept}")
        states = self._early[list(rows)][:, list(places)]
        # An adapter's wrapper of the head counts rows of its own; adapters do not change it here.
        process: Any = getattr(self.logits_processor, "base_layer", self.logits_processor)
        logits = process(self.lm_head, states.flatten(0, 1).contiguous())
        return logits.float().unflatten(0, (len(rows), len(places)))

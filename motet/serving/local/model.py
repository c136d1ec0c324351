"""A loaded model: its forward step over ragged rows, its tokenizer and its defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from motet.engine import Sampling
from motet.errors import ConfigError, ModelNotFoundError
from motet.serving.local import attention, probe
from motet.serving.local.attention import Chunk, StepPlan
from motet.serving.local.kv import RowBuffer
from motet.serving.local.model_files import context_of, read_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DEFAULT_CONTEXT = 2048
_SAMPLED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class StepLogits:
    """What a step computed. S is the number of logits asked for, V the vocabulary's size."""

    last: Any
    """float32 `[S, V]`, in the order of the chunks and their tokens; a fresh tensor."""
    early: dict[int, Any]
    """float32 `[K, V]` of the K layers that a chunk asked for, by the chunk's place."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The network and what its files say about it."""

    network: Any
    tokenizer: Any
    vocab_size: int
    """Width of the logits; the tokenizer may know fewer tokens."""
    num_layers: int
    context_tokens: int
    eos_ids: frozenset[int]
    defaults: Sampling
    """What the model's generation_config.json says; temperature 1 where it says nothing."""

    def buffer(self, max_slots: int | None) -> RowBuffer:
        """Return an empty row buffer; `max_slots` None allows 4 GiB, or one whole context."""
        config = self.network.config
        width = getattr(config, "head_dim", None)
        buffer = RowBuffer(
            num_layers=config.num_hidden_layers,
            num_heads=getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
            head_width=width or config.hidden_size // config.num_attention_heads,
            dtype=self.network.dtype,
            max_slots=0,
        )
        roomy = max(2**32 // buffer.token_bytes, self.context_tokens)
        buffer.max_slots = max_slots or roomy
        return buffer

    def step(self, chunks: Sequence[Chunk], buffer: RowBuffer) -> StepLogits:
        """Compute the tokens of `chunks`, at most one a row; their keys and values go into `buffer`."""
        plan = StepPlan(chunks, buffer)
        kept = [
            last - i
            for chunk, last in zip(chunks, plan.last, strict=True)
            for i in reversed(range(chunk.num_logits))
        ]
        asked = {"output_hidden_states": True} if any(chunk.layers for chunk in chunks) else {}
        out = self.network(
            input_ids=plan.input_ids,
            position_ids=plan.positions,
            use_cache=False,
            logits_to_keep=torch.tensor(kept, dtype=torch.long),
            plan=plan,
            **asked,
        )
        logits = out.logits[0]
        logits = logits.float() if logits.dtype != torch.float32 else logits.clone()
        return StepLogits(logits, self._early(chunks, plan, out.hidden_states) if asked else {})

    def _early(self, chunks: Sequence[Chunk], plan: StepPlan, hidden: Any) -> dict[int, Any]:
        """Return float32 `[K, V]` for each chunk that asks for K layers, by its place."""
        found = {}
        for i, chunk in enumerate(chunks):
            if chunk.layers:
                states = torch.stack([hidden[n][0, plan.last[i]] for n in chunk.layers])
                found[i] = self.network.get_output_embeddings()(states).float()
        return found

    def decode(self, ids: Sequence[int], *, keep_special: bool = False) -> str:
        """Return the text of `ids`; special tokens have none unless kept."""
        backend = self.tokenizer.backend_tokenizer
        return str(backend.decode(list(ids), skip_special_tokens=not keep_special))

    def with_defaults(self, sampling: Sampling) -> Sampling:
        """Fill the settings that `sampling` leaves open."""
        open_names = [name for name in _SAMPLED if getattr(sampling, name) is None]
        return replace(sampling, **{name: getattr(self.defaults, name) for name in open_names})


def load(folder: Path, *, dtype: str) -> LoadedModel:
    """Load the model in `folder`, whose weights are there already.

    Raises:
        ModelNotFoundError: The folder is no causal language model, or is damaged.
        ConfigError: The model's attention is of a kind that this engine does not compute.
    """
    attention.register()
    config = read_json(folder / "config.json")
    _check_attention(config)
    had_progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        network = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            attn_implementation=attention.IMPLEMENTATION,
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as exc:
        raise ModelNotFoundError(f"the model in {folder} does not load: {exc}") from exc
    finally:
        if had_progress:
            transformers_logging.enable_progress_bar()
    if not getattr(network, "_supports_attention_backend", False):
        raise ConfigError(
            f"the local engine does not compute models of type {config.get('model_type')!r}"
        )
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(f"the model in {folder} has no tokenizer.json")
    model = describe(network, tokenizer, config, read_json(folder / "generation_config.json"))
    probe.check_model(model)
    return model


def describe(
    network: Any, tokenizer: Any, config: dict[str, Any], generation: dict[str, Any]
) -> LoadedModel:
    """Put a network and its tokenizer together with what config files say."""
    is_sampled = bool(generation.get("do_sample"))
    found: dict[str, Any] = {name: generation.get(name) for name in _SAMPLED if is_sampled}
    found["temperature"] = 1.0 if found.get("temperature") is None else found["temperature"]
    if not found.get("top_k"):
        found["top_k"] = None
    eos: set[int] = set()
    for source in (generation.get("eos_token_id"), config.get("eos_token_id")):
        eos.update(source if isinstance(source, list) else [] if source is None else [source])
    if tokenizer.eos_token_id is not None:
        eos.add(tokenizer.eos_token_id)
    return LoadedModel(
        network=network,
        tokenizer=tokenizer,
        vocab_size=network.config.vocab_size,
        num_layers=network.config.num_hidden_layers,
        context_tokens=context_of(config) or _DEFAULT_CONTEXT,
        eos_ids=frozenset(eos),
        defaults=Sampling(**found),
    )


def _check_attention(config: dict[str, Any]) -> None:
    kinds = set(config.get("layer_types") or ()) - {"full_attention", "sliding_attention"}
    if kinds:
        raise ConfigError(f"the local engine does not compute layers of type {sorted(kinds)}")
    for name in ("attn_logit_softcapping", "sinks", "kv_lora_rank", "text_config"):
        if config.get(name):
            raise ConfigError(f"the local engine does not compute models with {name!r}")


def default_threads() -> int:
    """Return half of the cores, or what OMP_NUM_THREADS says.

    The other half is for the program: with all cores taken, OpenMP's spinning threads starve it.
    """
    if os.environ.get("OMP_NUM_THREADS"):
        return int(torch.get_num_threads())
    return max(1, (os.cpu_count() or 1) // 2)

"""Write the Llama model of a GGUF file as a folder of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gguf
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from motet.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL_TOKEN = 3
"""The type that GGUF gives to special tokens."""


def write_model(gguf_file: Path, folder: Path) -> None:
    """Write config, bfloat16 weights and tokenizer of `gguf_file` into `folder`."""
    reader = gguf.GGUFReader(gguf_file)
    config = _config(reader)
    weights = {}
    for tensor in reader.tensors:
        name = _name(tensor.name)
        array = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        if name.endswith("q_proj.weight"):
            array = _unpermute(array, config.num_attention_heads)
        elif name.endswith("k_proj.weight"):
            array = _unpermute(array, config.num_key_value_heads)
        weights[name] = array.to(torch.bfloat16).contiguous()
    config.tie_word_embeddings = "lm_head.weight" not in weights
    config.save_pretrained(folder)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _tokenizer(reader).save_pretrained(folder)


def _field(reader: Any, name: str) -> Any:
    field = reader.fields.get(name)
    if field is None:
        raise ConfigError(f"the GGUF file has no field {name!r}")
    return field.contents()


def _config(reader: Any) -> Any:
    if (family := _field(reader, "general.architecture")) != "llama":
        raise ConfigError(f"the GGUF file holds a model of the family {family!r}, not llama")
    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
        vocab_size=_field(reader, "llama.vocab_size"),
        hidden_size=_field(reader, "llama.embedding_length"),
        intermediate_size=_field(reader, "llama.feed_forward_length"),
        num_hidden_layers=_field(reader, "llama.block_count"),
        num_attention_heads=_field(reader, "llama.attention.head_count"),
        num_key_value_heads=_field(reader, "llama.attention.head_count_kv"),
        max_position_embeddings=_field(reader, "llama.context_length"),
        rms_norm_eps=_field(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": _field(reader, "llama.rope.freq_base"),
        },
        bos_token_id=_field(reader, "tokenizer.ggml.bos_token_id"),
        eos_token_id=_field(reader, "tokenizer.ggml.eos_token_id"),
        pad_token_id=_field(reader, "tokenizer.ggml.padding_token_id"),
    )


def _name(name: str) -> str:
    """Return transformers' name of a GGUF tensor."""
    outer = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    stem, _, kind = name.rpartition(".")
    if stem in outer:
        return f"{outer[stem]}.{kind}"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{_LAYER_NAMES[part]}.{kind}"


def _unpermute(weight: Any, num_heads: int) -> Any:
    """Undo llama.cpp's order of the rows of a query or key projection.

    llama.cpp pairs neighbouring rows of a head for its rotary embedding, transformers pairs the
    first half of a head with the second.
    """
    rows, columns = weight.shape
    pairs = weight.view(num_heads, rows // num_heads // 2, 2, columns)
    return pairs.transpose(1, 2).reshape(rows, columns)


def _tokenizer(reader: Any) -> Any:
    """Return the byte-level BPE tokenizer of the file, with its special tokens and template."""
    pre = _field(reader, "tokenizer.ggml.pre")
    if pre != "smollm":
        raise ConfigError(f"the GGUF file's tokenizer splits text as {pre!r}; known is 'smollm'")
    tokens = _field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(pair.split(" ", 1)) for pair in _field(reader, "tokenizer.ggml.merges")]
    bpe = models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)
    backend = Tokenizer(bpe)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    backend.decoder = decoders.ByteLevel()
    types = _field(reader, "tokenizer.ggml.token_type")
    control = [t for t, kind in zip(tokens, types, strict=True) if kind == _CONTROL_TOKEN]
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])

    def named(role: str) -> str:
        return str(tokens[_field(reader, f"tokenizer.ggml.{role}_token_id")])

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=named("bos"),
        eos_token=named("eos"),
        unk_token=named("unknown"),
        pad_token=named("padding"),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = _field(reader, "tokenizer.chat_template")
    return tokenizer

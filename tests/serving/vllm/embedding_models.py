"""A small random embedding model, and its vectors, computed with transformers and torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaModel


class EmbeddingReference:
    """A causal body whose last token's state, normalised, is the text's vector."""

    def __init__(self, tokenizer_of: Path, folder: Path) -> None:
        torch.manual_seed(7)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_of)
        config = LlamaConfig(
            vocab_size=len(self.tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=False,
            torch_dtype="float32",
        )
        self._model = LlamaModel(config).eval()
        for name, parameter in self._model.named_parameters():
            if "norm" not in name:
                torch.nn.init.normal_(parameter, std=0.15)
        self._model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        _write_modules(folder, config.hidden_size)

    def vector(self, text: str) -> list[float]:
        return self._of(self.tokenizer(text)["input_ids"])

    def chat_vector(self, chat: list[dict[str, str]]) -> list[float]:
        text = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=False)
        return self._of(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @torch.inference_mode()
    def _of(self, ids: list[int]) -> list[float]:
        state = self._model(torch.tensor([ids])).last_hidden_state[0, -1]
        return [float(each) for each in state / state.norm()]


def _write_modules(folder: Path, size: int) -> None:
    """Say, as sentence-transformers does, how vectors are made of the states."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {
            "idx": place,
            "name": str(place),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for place, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": size, "pooling_mode_lasttoken": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))

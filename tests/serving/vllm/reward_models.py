"""Small random reward models, and what they give, computed with transformers and torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
    Qwen2Config,
    Qwen2Model,
)

STEP_TAG = "<extra_0>"
_SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}


class OutcomeReference:
    """A classifier of one number on the last token."""

    def __init__(self, tokenizer_of: Path, folder: Path) -> None:
        torch.manual_seed(5)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_of)
        config = LlamaConfig(vocab_size=len(self.tokenizer), num_labels=1, pad_token_id=0, **_SIZES)
        self._model = LlamaForSequenceClassification(config).eval()
        _scatter(self._model)
        self._model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @torch.inference_mode()
    def reward(self, chat: list[dict[str, str]]) -> float:
        return float(self._model(_ids(self.tokenizer, chat)).logits[0, 0])


class ProcessReference:
    """Qwen2's process reward model: two classes, by two layers behind the hidden states.

    Transformers has no such class; its Qwen2 has the body, and the head is two products here.
    """

    def __init__(self, tokenizer_of: Path, folder: Path) -> None:
        torch.manual_seed(6)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_of)
        self.tokenizer.add_special_tokens({"additional_special_tokens": [STEP_TAG]})
        self.tag_id: int = self.tokenizer.convert_tokens_to_ids(STEP_TAG)
        config = Qwen2Config(vocab_size=len(self.tokenizer), num_labels=2, **_SIZES)
        self._model = Qwen2Model(config).eval()
        size = config.hidden_size
        self._head = torch.nn.Sequential(
            torch.nn.Linear(size, size), torch.nn.ReLU(), torch.nn.Linear(size, 2)
        )
        for part in (self._model, self._head):
            _scatter(part)
        whole = torch.nn.ModuleDict({"model": self._model, "score": self._head})
        config.architectures = ["Qwen2ForProcessRewardModel"]
        config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        _save(whole, folder / "model.safetensors")

    @torch.inference_mode()
    def rewards(self, chat: list[dict[str, str]]) -> list[float]:
        """Return the probability of the second class at each tag."""
        ids = _ids(self.tokenizer, chat)
        shares = self._head(self._model(ids).last_hidden_state[0]).softmax(-1)[:, 1]
        return [float(share) for share in shares[ids[0] == self.tag_id]]


def _ids(tokenizer: Any, chat: list[dict[str, str]]) -> torch.Tensor:
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=False)
    return torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])


def _scatter(module: torch.nn.Module) -> None:
    """Draw weights and biases wide enough that rewards of different texts differ."""
    for name, parameter in module.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.15)


def _save(module: torch.nn.Module, file: Path) -> None:
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    save_file(tensors, file, metadata={"format": "pt"})

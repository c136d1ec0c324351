"""LoRA adapters of vLLM in this process."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from motet.engine import Capability, Reply
from motet.errors import ConfigError, ModelNotFoundError, RequestRejectedError
from motet.serving.vllm.engine import connect
from tests.serving.vllm.test_inprocess import COUNT, URL, request

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.filterwarnings("default")]

NUM_LAYERS, WIDTH, RANK = 30, 576, 8


def write_adapter(folder: Path, scale: float) -> str:
    """Write an adapter of SmolLM2's output projections; at scale 0 it changes nothing."""
    import torch
    from safetensors.torch import save_file

    source = torch.Generator().manual_seed(1)
    weights = {}
    for layer in range(NUM_LAYERS):
        name = f"base_model.model.model.layers.{layer}.self_attn.o_proj"
        weights[f"{name}.lora_A.weight"] = torch.randn(RANK, WIDTH, generator=source) / WIDTH**0.5
        weights[f"{name}.lora_B.weight"] = torch.randn(WIDTH, RANK, generator=source) * scale
    folder.mkdir()
    save_file(weights, str(folder / "adapter_model.safetensors"))
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 16,
        "target_modules": ["o_proj"],
        "base_model_name_or_path": "smollm2",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return str(folder)


def test_adapters_are_models_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    engine = connect(f"{URL}&enable_lora=true&max_lora_rank=16&max_loras=2")
    neutral, strong = write_adapter(tmp_path / "a", 0.0), write_adapter(tmp_path / "b", 0.3)

    async def answer(model: str | None) -> Reply:
        return await engine.complete(replace(request(COUNT), model=model))

    async def run() -> None:
        assert Capability.LORA in engine.capabilities
        one = await engine.load_adapter("mine", neutral, version="1")
        two = await engine.load_adapter("mine", strong, version="2")
        assert (one, two) == ("mine@1", "mine@2")

        base, first, second = await asyncio.gather(*map(answer, (None, one, two)))
        assert first.completions[0].text == base.completions[0].text
        assert (await answer(None)).completions[0].text == base.completions[0].text
        assert second.completions[0].text != base.completions[0].text
        assert second.model == "mine@2"

        with pytest.raises(RequestRejectedError, match="max_loras is 2"):
            await engine.load_adapter("mine", neutral)
        with pytest.raises(RequestRejectedError, match="mine@1"):
            await engine.load_adapter("mine", neutral, version="1")
        with pytest.raises(ConfigError, match="name"):
            await engine.load_adapter("mi@ne", neutral)
        await engine.unload_adapter(one)
        with pytest.raises(ModelNotFoundError, match="adapter_config"):
            await engine.load_adapter("mine", str(tmp_path))
        with pytest.raises(ModelNotFoundError, match="mine@1"):
            await answer(one)
        with pytest.raises(ModelNotFoundError, match="mine@1"):
            await engine.unload_adapter(one)
        await engine.aclose()

    asyncio.run(run())

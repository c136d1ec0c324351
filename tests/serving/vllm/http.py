"""What the tests of the HTTP engine on a real server share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from motet.engine import Request, Sampling
from motet.serving.openai import OpenAIEngine, connect
from motet.types import Message

T = TypeVar("T")


def run(server: Any, act: Callable[[OpenAIEngine], Awaitable[T]], *, is_prepared: bool = True) -> T:
    """Run `act` with an engine over `server`."""

    async def running() -> T:
        engine = connect(f"{server.url}/v1", timeout_s=120)
        try:
            if is_prepared:
                await engine.prepare()
            return await act(engine)
        finally:
            await engine.aclose()

    return asyncio.run(running())


def ask(prompt: Any, **settings: Any) -> Request:
    """Ask greedily, for few tokens, unless `settings` say otherwise; a text is a user's turn."""
    names = ("model", "n", "constraint", "candidates", "cache_salt", "priority", "partner")
    given = {name: settings.pop(name) for name in names if name in settings}
    chat = (Message.user(prompt),) if isinstance(prompt, str) else prompt
    sampling = Sampling(**{"temperature": 0.0, "max_tokens": 16} | settings)
    return Request(**{"model": None, "prompt": chat, "sampling": sampling} | given)


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float) -> float:
    """Wait until `condition` holds, and return for how long that took, in seconds."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - the server makes it true
            await asyncio.sleep(0.02)
    return loop.time() - started


def write_adapter(folder: Path, *, scale: float, seed: int) -> Path:
    """Write a LoRA adapter of SmolLM2-135M in PEFT's form; at `scale` 0 it changes nothing."""
    import torch
    from safetensors.torch import save_file

    rank, width, num_layers = 8, 576, 30
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(num_layers):
        place = f"base_model.model.model.layers.{layer}.self_attn.o_proj"
        down = torch.randn(rank, width, generator=generator) / width**0.5
        tensors[f"{place}.lora_A.weight"] = down
        up = torch.randn(width, rank, generator=generator) * scale
        tensors[f"{place}.lora_B.weight"] = up
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["o_proj"],
        "base_model_name_or_path": "model",
        "inference_mode": True,
        "fan_in_fan_out": False,
        "modules_to_save": None,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return folder

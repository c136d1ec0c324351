"""What motet's processor, guidance and trees cost on a real vLLM server that this script starts.

    python benchmarks/vllm_rules.py [--quick] [--model local:smollm2]

Every ratio is of figures measured in one run, in turn. The script exits with 1 where a bound is
missed. Speeds of a machine that others use as well are noisy.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rows import Row, report

from motet.decoding import cfg, length
from motet.engine import Request, Sampling
from motet.serving.local.model_files import model_folder
from motet.serving.openai import OpenAIEngine, connect
from motet.serving.vllm.launch import Launch, free_port
from motet.serving.vllm.launch_process import serving
from motet.types import Message

CONCURRENT = 32
TOKENS = 48
STOCK = Path(__file__).parents[1] / "tests" / "serving" / "vllm" / "stock"


def start(stack: ExitStack, folder: Path, log: Path, *, is_stock: bool) -> str:
    environment = {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    if is_stock:
        environment["PYTHONPATH"] = str(STOCK)
    launch = Launch(
        model=str(folder),
        name="model",
        port=free_port(),
        is_stock=is_stock,
        extra=("--max-model-len", "2048", "--max-num-batched-tokens", "4096"),
        environment={**environment, **dict(_kept_variables())},
    )
    return f"{stack.enter_context(serving(launch, log, timeout_s=300)).url}/v1"


def _kept_variables() -> list[tuple[str, str]]:
    names = ("OMP_NUM_THREADS", "VLLM_CPU_KVCACHE_SPACE")
    return [(name, os.environ[name]) for name in names if name in os.environ]


def plain_requests(tag: str, count: int) -> list[Request]:
    """Requests of exactly TOKENS tokens."""
    sampling = Sampling(temperature=1.0, max_tokens=TOKENS, extra={"ignore_eos": True})
    return [
        Request(
            model=None,
            prompt=(Message.user(f"{tag} {i}: describe what you see."),),
            sampling=sampling,
        )
        for i in range(count)
    ]


def guided_requests(tag: str, count: int) -> list[Request]:
    """As many rows as twice `count` plain requests have, and as long."""
    sampling = Sampling(
        temperature=1.0,
        max_tokens=TOKENS,
        decoding=cfg(1.5) & length(min_tokens=TOKENS),  # type: ignore[arg-type]
    )
    return [
        Request(
            model=None,
            prompt=(Message.user(f"{tag} {i}: describe what you see."),),
            partner=(Message.user(f"{tag} {i}: describe something else."),),
            sampling=sampling,
        )
        for i in range(count)
    ]


async def rows_per_second(engine: OpenAIEngine, requests: Sequence[Request]) -> float:
    """Return generated row-tokens a second over all requests at once."""
    began = time.perf_counter()
    replies = await asyncio.gather(*(engine.complete(each) for each in requests))
    took = time.perf_counter() - began
    return sum(reply.usage.completion_tokens for reply in replies) / took


async def compare_installed(with_rules: str, stock: str, repeats: int) -> Row:
    ours, theirs = connect(with_rules), connect(stock)
    found: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(repeats + 1):
        for name, engine in (("ours", ours), ("theirs", theirs)):
            speed = await rows_per_second(engine, plain_requests(f"{name} {turn}", CONCURRENT))
            if turn:
                found[name].append(speed)
    speeds = {name: statistics.median(values) for name, values in found.items()}
    print(
        f"{CONCURRENT} at once, no rule asked: {speeds['ours']:.0f} tok/s with the processor and "
        f"the scheduler, {speeds['theirs']:.0f} without"
    )
    return Row(
        "no rule asked: speed with the processor / without",
        speeds["ours"] / speeds["theirs"],
        0.97,
        "at least",
    )


async def compare_guided(url: str, repeats: int) -> Row:
    engine = connect(url)
    await engine.prepare()
    found: dict[str, list[float]] = {"guided": [], "plain": []}
    for turn in range(repeats + 1):
        for name, measured in found.items():
            tag = f"{name} {turn}"
            requests = (
                guided_requests(tag, CONCURRENT // 2)
                if name == "guided"
                else plain_requests(tag, CONCURRENT)
            )
            speed = await rows_per_second(engine, requests)
            if turn:
                measured.append(speed)
    speeds = {name: statistics.median(values) for name, values in found.items()}
    print(
        f"{CONCURRENT} rows at once: {speeds['guided']:.0f} row tokens/s guided in pairs, "
        f"{speeds['plain']:.0f} plain"
    )
    return Row(
        "guided: row tokens a second / plain rows",
        speeds["guided"] / speeds["plain"],
        0.9,
        "at least",
    )


async def measure_tree(url: str) -> Row:
    """Continue a prompt 4 ways, each of these 4 ways, and each of these 4 ways."""
    engine = connect(url)
    await engine.prepare()
    tokens = await engine.tokens()
    text = " ".join(f"Fact {i}: item {i} costs {3 * i} dollars." for i in range(40))
    root = await tokens.encode((Message.user(f"{time.time()} {text} What follows?"),))
    sampling = Sampling(temperature=1.0, max_tokens=64, extra={"ignore_eos": True})
    before = await engine.metrics()
    level: list[tuple[int, ...]] = [root]
    reusable = 0
    for depth in range(3):
        # What was computed before: the whole prompt but its last token, where it is not the first.
        reusable += sum(4 * (len(node) - 1) for node in level)
        if depth == 0:
            reusable -= len(root) - 1
        requests = [Request(model=None, prompt=node, sampling=sampling) for node in level * 4]
        if depth == 0:
            first = await engine.complete(requests[0])
            replies = [first, *await asyncio.gather(*map(engine.complete, requests[1:]))]
        else:
            replies = list(await asyncio.gather(*map(engine.complete, requests)))
        level = [
            (*node, *reply.completions[0].token_ids)
            for node, reply in zip(level * 4, replies, strict=True)
        ]
    after = await engine.metrics()
    hits = after.prefix_hits - before.prefix_hits
    print(f"tree of 4 x 4 x 4: {hits} prompt tokens from the cache of {reusable} that could be")
    return Row(
        "tree of 4 x 4 x 4: prefix reused / could be reused", hits / reusable, 0.9, "at least"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--model", default="smollm2", help="name or folder of the model")
    arguments = parser.parse_args()
    repeats = 3 if arguments.quick else 7
    folder = model_folder(arguments.model.removeprefix("local:"), None)
    with tempfile.TemporaryDirectory() as logs, ExitStack() as stack:
        ours = start(stack, folder, Path(logs) / "ours.log", is_stock=False)
        stock = start(stack, folder, Path(logs) / "stock.log", is_stock=True)

        async def measure() -> list[Row]:
            return [
                await compare_installed(ours, stock, repeats),
                await compare_guided(ours, repeats),
                await measure_tree(ours),
            ]

        rows = asyncio.run(measure())
    print()
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())

"""Measure the local engine: batching, start and prefix reuse. All figures come from one run.

Run: python benchmarks/local_engine.py [url]
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from motet.engine import Reply, Request, Sampling
from motet.serving.local.engine import LocalEngine, connect

NUM_REQUESTS = 32
MAX_TOKENS = 48


def _request(prompt: str, *, temperature: float, max_tokens: int = MAX_TOKENS) -> Request:
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=1)
    return Request(model=None, prompt=prompt, sampling=sampling)


async def _timed(work: Callable[[], Awaitable[list[Reply]]]) -> tuple[float, int, int]:
    """Return seconds, completion tokens and cached tokens of `work`."""
    start = time.perf_counter()
    replies = await work()
    seconds = time.perf_counter() - start
    return (
        seconds,
        sum(reply.usage.completion_tokens for reply in replies),
        sum(reply.usage.cached_tokens for reply in replies),
    )


async def _batching(engine: LocalEngine, temperature: float) -> None:
    requests = [
        _request(f"Chapter {i}. The history of", temperature=temperature)
        for i in range(NUM_REQUESTS)
    ]

    async def one_at_a_time() -> list[Reply]:
        return [await engine.complete(request) for request in requests]

    async def at_once() -> list[Reply]:
        return list(await asyncio.gather(*(engine.complete(request) for request in requests)))

    await at_once()
    single_s, single_tokens, _ = await _timed(one_at_a_time)
    batch_s, batch_tokens, _ = await _timed(at_once)
    single, batch = single_tokens / single_s, batch_tokens / batch_s
    print(
        f"temperature {temperature}: one at a time {single:.1f} tok/s, {NUM_REQUESTS} at once "
        f"{batch:.1f} tok/s, ratio {batch / single:.1f}"
    )


async def _prefixes(engine: LocalEngine) -> None:
    prompt = "The quick brown fox jumps over the lazy dog, says chapter five. " * 40
    request = _request(prompt, temperature=0, max_tokens=1)

    async def once() -> list[Reply]:
        return [await engine.complete(request)]

    cold_s, _, _ = await _timed(once)
    warm_s, _, cached = await _timed(once)
    total = await engine.count_tokens(prompt) or 0
    print(
        f"prompt of {total} tokens: cold {cold_s:.3f} s, again {warm_s:.3f} s with {cached} "
        f"cached, ratio {cold_s / warm_s:.1f}"
    )


async def _measure(url: str) -> None:
    engine = connect(url)
    await engine.start()
    await _batching(engine, 0.0)
    await _batching(engine, 1.0)
    await _prefixes(engine)
    await engine.aclose()


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "local:smollm2"
    program = (
        "import asyncio, sys; from motet.serving.local import connect; "
        "asyncio.run(connect(sys.argv[1]).start()); print('ready', flush=True)"
    )
    for run in ("first", "second"):
        start = time.perf_counter()
        command = [sys.executable, "-c", program, url]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            is_ready = process.stdout.readline().startswith(b"ready")
            ready_s = time.perf_counter() - start
        print(f"{run} fresh process ready after {ready_s:.1f} s" if is_ready else "it failed")
    asyncio.run(_measure(url))


if __name__ == "__main__":
    main()

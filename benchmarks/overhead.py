"""What motet costs beside a raw aiohttp loop, against a stub server that this script starts.

    python benchmarks/overhead.py [--quick]

Every ratio is of figures measured in one run, in turn. CPU is of this process, all threads;
the server is another process. The script exits with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from rows import Row, report

import motet
from motet import Model, Ref, program, prompt, step

CALLS = 512
IN_FLIGHT = 256
PROPOSERS, LAYERS, PROMPTS = 6, 3, 32


@contextmanager
def stub_server(delay_ms: float) -> Iterator[str]:
    command = [sys.executable, "-m", "motet.testing.stub_server", "--delay-ms", str(delay_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@program
def fan_out(model: Model, tag: str) -> list[Ref[str]]:
    return [ask.on(model, max_tokens=64)(f"{tag} {i}") for i in range(CALLS)]


@prompt(
    system="{% if references %}Fuse:{% for r in references %}\n{{ loop.index }}. {{ r }}"
    "{% endfor %}{% endif %}",
    user="{{ question }}",
)
def propose(question: str, references: Sequence[str] = ()) -> str:
    raise NotImplementedError


@program
def mixture(question: str, model: Model) -> Ref[str]:
    references: Any = []
    bound = propose.on(model, max_tokens=64)
    for _ in range(LAYERS - 1):
        references = [bound(question, references) for _ in range(PROPOSERS)]
    return bound(question, references)


@program
def mixtures(model: Model, tag: str) -> list[Ref[str]]:
    return [mixture(f"{tag} {i}", model) for i in range(PROMPTS)]


class Raw:
    """The same work as a plain aiohttp loop."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = f"{url}/chat/completions"
        self.session = session
        self.slots = asyncio.Semaphore(IN_FLIGHT)

    async def ask(self, text: str, system: str = "") -> str:
        messages = [{"role": "system", "content": system}] if system else []
        body = {
            "model": "stub",
            "messages": [*messages, {"role": "user", "content": text}],
            "max_tokens": 64,
        }
        async with self.slots, self.session.post(self.url, json=body) as response:
            reply = await response.json()
        answer: str = reply["choices"][0]["message"]["content"]
        return answer

    async def fan_out(self, tag: str) -> None:
        await asyncio.gather(*[self.ask(f"{tag} {i}") for i in range(CALLS)])

    async def mixture(self, question: str) -> str:
        references: list[str] = []
        for _ in range(LAYERS - 1):
            listed = "".join(f"\n{i}. {r}" for i, r in enumerate(references, 1))
            system = f"Fuse:{listed}" if references else ""
            references = await asyncio.gather(
                *[self.ask(question, system) for _ in range(PROPOSERS)]
            )
        listed = "".join(f"\n{i}. {r}" for i, r in enumerate(references, 1))
        return await self.ask(question, f"Fuse:{listed}")

    async def mixtures(self, tag: str) -> None:
        await asyncio.gather(*[self.mixture(f"{tag} {i}") for i in range(PROMPTS)])


async def timed(work: Callable[[str], Awaitable[Any]], tag: str) -> tuple[float, float]:
    """Return CPU and wall seconds of one execution."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await work(tag)
    return time.process_time() - cpu, time.perf_counter() - wall


async def compare(
    works: dict[str, Callable[[str], Awaitable[Any]]], repeats: int
) -> dict[str, list[tuple[float, float]]]:
    """Time each work in turn, `repeats` times after one warm-up."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            figures = await timed(work, f"{name} {turn}")
            if turn:
                found[name].append(figures)
    return found


def middle(found: list[tuple[float, float]], which: int) -> float:
    return statistics.median(figures[which] for figures in found)


async def measure_fan_out(url: str, store: str, repeats: int) -> list[Row]:
    model = Model(f"{url}#stub")
    opened = open_store(store)

    async def without_journal(tag: str) -> None:
        await motet.arun(fan_out(model, tag), store=None, max_concurrency=IN_FLIGHT)

    async def with_journal(tag: str) -> None:
        await motet.arun(fan_out(model, tag), store=opened, max_concurrency=IN_FLIGHT)

    try:
        async with session() as client:
            raw = Raw(url, client)
            found = await compare(
                {"raw": raw.fan_out, "off": without_journal, "on": with_journal}, repeats
            )
            async with client.get(url.removesuffix("/v1") + "/stats") as response:
                peak = (await response.json()).get("peak_in_flight", 0)
    finally:
        opened.close()
    base = middle(found["raw"], 0)
    print(
        f"fan-out of {CALLS} calls of 20 ms, CPU a call: raw aiohttp {base / CALLS * 1e3:.3f} ms, "
        f"motet {middle(found['off'], 0) / CALLS * 1e3:.3f} ms, "
        f"with journal {middle(found['on'], 0) / CALLS * 1e3:.3f} ms"
    )
    return [
        Row("fan-out: CPU a call / raw aiohttp, journal off", middle(found["off"], 0) / base, 3.0),
        Row("fan-out: CPU a call / raw aiohttp, journal on", middle(found["on"], 0) / base, 4.5),
        Row(f"fan-out: peak in flight at the server / {IN_FLIGHT}", peak / IN_FLIGHT, 1.0),
    ]


async def measure_mixtures(url: str, delay_s: float, repeats: int) -> list[Row]:
    model = Model(f"{url}#stub")

    async def ours(tag: str) -> None:
        await motet.arun(mixtures(model, tag), store=None, max_concurrency=IN_FLIGHT)

    async with session() as client:
        found = await compare({"raw": Raw(url, client).mixtures, "ours": ours}, repeats)
    wall, raw = middle(found["ours"], 1), middle(found["raw"], 1)
    ideal = LAYERS * delay_s
    name = f"mixture-of-agents {PROPOSERS} x {LAYERS} on {PROMPTS} prompts"
    print(
        f"{name}, calls of {delay_s * 1e3:.0f} ms: ideal {ideal:.3f} s, raw aiohttp {raw:.3f} s, "
        f"motet {wall:.3f} s"
    )
    if delay_s >= 0.5:
        return [Row(f"{name}: wall / ideal, {delay_s * 1e3:.0f} ms", wall / ideal, 1.1)]
    return [Row(f"{name}: wall / raw aiohttp, {delay_s * 1e3:.0f} ms", wall / raw, 2.5)]


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT))


def open_store(path: str) -> Any:
    from motet.store import Store

    return Store.open(path)


@step
def source(i: int) -> int:
    return i


@step
def join(a: int, b: int) -> int:
    return a


@step
def last(values: list[int]) -> int:
    return len(values)


def layered_dag(nodes: int) -> None:
    """Build and run a layered DAG in this process; print its figures as JSON."""
    width = min(1000, max(10, nodes // 100))
    before = resident_bytes()
    began = time.perf_counter()
    layer = [source(i) for i in range(width)]
    made = width
    while made < nodes:
        layer = [join(layer[i], layer[(i + 1) % width]) for i in range(width)]
        made += width
    result = motet.run(last(layer), store=None)
    took = time.perf_counter() - began
    assert result.value == width
    figures = {"nodes": made, "seconds": took, "bytes": peak_bytes() - before}
    print(json.dumps(figures))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def child(*arguments: str, script: str = __file__) -> Any:
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_dag(quick: bool) -> list[Row]:
    """Time DAGs of growing size.

    A machine that others use too changes its speed within seconds, and a short run finds a quiet
    while more easily than a long one. So sizes are compared by their means, over runs in turn in
    which the smaller one gets as much of the machine's time as the larger.
    """
    turn = [10_000, 100_000] if quick else [10_000, *[100_000] * 5, 1_000_000, *[100_000] * 5]
    runs: dict[int, list[Any]] = {}
    for _ in range(3):
        for size in turn:
            runs.setdefault(size, []).append(child("--dag", str(size)))
    seconds = {size: min(r["seconds"] for r in found) for size, found in runs.items()}
    means = {size: statistics.mean(r["seconds"] for r in found) for size, found in runs.items()}
    for size in runs:
        figures = runs[size][0]
        print(
            f"layered DAG of {size} no-op nodes: {seconds[size]:.2f} s (mean {means[size]:.2f} s), "
            f"{figures['nodes'] / seconds[size]:.0f} nodes/s, "
            f"{figures['bytes'] / figures['nodes']:.0f} bytes a node"
        )
    middle_size = runs[100_000][0]
    rows = [
        Row(
            "DAG of 100,000: nodes a second",
            middle_size["nodes"] / seconds[100_000],
            40_000,
            "at least",
        ),
        Row(
            "DAG of 100,000: memory a node",
            middle_size["bytes"] / middle_size["nodes"],
            2000,
            unit="bytes",
        ),
    ]
    if not quick:
        rows.append(
            Row(
                "DAG: time of 1,000,000 / time of 100,000",
                means[1_000_000] / means[100_000],
                12,
            )
        )
    return rows


def measure_import() -> list[Row]:
    code = (
        "import sys, time; t = time.perf_counter(); import motet; "
        "print(time.perf_counter() - t, "
        "*[m for m in ('torch', 'vllm', 'transformers', 'sqlalchemy') if m in sys.modules])"
    )
    found = []
    for _ in range(7):
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        seconds, *heavy = done.stdout.split()
        assert not heavy, f"import motet loads {heavy}"
        found.append(float(seconds))
    return [Row("import motet", statistics.median(found), 0.25, unit="s")]


async def measure_store(url: str, folder: str) -> list[Row]:
    """Bytes a call in stores of growing size."""
    model = Model(f"{url}#stub")
    sizes: dict[int, float] = {}
    for runs in (2, 20):
        path = Path(folder) / f"growth-{runs}.db"
        store = open_store(str(path))
        for i in range(runs):
            await motet.arun(fan_out(model, f"growth {i}"), store=store, max_concurrency=IN_FLIGHT)
        store.close()
        total = sum(f.stat().st_size for f in path.parent.glob(path.name + "*"))
        sizes[runs] = total / (runs * CALLS)
        print(f"a store of {runs * CALLS} calls: {sizes[runs]:.0f} bytes a call")
    return [
        Row("store: bytes a call", sizes[20], 2000, unit="bytes"),
        Row("store: bytes a call, 10,240 calls / 1,024 calls", sizes[20] / sizes[2], 1.1),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, no million nodes")
    parser.add_argument("--dag", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.dag:
        layered_dag(arguments.dag)
        return 0
    repeats = 3 if arguments.quick else 7
    rows: list[Row] = measure_import()
    with tempfile.TemporaryDirectory() as folder:
        with stub_server(20) as url:
            rows += asyncio.run(measure_fan_out(url, f"{folder}/overhead.db", repeats))
            rows += asyncio.run(measure_mixtures(url, 0.02, repeats))
            rows += asyncio.run(measure_store(url, folder))
        with stub_server(500) as url:
            rows += asyncio.run(measure_mixtures(url, 0.5, 3))
    rows += measure_dag(arguments.quick)
    print()
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())

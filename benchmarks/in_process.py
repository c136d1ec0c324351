"""What motet costs beside raw `AsyncLLM`, on one engine in this process.

    python benchmarks/in_process.py [url]

The same prompts, 32 at once, go to the same vLLM engine in turn: by `AsyncLLM.generate` on its own
event loop, by motet's engine from another loop, and by a program. Every ratio is of medians of one
run. The script exits with 1 where a bound is missed.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from rows import Row, report

import motet
from motet import Model, Ref, program, prompt
from motet.engine import Request, Sampling
from motet.serving.vllm import VllmEngine, connect
from motet.types import Message

URL = "vllm:smollm2?dtype=bfloat16&max_model_len=2048&max_num_seqs=32&enable_prefix_caching=false"
IN_FLIGHT = 32
MAX_TOKENS = 32
REPEATS = 11
SETTINGS: dict[str, Any] = {
    "temperature": 0.0,
    "max_tokens": MAX_TOKENS,
    "extra": {"ignore_eos": True},
}


def chat(tag: str, number: int) -> tuple[Message, ...]:
    return (Message.user(f"Chapter {number} of {tag}. Tell the history of a river."),)


class Raw:
    """The same work by vLLM's own interface."""

    def __init__(self, engine: VllmEngine, live: Any) -> None:
        self._live = live

    async def run(self, tag: str, *, is_streamed: bool) -> None:
        work = self._all(tag, is_streamed=is_streamed)
        loop = self._live.bridge._loop
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    async def _all(self, tag: str, *, is_streamed: bool) -> None:
        await asyncio.gather(
            *[self._one(tag, number, is_streamed=is_streamed) for number in range(IN_FLIGHT)]
        )

    async def _one(self, tag: str, number: int, *, is_streamed: bool) -> str:
        from vllm import SamplingParams
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind

        kind = RequestOutputKind.DELTA if is_streamed else RequestOutputKind.FINAL_ONLY
        params = SamplingParams(
            temperature=0.0, max_tokens=MAX_TOKENS, ignore_eos=True, output_kind=kind
        )
        ids = self._live.tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in chat(tag, number)],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        text = ""
        async for output in self._live.llm.generate(tokens_input(ids), params, f"{tag} {number}"):
            text += output.outputs[0].text
        return text


async def by_engine(engine: VllmEngine, tag: str, *, is_streamed: bool) -> None:
    pieces: list[str] = []

    def on_delta(index: int, text: str) -> None:
        pieces.append(text)

    requests = [
        Request(model=None, prompt=chat(tag, number), sampling=Sampling(**SETTINGS))
        for number in range(IN_FLIGHT)
    ]
    told = on_delta if is_streamed else None
    await asyncio.gather(*[engine.complete(request, told) for request in requests])


@prompt(user="Chapter {{ number }} of {{ tag }}. Tell the history of a river.", keep_cut_off=True)
def history(tag: str, number: int) -> str:
    raise NotImplementedError


@program
def histories(tag: str, model: Model) -> list[Ref[str]]:
    bound = history.on(model, **SETTINGS)
    return [bound(tag, number) for number in range(IN_FLIGHT)]


@dataclass(frozen=True)
class Figures:
    """Medians over the turns, in seconds."""

    wall: float
    cpu: float
    """Of this process, without the engine's."""


async def compare(works: dict[str, Callable[[str], Awaitable[Any]]]) -> dict[str, Figures]:
    """Time each work in turn, after one warm-up; every second turn goes backwards."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for turn in range(REPEATS + 1):
        for name in list(works) if turn % 2 else reversed(works):
            wall, cpu = time.perf_counter(), time.process_time()
            await works[name](f"turn {turn}")
            if turn:
                found[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Figures(*(statistics.median(column) for column in zip(*rows, strict=True)))
        for name, rows in found.items()
    }


async def measure(url: str) -> list[Row]:
    engine = connect(url)
    await engine.prepare()
    raw = Raw(engine, await engine._live())
    model = Model(engine)

    async def by_program(tag: str) -> None:
        result = await motet.arun(histories(tag, model), store=None, max_concurrency=IN_FLIGHT)
        assert len(result.value) == IN_FLIGHT

    found = await compare(
        {
            "raw": lambda tag: raw.run(tag, is_streamed=False),
            "engine": lambda tag: by_engine(engine, tag, is_streamed=False),
            "program": by_program,
            "raw, streamed": lambda tag: raw.run(tag, is_streamed=True),
            "engine, streamed": lambda tag: by_engine(engine, tag, is_streamed=True),
        }
    )
    for name, each in found.items():
        print(
            f"{name:<18} {each.wall:.3f} s, {IN_FLIGHT * MAX_TOKENS / each.wall:.0f} tok/s, "
            f"{each.cpu / IN_FLIGHT * 1e3:.2f} ms CPU a request in this process"
        )
    await engine.aclose()
    base, streamed = found["raw"].wall, found["raw, streamed"].wall
    return [
        Row("motet's engine / raw AsyncLLM", found["engine"].wall / base, 1.05),
        Row("a program on it / raw AsyncLLM", found["program"].wall / base, 1.05),
        Row(
            "motet's engine / raw AsyncLLM, streamed",
            found["engine, streamed"].wall / streamed,
            1.05,
        ),
    ]


def main() -> int:
    rows = asyncio.run(measure(sys.argv[1] if len(sys.argv) > 1 else URL))
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())

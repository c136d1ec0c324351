"""Searches at equal token budgets, scripted; and whether many searches keep an engine busy.

    python benchmarks/frontier.py [--quick]
    python benchmarks/frontier.py --countdown FILE [--num 20]

The second form writes games of Countdown that have a solution, for `motet eval search`; real
models are studied by that command. The script exits with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import aiohttp
from overhead import stub_server, timed
from rows import Row, report

import motet
from motet import Model, program
from motet.programs import solve
from motet.programs.frontier import countdown_rows
from motet.programs.scorers import Check
from motet.search import Beam, BestOfN
from motet.search.astar import AStar
from motet.search.numbers_game import NumbersGame, play

PROBLEMS, BEAMS, WIDTH, STEPS = 64, 4, 4, 6
IN_FLIGHT = 256


def length(text: str) -> float:
    return min(1.0, len(text) / 1000)


@program
def searches(model: Model, tag: str) -> list[Any]:
    """As many beam searches as there are problems; a step is a word of the stub's."""
    algorithm = Beam(n=BEAMS * WIDTH, width=WIDTH, max_steps=STEPS)
    return [
        solve(
            f"{tag} {i}", algorithm=algorithm, model=model, scorer=Check(length), delimiter=" ",
            step_tokens=8, answer_tokens=8,
        )
        for i in range(PROBLEMS)
    ]  # fmt: skip


async def raw_searches(url: str, tag: str, shape: list[list[int]]) -> None:
    """The same requests in the same order from a plain aiohttp loop: `shape` is requests a step."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def ask(client: aiohttp.ClientSession, text: str, n: int) -> None:
        messages = [{"role": "user", "content": text}]
        body = {"model": "stub", "messages": messages, "n": n, "max_tokens": 8, "stop": [" "]}
        async with slots, client.post(f"{url}/chat/completions", json=body) as reply:
            await reply.json()

    async def problem(client: aiohttp.ClientSession, number: int, steps: list[int]) -> None:
        for depth, num in enumerate(steps):
            n = BEAMS * WIDTH // num
            await asyncio.gather(
                *[ask(client, f"{tag} {number} {depth} {i}", n) for i in range(num)]
            )

    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector) as client:
        await asyncio.gather(*[problem(client, i, steps) for i, steps in enumerate(shape)])


def steps_of(solution: Any) -> list[int]:
    """Requests of each step of a search: one a node that was extended."""
    parents: dict[int, set[int]] = {}
    for node in solution.tree:
        if node.parent is not None:
            parents.setdefault(node.depth, set()).add(node.parent)
    return [len(parents[depth]) for depth in sorted(parents)]


async def measure_busy(url: str, delay_s: float, repeats: int) -> list[Row]:
    """Run the searches and the raw loop in turn, with the heap collected before each."""
    model = Model(f"{url}#stub")
    ours: list[tuple[float, float]] = []
    raws: list[tuple[float, float]] = []
    shape: list[list[int]] = []

    async def searched(tag: str) -> None:
        result = await motet.arun(searches(model, tag), store=None, max_concurrency=IN_FLIGHT)
        shape[:] = [steps_of(solution) for solution in result.value]

    for turn in range(repeats + 1):
        figures = await timed(searched, f"turn {turn}")
        others = await timed(lambda tag: raw_searches(url, tag, shape), f"raw {turn}")
        if turn:
            ours.append(figures)
            raws.append(others)
    (cpu, wall), (raw_cpu, raw_wall) = map(least, (ours, raws))
    ideal = max(map(len, shape)) * delay_s
    num = sum(map(sum, shape))
    name = f"{PROBLEMS} beams {BEAMS} x {WIDTH}, calls of {delay_s * 1e3:.0f} ms"
    print(
        f"{name}: {num} requests; ideal {ideal:.3f} s, that is {num / ideal:.0f} requests a second"
    )
    for who, seconds, used in (("raw aiohttp", raw_wall, raw_cpu), ("motet", wall, cpu)):
        print(
            f"  {who}: {seconds:.3f} s, {num / seconds:.0f} requests a second, throughput / ideal "
            f"{ideal / seconds:.3f}; CPU a request {used / num * 1e3:.3f} ms"
        )
    # With calls of 20 ms the ideal is beyond what one process can send: see the raw loop's own.
    return [
        Row(f"{name}: CPU a request / raw aiohttp", cpu / raw_cpu, 4.0),
        Row(f"{name}: wall / raw aiohttp", wall / raw_wall, 3.5 if delay_s < 0.5 else 1.1),
        Row(f"{name}: throughput / ideal", ideal / wall, 0.9, "at least"),
    ]


def least(found: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the least CPU seconds and the least wall seconds."""
    return min(cpu for cpu, _ in found), min(wall for _, wall in found)


def measure_games() -> list[Row]:
    """A* beside best-of-N on games of 24, with a scripted player whose values are noisy."""
    hands = combinations_with_replacement(range(1, 14), 4)
    games = [game for game in map(NumbersGame, hands) if game.is_solvable()][::14]
    sampled = asyncio.run(play(BestOfN(n=64), games, noise=0.7))
    guided = asyncio.run(play(AStar(k=8, max_expansions=8, max_depth=4), games, noise=0.7))
    for name, played in (("best of 64", sampled), ("A*", guided)):
        print(
            f"{len(games)} games of 24, {name}: {100 * played.accuracy:.1f} % right, "
            f"{played.tokens / len(games):.0f} tokens and {played.scores / len(games):.1f} scores "
            "a game"
        )
    return [
        Row("games of 24: A* / best of 64, accuracy", guided.accuracy / sampled.accuracy, 1.0,
            "at least"),
        Row("games of 24: A* / best of 64, tokens", guided.tokens / sampled.tokens, 0.34),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--countdown", metavar="FILE", help="write games there, and do no more")
    parser.add_argument("--num", type=int, default=20, help="how many games")
    arguments = parser.parse_args()
    if arguments.countdown:
        lines = [json.dumps(row) + "\n" for row in countdown_rows(arguments.num)]
        Path(arguments.countdown).write_text("".join(lines))
        return 0
    repeats = 1 if arguments.quick else 5
    rows = measure_games()
    for delay_ms in (20, 500):
        with stub_server(delay_ms) as url:
            rows += asyncio.run(measure_busy(url, delay_ms / 1e3, repeats))
    print()
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())

"""Draw the figures of docs/search: small searches over words, with a scripted scorer.

python scripts/figures.py
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

from motet.search import Ask, Limits, Partial, Problem, Step, search
from motet.search.diver import Diver, DiverProblem
from motet.search.drawing import to_svg
from motet.search.registry import find_algorithm
from motet.search.tokens import Token

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "search"
WORDS = ("add", "carry", "halve", "check", "square", "sum")
DEPTH = 3
FIGURES = {
    "votes": "best-of-n(n=6)",
    "trees": "beam(n=6, width=3)",
    "astar": "astar",
    "mcts": "mcts(num_rollouts=10, n=3, max_depth=3)",
    "particles": "particles(n=5)",
}


def chance(text: str) -> float:
    return zlib.crc32(text.encode()) % 1000 / 999


def propose(asks: Sequence[Ask]) -> list[list[Step]]:
    return [[_step(ask, i) for i in range(ask.n)] for ask in asks]


def _step(ask: Ask, number: int) -> Step:
    before = ask.partial.text
    steps = DEPTH - ask.partial.depth if ask.is_whole else 1
    words = []
    for i in range(steps):
        place = chance(f"{before} {number} {i}")
        words.append(f"{WORDS[int(place * (len(WORDS) - 1))]} {1 + int(place * 97) % 9}")
    is_last = ask.is_whole or ask.partial.depth + 1 == DEPTH
    return Step(", ".join(words) + (". " if is_last else ", "), is_last, 4)


def score(partials: Sequence[Partial]) -> list[float]:
    return [round(chance(partial.text), 2) for partial in partials]


def top_tokens(partials: Sequence[Partial], k: int) -> list[list[Token]]:
    return [
        [
            Token(f"{WORDS[i]} ", math.log(p), is_last=partial.depth == DEPTH + 1)
            for i, p in enumerate((0.4, 0.3, 0.2, 0.1))
        ][:k]
        for partial in partials
    ]


def input_logprob(partials: Sequence[Partial]) -> list[float]:
    return [math.log(0.01 + chance(partial.text)) - 0.1 for partial in partials]


async def draw() -> None:
    problem = Problem(propose=propose, score=score)
    for name, algorithm in FIGURES.items():
        limits = Limits(max_steps=14, max_proposals=40)
        found = await search(find_algorithm(algorithm), problem, seed=1, limits=limits)
        best = found.best.node if found.best is not None else None
        (FOLDER / f"{name}.svg").write_text(to_svg(found.tree, best=best, max_nodes=30))
        print(name, len(found.tree), found.why)
    tokens = DiverProblem(top_tokens=top_tokens, input_logprob=input_logprob)
    found = await search(Diver(alpha=0.5, max_span=2, max_tokens=6), tokens, seed=1)
    best = found.best.node if found.best is not None else None
    (FOLDER / "tokens.svg").write_text(to_svg(found.tree, best=best, max_nodes=30))
    print("tokens", len(found.tree), found.why)


if __name__ == "__main__":
    asyncio.run(draw())

"""Runs programs in forked children that a test kills. Reads jobs as JSON lines from stdin.

A child that gets through writes its run's id first, then its value, as JSON lines.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import motet
import motet.store
from motet import Model, Ref, program, prompt, step
from motet.programs import best_of_n, mixture_of_agents, self_consistency, solve
from motet.programs.scorers import Check
from motet.programs.solution import Solution
from motet.search import Limits


@prompt(user="{{ text }}")
def ask(text: str) -> str:
    raise NotImplementedError


@program
def fan_out(model: Model) -> list[Ref[str]]:
    """200 calls side by side."""
    return [ask.on(model, max_tokens=32)(f"part {i}") for i in range(200)]


@program
def nested(model: Model) -> list[Ref[str]]:
    """Best-of-N of mixtures whose aggregator is a vote."""
    vote = self_consistency.as_model(model=model, n=3, extract="text", max_tokens=32)
    panel = mixture_of_agents.as_model(
        proposers=[model] * 3, aggregator=vote, layers=3, max_tokens=32
    )
    return [
        best_of_n(f"question {i}", model=panel, n=2, verify=len, max_tokens=32) for i in range(6)
    ]


@program
async def growing(model: Model) -> list[str]:
    """Branches that look at what they got, and race their tasks."""
    bound = ask.on(model, max_tokens=32)

    async def branch(i: int) -> str:
        text = await bound("the same start")
        for turn in range(4 + i % 3):
            text = await bound(f"{turn} more of {text}")
            if len(text) % 2:
                both = await asyncio.gather(bound(f"a {text}"), bound(f"b {text}"))
                text = max(both)
        return text

    tasks = [asyncio.create_task(branch(i)) for i in range(8)]
    return [await task for task in tasks]


def quality(text: str) -> float:
    return zlib.crc32(text.encode()) % 1000 / 999


@step
def shown(found: Solution) -> list[Any]:
    """The solution, and the whole tree."""
    nodes = [[n.parent, n.step.text if n.step else "", n.score, n.visits] for n in found.tree]
    return [found.text, found.score, found.why, *nodes]


def searched(algorithm: str) -> Any:
    """A search over words, each of which is a step."""

    @program(name=f"searched by {algorithm}")
    def run(model: Model) -> Ref[list[Any]]:
        found = solve(
            "a sentence",
            algorithm=algorithm,
            model=model,
            scorer=Check(quality),
            delimiter=" ",
            answer_tokens=6,
            limits=Limits(max_steps=10),
        )
        return shown(found)

    return run


PROGRAMS: dict[str, Any] = {
    "fan_out": fan_out,
    "nested": nested,
    "growing": growing,
    "beam": searched("beam(n=8, width=2)"),
    "astar": searched("astar"),
    "mcts": searched("mcts"),
    "particles": searched("particles(n=6)"),
}


class Announcer:
    """Writes the run's id as soon as it is known."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_event(self, event: motet.events.Event) -> None:  # type: ignore[name-defined]
        if type(event).__name__ == "RunStarted":
            with Path(self.path).open("a") as file:
                file.write(json.dumps({"run_id": event.run_id}) + "\n")


def work(job: dict[str, Any]) -> None:
    model = Model(job["url"] + "#stub")
    result = motet.run(
        PROGRAMS[job["program"]](model),
        store=job["store"],
        cache=False,
        resume=job.get("resume"),
        max_concurrency=16,
        observers=[Announcer(job["out"])],
    )
    with Path(job["out"]).open("a") as file:
        shown = {"value": result.value, "calls": result.usage.calls, "took_s": result.duration_s}
        file.write(json.dumps(shown) + "\n")


def main(lines: Sequence[str]) -> None:
    for line in lines:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            work(job)
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.stdin)  # type: ignore[arg-type]

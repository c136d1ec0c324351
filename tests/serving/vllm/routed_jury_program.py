"""The example of a routed jury in a scope, which a test runs in this process or in one that it kills."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import motet
from motet import Model, program
from motet.cli.loading import load_file
from motet.observers.lines import JsonLines

EXAMPLE = Path(__file__).parents[3] / "examples" / "routed_jury.py"
QUESTION = "What is 2 + 2?"
SMALL = "local:smollm2?dtype=float32"
SEED = 3
ROOM = {"max_cost": 1.0, "max_tokens": 100_000, "max_calls": 1000}

example: Any = load_file(str(EXAMPLE))


@dataclass(frozen=True, slots=True)
class Scoped:
    """What the program found, and what its scope says that it spent."""

    text: str
    routed: tuple[str, str]
    """The model and its text."""
    stages: tuple[tuple[str, str | None, str], ...]
    """Each one's model, text and why; numbers are left out, as their last bits may differ."""
    is_judged: bool
    cost: float
    tokens: int
    calls: int


@program
async def scoped(large: Model) -> Scoped:
    """Each stage of the cascade is asked: no answer is sure enough."""
    with motet.scope(**ROOM):
        found = await example.routed_jury(
            QUESTION, small=Model(SMALL), large=large, sure=2.0, max_tokens=32
        )
        left = motet.current()
    spent = {name: room - getattr(left, name) for name, room in ROOM.items()}
    return Scoped(
        text=found.text,
        routed=(found.routed.decision.model, found.routed.text),
        stages=tuple((each.model, each.text, each.why) for each in found.cascaded.stages),
        is_judged=found.verdict is not None,
        cost=round(spent["max_cost"], 12),
        tokens=spent["max_tokens"],
        calls=spent["max_calls"],
    )


def main(url: str, store: str) -> None:
    """Run the program, and tell each event as a line of JSON."""
    motet.run(
        scoped(Model(url)), store=store, seed=SEED, cache=False, observers=[JsonLines(sys.stdout)]
    )

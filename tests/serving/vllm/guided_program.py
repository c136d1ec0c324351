"""A program of paired rules, which a test interrupts in this process or in one that it kills."""

from __future__ import annotations

import json
from typing import Any

import motet
from motet import Model, program, prompt
from motet.decoding import cfg, length
from motet.events import CallFinished, EngineCalled, RunStarted

LONG = 48
"""Tokens of the completions that a test interrupts."""


@prompt(system="You are a pirate.", user="Tell me about {{ topic }}.", keep_cut_off=True)
def tell(topic: str) -> str:
    raise NotImplementedError


@program
async def guided(model: Model) -> list[str]:
    """Short ones, then long ones beside a short one, then one that reserves much."""
    rule = cfg(1.5, negative="You are a bore.")
    brief = tell.on(model, max_tokens=8, temperature=1.0, decoding=rule)
    long = tell.on(model, max_tokens=LONG, temperature=1.0, decoding=rule & length(min_tokens=LONG))
    big = tell.on(
        model,
        max_tokens=1400,
        temperature=1.0,
        decoding=rule & length(min_tokens=LONG, max_tokens=LONG),
    )
    first = await brief("the sea")
    long_ones = [long(f"the number {i}, {first}") for i in range(2)]
    second = await brief("the sky")
    last = await big(second)
    return [first, second, last, *[await each for each in long_ones]]


class Ids:
    """Keeps which calls went to the engine, and which it answered."""

    def __init__(self, *, is_told: bool = False) -> None:
        self.asked: list[str] = []
        self.paid: set[str] = set()
        self._is_told = is_told

    def on_event(self, event: Any) -> None:
        if isinstance(event, EngineCalled):
            self.asked.append(event.call_id)
        elif isinstance(event, CallFinished) and event.source == "engine":
            self.paid.add(event.call_id)
        elif not isinstance(event, RunStarted):
            return
        if self._is_told:
            told = {"run_id": event.run_id, "asked": self.asked, "paid": sorted(self.paid)}
            print(json.dumps(told), flush=True)


def main(url: str, store: str) -> None:
    """Run the program, and tell each step as a line of JSON."""
    motet.run(guided(Model(url)), store=store, seed=3, observers=[Ids(is_told=True)])

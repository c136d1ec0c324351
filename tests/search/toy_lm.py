"""A language model small enough to list every text it can write, with its probability."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from math import prod
from typing import Any, TypeVar

from motet.search.partials import Step
from motet.search.tools import Ask
from motet.testing.toy_lm import AFTER, FIRST, MAX_LETTERS, A, B

T = TypeVar("T")

NEXT = {
    before: dict(zip("ab$", probabilities, strict=True))
    for before, probabilities in (("", FIRST), ("a", AFTER[A]), ("b", AFTER[B]))
}


def next_letter(text: str) -> dict[str, float]:
    """Probabilities of the next letter; `$` ends the text."""
    return {"$": 1.0} if len(text) == MAX_LETTERS else NEXT[text[-1:]]


def strings(text: str = "", mass: float = 1.0) -> Iterator[tuple[str, float]]:
    """Every text that goes on from `text`, with its probability."""
    for letter, p in next_letter(text).items():
        if letter == "$":
            yield text, mass * p
        else:
            yield from strings(text + letter, mass * p)


PROBABILITY = dict(strings())


def chance(text: str, is_right: Callable[[str], bool]) -> float:
    """Probability that what is begun with `text` ends right."""
    return sum(p for each, p in strings(text) if is_right(each))


def step_of(letter: str) -> Step:
    return Step("", is_last=True, num_tokens=1) if letter == "$" else Step(letter, num_tokens=1)


class Choices:
    """Chance that is listed instead of drawn: each run takes the next branch."""

    def __init__(self, path: list[int]) -> None:
        self.path, self.sizes, self.masses = path, list[int](), list[float]()

    def draw(self, weights: dict[str, float]) -> str:
        place = len(self.sizes)
        if place == len(self.path):
            self.path.append(0)
        name = list(weights)[self.path[place]]
        self.sizes.append(len(weights))
        self.masses.append(weights[name])
        return name

    def propose(self, asks: Any) -> list[list[Step]]:
        return [[self.step(ask) for _ in range(ask.n)] for ask in asks]

    def step(self, ask: Ask) -> Step:
        letter = self.draw(next_letter(ask.partial.text))
        if not ask.is_whole:
            return step_of(letter)
        text = ""
        while letter != "$":
            text += letter
            letter = self.draw(next_letter(ask.partial.text + text))
        return Step(text, is_last=True, num_tokens=len(text) + 1)


async def outcomes(run: Callable[[Choices], Awaitable[T]]) -> dict[T, float]:
    """Run with every choice that chance has; return the probability of each outcome."""
    found: dict[T, float] = {}
    path: list[int] = []
    while True:
        choices = Choices(path)
        outcome = await run(choices)
        found[outcome] = found.get(outcome, 0.0) + prod(choices.masses)
        while path and path[-1] + 1 == choices.sizes[len(path) - 1]:
            path.pop()
        if not path:
            return found
        path[-1] += 1


def all_letters(asks: Any) -> list[list[Step]]:
    """Every letter that can come next, as it stands in the model."""
    return [[step_of(letter) for letter in next_letter(ask.partial.text)] for ask in asks]

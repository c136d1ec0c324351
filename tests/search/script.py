"""A problem that answers from a list, and a walk that checks a search's laws at every step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from motet.search.checkpoints import Saved, read_state, write_state
from motet.search.driver import SearchResult, search
from motet.search.partials import Partial, Step
from motet.search.spending import NO_LIMITS, NOTHING
from motet.search.tools import FAILED, Ask, Lost, Problem


class Script:
    """Whole answers in the order of `answers`, which begins anew at its end; scores by their text.

    None among the answers is a sample that fails.
    """

    def __init__(
        self,
        answers: Sequence[str | None],
        scores: dict[str, float] | Callable[[str], float | Lost] | None = None,
        right: Callable[[str], bool] | None = None,
    ) -> None:
        self.answers, self.scores, self.right = answers, scores, right
        self.drawn = 0
        self.asks: list[list[Ask]] = []
        self.scored: list[list[str]] = []

    def propose(self, asks: Sequence[Ask]) -> list[list[Step] | Lost]:
        self.asks.append(list(asks))
        return [self.steps(ask.n) for ask in asks]

    def steps(self, n: int) -> list[Step] | Lost:
        given = [self.answers[(self.drawn + i) % len(self.answers)] for i in range(n)]
        self.drawn += n
        steps = [
            Step(each, is_last=True, num_tokens=len(each)) for each in given if each is not None
        ]
        return steps or FAILED

    def score(self, partials: Sequence[Partial]) -> list[float | Lost]:
        self.scored.append([each.text for each in partials])
        return [self.score_of(each.text) for each in partials]

    def score_of(self, text: str) -> float | Lost:
        assert self.scores is not None
        return self.scores(text) if callable(self.scores) else self.scores[text]

    @property
    def problem(self) -> Problem:
        return Problem(
            propose=self.propose,
            score=self.score if self.scores is not None else None,
            verify=self.verify if self.right is not None else None,
            score_range=None,
            step_tokens=100,
        )

    def verify(self, partials: Sequence[Partial]) -> list[bool]:
        assert self.right is not None
        return [self.right(each.text) for each in partials]


def solve(algorithm: Any, problem: Any, **options: Any) -> SearchResult:
    return asyncio.run(search(algorithm, problem, **options))


def walk(algorithm: Any, script: Any, problem: Any = None, seed: int = 0) -> list[Any]:
    """Return all states; each step is taken twice, the second time from the state as it is read
    back, and must lead to the same."""

    async def steps() -> list[Any]:
        tools = (problem or script.problem).tools(NO_LIMITS, NOTHING)
        found = [algorithm.init(seed)]
        while not algorithm.is_done(found[-1]):
            before = script.drawn
            data = write_state(algorithm, seed, Saved(found[-1], NOTHING, 0))
            restored = read_state(algorithm, seed, type(found[-1]), data).state
            assert restored == found[-1]
            new = await algorithm.step(found[-1], tools)
            script.drawn = before
            assert await algorithm.step(restored, tools) == new
            found.append(new)
        return found

    return asyncio.run(steps())

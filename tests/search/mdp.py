"""Small worlds with a known best course, for the searches that act."""

from __future__ import annotations

import random

from motet.search.environment import EnvironmentProblem, Outcome
from motet.search.partials import Step


class World:
    """A tree of states, each a string of actions; rewards and priors are drawn once by `seed`."""

    def __init__(self, seed: int, *, num_actions: int = 3, depth: int = 3) -> None:
        self.num_actions, self.depth = num_actions, depth
        self.calls: list[tuple[str, int]] = []
        self._seed = seed

    def actions(self, state: str) -> list[Step]:
        names = [chr(ord("a") + i) for i in range(self.num_actions)]
        return [Step(name, prior=self._draw("prior", state + name)) for name in names]

    def reward(self, state: str) -> float:
        return self._draw("reward", state)

    def _draw(self, *what: str) -> float:
        return random.Random(f"{self._seed}:{':'.join(what)}").randrange(100) / 100

    def is_end(self, state: str) -> bool:
        return len(state) == self.depth

    def best(self, state: str = "") -> tuple[float, str]:
        """Return the greatest sum of rewards from `state` on, and where it ends."""
        if self.is_end(state):
            return 0.0, state
        found = []
        for step in self.actions(state):
            rest, end = self.best(state + step.text)
            found.append((self.reward(state + step.text) + rest, end))
        return max(found)

    def list_actions(self, states):
        self.calls.append(("list_actions", len(states)))
        return [self.actions(state) for state in states]

    def advance(self, pairs):
        self.calls.append(("advance", len(pairs)))
        ends = [state + step.text for state, step in pairs]
        return [Outcome(end, self.reward(end), self.is_end(end)) for end in ends]

    def problem(self) -> EnvironmentProblem:
        return EnvironmentProblem(start="", list_actions=self.list_actions, advance=self.advance)

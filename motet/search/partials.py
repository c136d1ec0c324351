"""Partial solutions: what a search extends, scores and returns."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Step:
    """What one proposal adds to a partial solution: a reasoning step, an action, a whole answer."""

    text: str
    is_last: bool = False
    """Whether the solution ends here."""
    num_tokens: int = 0
    """Tokens that were generated for it; 0 where nobody counted."""
    prior: float | None = None
    """What the proposer itself thinks of it (a fast reward, a probability), higher is better."""
    data: JsonValue = None
    """What the proposer wants to find again when it goes on from here: a world's state, say."""
    log_weight: float = 0.0
    """In nats, of a proposer that draws from another distribution than the one that is meant."""


@dataclass(frozen=True, slots=True)
class Partial:
    """A solution as far as it goes: the steps behind the problem's statement."""

    steps: tuple[Step, ...] = ()

    @property
    def text(self) -> str:
        return "".join(step.text for step in self.steps)

    @property
    def is_finished(self) -> bool:
        return bool(self.steps) and self.steps[-1].is_last

    @property
    def depth(self) -> int:
        """Number of steps."""
        return len(self.steps)

    @property
    def num_tokens(self) -> int:
        return sum(step.num_tokens for step in self.steps)

    def then(self, step: Step) -> Partial:
        """Return this with one step more."""
        return Partial((*self.steps, step))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A partial solution with its score."""

    partial: Partial
    score: float | None = None
    """None where nobody scored it."""
    node: int | None = None
    """Its place in the tree."""

    @property
    def text(self) -> str:
        return self.partial.text

"""What a search may use, and what it has used."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from pydantic import ConfigDict

from motet.search.settings import number, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What a search has used."""

    proposals: int = 0
    """Steps and answers that were asked for, those that failed among them."""
    tokens: int = 0
    """Tokens generated for them."""
    scores: int = 0
    """Partial solutions that were handed to the scorer or the verifier."""

    def __sub__(self, other: Spend) -> Spend:
        return Spend(
            proposals=self.proposals - other.proposals,
            tokens=self.tokens - other.tokens,
            scores=self.scores - other.scores,
        )

    def __add__(self, other: Spend) -> Spend:
        return Spend(
            proposals=self.proposals + other.proposals,
            tokens=self.tokens + other.tokens,
            scores=self.scores + other.scores,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a search may use; None is no limit.

    A proposal is asked for only while the most that it can take is left, so that a limit is never
    passed.

    Raises:
        ConfigError: A limit is negative or no number.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    max_proposals: int | None = None
    max_tokens: int | None = None
    max_scores: int | None = None
    max_steps: int | None = None
    """Steps of the algorithm."""
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and each.name == "timeout_s":
                number(each.name, value, 0)
            elif value is not None:
                whole(each.name, value, 0)


NOTHING: Final = Spend()
NO_LIMITS: Final = Limits()

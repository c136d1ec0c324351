"""From a judge's reply to a verdict: what cannot be read is an error, never a tie or a score."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from motet.engine import Completion
from motet.judging.verdicts import Order, PairVerdict, ScoreVerdict, Winner, reconcile
from motet.operations import step
from motet.programs.replies import whole_replies


@dataclass(frozen=True, slots=True, kw_only=True)
class PairComparison:
    """What a judge says of a pair of answers that it was shown in both orders."""

    winner: Winner
    """In the caller's names; a tie where the orders differ, an error where one cannot be read."""
    is_consistent: bool
    """Whether both orders could be read and say the same, ties included."""
    games: tuple[PairVerdict, PairVerdict]
    """Of the order A, B and of the order B, A."""

    @property
    def num_errors(self) -> int:
        """Orders whose reply could not be read."""
        return sum(game.winner == "error" for game in self.games)


def kept(text: str) -> str:
    """Return a reply's text as a verdict keeps it: U+FFFD stands for lone surrogates."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def verdict_of(
    reply: Completion, read: Callable[[str], Winner | None], order: Order
) -> PairVerdict:
    """Return the verdict that `read` finds in a whole reply; else an error.

    A reply that was cut off is not read: what it holds so far need not be its verdict.
    """
    found = [read(text) for text in whole_replies([reply])]
    return PairVerdict(winner=(found or [None])[0] or "error", raw=kept(reply.text), order=order)


def score_of(reply: Completion, read: Callable[[str], float | None]) -> ScoreVerdict:
    """Return the score that `read` finds in a whole reply; else a verdict without one."""
    found = [read(text) for text in whole_replies([reply])]
    score = (found or [None])[0]
    return ScoreVerdict(score=None if score is None else float(score), raw=kept(reply.text))


def winner_of(share: float | None) -> Winner:
    """Return who is preferred where A is by `share`; near one half it is a tie, as sums round."""
    if share is None:
        return "error"
    if math.isclose(share, 0.5, abs_tol=1e-9):
        return "tie"
    return "A" if share > 0.5 else "B"


@step
def compared(first: PairVerdict, second: PairVerdict) -> PairComparison:
    """Both orders of a pair as one."""
    both = reconcile(first, second)
    return PairComparison(
        winner=both.winner, is_consistent=both.is_consistent, games=(first, second)
    )
